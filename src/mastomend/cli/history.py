"""`mastomend history` and `mastomend undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mastomend.cli import context as cli_context
from mastomend.cli.check import Json
from mastomend.cli.output import command_line, count, emit_json, escape, result
from mastomend.cli.progress import progress
from mastomend.outcomes import Outcome

if TYPE_CHECKING:
    from mastomend.commands.history import PastRun
    from mastomend.commands.undo import UndoReport

HISTORY_EXAMPLES = """
Examples:

  mastomend history

  mastomend history --json
"""
UNDO_EXAMPLES = """
Examples:

  mastomend undo 20261122T200501Z-ab12            says what would be taken back

  mastomend undo 20261122T200501Z-ab12 --apply    takes it back
"""


def history_command(ctx: typer.Context, json: Json = False) -> int:
    """List every run that changed something, and what it did."""
    from mastomend.commands.history import history

    runs = history(cli_context.instance(ctx))
    if json:
        emit_json({"command": "history", "runs": [document(run) for run in runs]})
        return 0
    if not runs:
        result.print("Nothing was ever changed here.")
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "command", "started", "state", "records", "rows changed", "files written", "files moved"):
        table.add_column(name, justify="right" if name in ("rows changed", "files written", "files moved") else "left")
    for past in runs:
        outcomes = ", ".join(f"{n:,} {outcome.value}" for outcome, n in past.outcomes.most_common())
        command = f"undo of {past.run.undoes}" if past.run.undoes else past.run.command
        numbers = (f"{past.rows_changed:,}", f"{past.files_written:,}", f"{past.files_moved:,}")
        table.add_row(past.run.id, command, past.run.started_at[:19], past.state, outcomes, *numbers)
    result.print(table)
    return 0


def document(past: PastRun) -> dict[str, Any]:
    """One element of `runs`."""
    return {
        "run": past.run.id,
        "command": past.run.command,
        "started_at": past.run.started_at,
        "finished_at": past.run.finished_at,
        "scan": past.run.scan,
        "undoes": past.run.undoes,
        "outcomes": {outcome.value: past.outcomes[outcome] for outcome in Outcome},
        "rows_changed": past.rows_changed,
        "files_written": past.files_written,
        "files_moved": past.files_moved,
    }


def undo_command(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to take back, as `mastomend history` names it.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this nothing is changed.")] = False,
    json: Json = False,
) -> int:
    """Take a run back: changed rows, written files, quarantined files."""
    from mastomend.commands.undo import undo

    given = cli_context.options(ctx)
    with progress() as observer:
        report = undo(cli_context.instance(ctx), run, apply=apply, progress=observer)
    if json:
        emit_json(undo_document(report))
    else:
        show(report, command_line(given.env, given.state, f"undo {run} --apply"))
    return 1 if report.conflicts else 0


def undo_document(report: UndoReport) -> dict[str, Any]:
    """`undo --json`, as product.md promises it."""
    return {
        "command": "undo",
        "run": report.run,
        "undoes": report.undoes,
        "applied": report.applied,
        "reverted": report.reverted,
        "conflicts": report.conflicts,
        "details": list(report.details),
    }


def show(report: UndoReport, apply_command: str) -> None:
    """What was or would be taken back."""
    if not report.applied:
        result.print(f"{count(report.reverted, 'record')} would be taken back. Nothing was changed.")
        result.print(f"Next: [bold]{escape(apply_command)}[/]")
        return
    result.print(f"{count(report.reverted, 'record')} taken back by run {report.run}.")
    for detail in report.details[:20]:
        result.print(f"[yellow]conflict:[/] {escape(detail)}")
    if report.conflicts:
        result.print(f"{count(report.conflicts, 'record')} had changed since and stayed as they are.")
