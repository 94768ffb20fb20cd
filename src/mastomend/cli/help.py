"""`--help` as plain text: what a terminal of 80 columns, a pipe and a search all can read.

Without boxes and colours it needs neither rich nor a wide screen, and examples stay the lines they are.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: What every command takes and the list of commands explains.
GLOBALS = "--env, --state, --quiet, --verbose and --log-file may stand here, too: mastomend --help"


_NARROW = 52


class Formatter(typer.Context.formatter_class):  # type: ignore[misc, valid-type]
    """typer's, which takes every terminal to be 52 columns wide at least."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        columns = shutil.get_terminal_size().columns
        self.is_narrow = columns < _NARROW
        if self.is_narrow:
            self.width = max(columns - 2, 20)

    def write_dl(self, rows: Sequence[tuple[str, str]], *arguments: Any, **options: Any) -> None:
        """Each name above its text, where two columns are one too many."""
        if not self.is_narrow:
            super().write_dl(rows, *arguments, **options)
            return
        for name, text in rows:
            self.write(f"{'':>{self.current_indent}}{name}\n")
            with self.indentation():
                self.write_text(text)


class Context(typer.Context):
    """One that formats so."""

    formatter_class = Formatter


class Command(TyperCommand):
    """One command."""

    context_class = Context

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            found = [p.get_help_record(ctx) for p in self.get_params(ctx) if p.param_type_name == kind]
            if records := [record for record in found if record is not None]:
                with formatter.section(title):
                    # of an argument the type is told, too; its name says it
                    formatter.write_dl([(name.partition(" <")[0], text) for name, text in records])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        formatter.write_text(GLOBALS)
        if self.epilog:
            formatter.write(f"\n{inspect.cleandoc(self.epilog)}\n")


class Group(TyperGroup):
    """The list of commands."""

    context_class = Context
