"""What keeps the code readable and its statements usable, where neither a linter nor a type checker looks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import typer

import mastomend
from mastomend.cli import repair_screen
from mastomend.cli.app import app
from mastomend.outcomes import Source
from mastomend.reasons import Reason

ROOT = Path(mastomend.__file__).parent
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
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


def contract(name: str) -> set[str]:
    """The modules an import contract names, without their room."""
    text = (ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    (found,) = [one for one in tomllib.loads(text)["tool"]["importlinter"]["contracts"] if one["name"] == name]
    return {module.rpartition(".")[2] for module in found["modules"]}


def test_contracts_name_every_command_and_every_source() -> None:
    """A new one that is in no contract may import what it likes, and nobody sees it."""
    commands = set(COMMANDS) - {"demo"}  # which has a room of its own
    assert contract("Commands do not import each other") == commands
    sources = {
        path.stem for path in (ROOT / "restore" / "sources").glob("*.py") if "def offers(" in path.read_text("utf-8")
    }
    assert contract("Sources leave each other alone") == sources


def test_every_source_is_told_wherever_sources_are() -> None:
    """Actor and note are asked at the origin: a dry run counts them there."""
    told = {Source.ACTOR, Source.NOTE}
    assert set(repair_screen.SOURCES) == {source.value for source in set(Source) - told} | {"none"}
    for name in ("docs/reference/commands.md", "docs/json.md"):
        text = (ROOT.parents[1] / name).read_text(encoding="utf-8")
        assert [source for source in Source if f"`{source.value}`" not in text] == [], name


def test_every_reason_has_words() -> None:
    assert all(reason.words and reason.words[0].islower() for reason in Reason if reason.words[:8] != "Mastodon")
