"""`--help` as plain text: what a terminal of 80 columns, a pipe and a search all can read.

Without boxes and colours it needs neither rich nor a wide screen, and examples stay the lines they are.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

#: What every command takes and the list of commands explains.
GLOBALS = "--env, --state, --quiet, --verbose and --log-file may stand here, too: mastomend --help"


class Command(TyperCommand):
    """One command."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            found = [p.get_help_record(ctx) for p in self.get_params(ctx) if p.param_type_name == kind]
            if records := [record for record in found if record is not None]:
                with formatter.section(title):
                    # of an argument the type is told, too; its name says it
                    formatter.write_dl([(name.partition(" <")[0], text) for name, text in records])

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        formatter.write(f"\n{GLOBALS}\n")
        if self.epilog:
            formatter.write(f"\n{inspect.cleandoc(self.epilog)}\n")


class Group(TyperGroup):
    """The list of commands."""
