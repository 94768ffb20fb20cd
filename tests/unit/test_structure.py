"""What keeps the code readable and its statements usable, where neither a linter nor a type checker looks."""

from __future__ import annotations

import re
from pathlib import Path

import mastomend

ROOT = Path(mastomend.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_too_long_to_read_at_once() -> None:
    assert {str(path.relative_to(ROOT)): lines(path) for path in MODULES if lines(path) > 350} == {}
    commands = {path.name: lines(path) for path in (ROOT / "commands").glob("*.py")}
    assert {name: n for name, n in commands.items() if n > 200} == {}
    short = [ROOT / "restore" / name for name in ("policy.py", "workshop.py", "change.py")]
    assert {path.name: lines(path) for path in short if lines(path) >= 200} == {}


def test_commands_know_no_sql() -> None:
    sql = re.compile(r"\b(SELECT|UPDATE|INSERT INTO|DELETE FROM|CREATE TABLE)\b")
    found = [path.name for path in (ROOT / "commands").glob("*.py") if sql.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_statements_are_ascii() -> None:
    """A database without an encoding takes nothing else, not even in a comment."""
    files = sorted((ROOT / "mastodon" / "sql").glob("*.sql"))
    assert files and [path.name for path in files if not path.read_text(encoding="utf-8").isascii()] == []
