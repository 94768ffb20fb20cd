"""stdout carries the result, stderr everything else; `--json` puts exactly one JSON object on stdout."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from mastomend.errors import MastomendError

result = Console(soft_wrap=True, highlight=False)
log = Console(stderr=True, soft_wrap=True, highlight=False)


def emit_json(document: dict[str, Any]) -> None:
    """One JSON object, ids as strings, times as RFC 3339."""

    def default(value: object) -> Any:
        if isinstance(value, datetime):
            return value.isoformat().replace("+00:00", "Z")
        if isinstance(value, Path):
            return str(value)
        raise TypeError(type(value).__name__)

    sys.stdout.write(json.dumps(document, default=default, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_error(error: MastomendError) -> None:
    """What is wrong and what to do next, without a traceback."""
    log.print(f"[bold red]Error:[/] {escape(error.message)}")
    if error.hint:
        log.print(f"[bold]Next:[/] {escape(error.hint)}")


def escape(text: str) -> str:
    """Text from elsewhere, safe for rich's markup and for a terminal: control characters become visible."""
    visible = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
    return visible.replace("[", "\\[")


def count(n: int, singular: str, plural: str | None = None) -> str:
    """`1 file`, `1,234 files`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def size(n: int) -> str:
    """Bytes for people."""
    amount = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def command_line(env: Path | None, state: Path | None, rest: str) -> str:
    """The command a person should run next, with the options they gave."""
    words = ["mastomend"]
    if env is not None:
        words.append(f"--env {_shell(env)}")
    if state is not None:
        words.append(f"--state {_shell(state)}")
    return " ".join([*words, rest])


def _shell(path: Path) -> str:
    text = os.fspath(path)
    return text if all(c.isalnum() or c in "/._-" for c in text) else "'" + text.replace("'", "'\\''") + "'"
