"""The manual page, made from the commands themselves: what `--help` says, and what holds for all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from mastomend import __version__

_FILES = (
    (
        "./.env.production, /home/mastodon/live/.env.production",
        "Mastodon's settings, unless --env or $MASTOMEND_ENV name others.",
    ),
    ("mastomend.toml", "Mastomend's own settings, beside Mastodon's. Every one has a default."),
    ("/var/lib/mastomend/DOMAIN, ~/.local/state/mastomend/DOMAIN", "The journal, scans and reports (--state)."),
)
_CODES = (
    ("0", "Nothing is wrong."),
    ("1", "Something is wrong, or was left undone."),
    ("2", "Wrong usage or configuration."),
    ("3", "Database, storage or Redis is unreachable, or stdout is full."),
    ("4", "Stopped by a safety check; nothing was changed after it."),
    ("70", "A defect of Mastomend."),
    ("130", "Interrupted; the same command goes on from there."),
)


def page(group: Any) -> str:
    """`mastomend.1` in roff, for typer's command group."""
    return "\n".join(_lines(group)) + "\n"


def _lines(group: Any) -> Iterator[str]:
    yield f'.TH MASTOMEND 1 "" "Mastomend {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "mastomend \\- find, mend and prevent broken media on a Mastodon server"
    yield ".SH SYNOPSIS"
    yield ".B mastomend"
    yield "[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIOPTION\\fR]..."
    yield ".SH DESCRIPTION"
    yield _plain(group.help or "")
    yield "Nothing is changed without \\fB\\-\\-apply\\fR, and what was changed can be taken back with \\fBundo\\fR."
    yield ".SH GLOBAL OPTIONS"
    yield from _options(group.params)
    for name, command in group.commands.items():
        yield f".SH {_plain(name.upper())}"
        arguments = " ".join(p.metavar or p.name for p in command.params if p.param_type_name == "argument")
        yield f".B mastomend {_plain(name)}"
        yield f"{_plain(arguments)} [\\fIOPTION\\fR]...".strip()
        yield ".PP"
        yield _plain(command.help or "")
        yield from _options(command.params)
        yield ".PP"
        yield ".nf"
        yield from (_plain(line) for line in (command.epilog or "").strip("\n").splitlines())
        yield ".fi"
    for title, entries in (("FILES", _FILES), ("EXIT STATUS", _CODES)):
        yield f".SH {title}"
        for term, meaning in entries:
            yield from (".TP", f".B {_plain(term)}", _plain(meaning))
    yield ".SH SEE ALSO"
    yield "The guides and the reference, in share/doc/mastomend of the installation."


def _options(parameters: Any) -> Iterator[str]:
    for one in parameters:
        if one.param_type_name == "option" and not one.hidden and one.name != "help":
            names = ", ".join(sorted(one.opts, key=len))
            value = "" if one.is_flag else f" {one.metavar or one.name.upper()}"
            yield from (".TP", f".B {_plain(names + value)}", _plain(one.help or ""))


def _plain(text: str) -> str:
    """Text that means nothing to roff."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    from mastomend.cli.app import app

    sys.stdout.write(page(typer.main.get_command(app)))
