"""`mastomend history` and `mastomend undo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import completion
from mastomend.cli import context as cli_context
from mastomend.cli.options import Apply, DryRun, Json, is_applied
from mastomend.outcomes import Outcome

if TYPE_CHECKING:
    from mastomend.actions.ledger import Entry
    from mastomend.commands.history import PastRun
    from mastomend.commands.undo_report import UndoReport

#: How many records that were left are named, and how many that are lost.
_SHOWN = 5
_LISTED = 200
HISTORY_EXAMPLES = """
Examples:
  mastomend history
  mastomend history latest            # what the newest run did, and why
  mastomend history --lost            # what no source has any more:
                                      # the files of your own users first
  mastomend history --json
"""
UNDO_EXAMPLES = """
Examples:
  mastomend undo latest               # says what would be taken back
  mastomend undo 20261122T20 --apply  # takes it back: a run may be named
                                      # by the beginning of its id
"""


def history_command(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Tell more of that run: its id, a beginning of it, or latest.",
            autocompletion=completion.runs,
        ),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="List what is lost for good instead: local files first.")
    ] = False,
    json: Json = False,
) -> int:
    """List what every run did, or what is lost for good."""
    from mastomend.cli.history_screen import show_run, show_runs
    from mastomend.cli.output import command_line, emit_json
    from mastomend.commands.history import history, one

    if lost:
        return _show_lost(ctx, json=json)
    instance = cli_context.instance(ctx)
    if run is not None:
        past, reasons = one(instance, run)
        if json:
            told = [
                {"outcome": outcome.value, "reason": reason, "records": n} for (outcome, reason), n in reasons.items()
            ]
            emit_json({"command": "history", "runs": [document(past)], "reasons": told}, 0)
            return 0
        given = cli_context.options(ctx)
        words = (f"show {past.run.id}", f"undo {past.run.id} --apply")
        show_run(past, reasons, *(command_line(given.env, given.state, word) for word in words))
        return 0
    runs = history(instance)
    if json:
        emit_json({"command": "history", "runs": [document(past) for past in runs]}, 0)
    else:
        show_runs(runs)
    return 0


def _show_lost(ctx: typer.Context, *, json: bool) -> int:
    from mastomend.cli.history_screen import show_lost
    from mastomend.cli.output import command_line, emit_json, result
    from mastomend.commands.history import named, refused
    from mastomend.commands.lost import lost

    instance = cli_context.instance(ctx)
    with cli_context.watched(ctx, json=json) as observer:
        entries = lost(instance, observer)
    if json:
        emit_json({"command": "history", "lost": [lost_document(entry) for entry in entries]}, 1 if entries else 0)
        return 1 if entries else 0
    if not entries:
        result.print("Nothing is known to be lost.")
        return 0
    given = cli_context.options(ctx)
    shown = entries[:_LISTED]  # local ones come first
    with cli_context.watched(ctx) as observer:
        names = named(instance, shown, observer)
    show_lost(
        entries, shown, names, command_line(given.env, given.state, "repair --local --from DIR"), refused(instance)
    )
    return 1


def lost_document(entry: Entry) -> dict[str, Any]:
    """One element of `lost`."""
    return {
        "kind": entry.kind,
        "id": str(entry.id),
        "is_local": entry.is_local,
        "domain": entry.domain,
        "remote_url": entry.remote_url,
        "outcome": entry.outcome.value,
        "reason": entry.reason,
        "detail": entry.detail,
        "tries": entry.tries,
        "first_seen": entry.first_seen,
        "last_tried": entry.last_tried,
        "dead_since": entry.dead_since,
    }


def document(past: PastRun) -> dict[str, Any]:
    """One element of `runs`."""
    return {
        "run": past.run.id,
        "command": past.run.command,
        "started_at": past.run.started_at,
        "finished_at": past.run.finished_at,
        "state": past.state.replace(" ", "_"),
        "scan": past.run.scan,
        "undoes": past.run.undoes,
        "outcomes": {outcome.value: past.outcomes[outcome] for outcome in Outcome},
        "rows_changed": past.rows_changed,
        "files_written": past.files_written,
        "files_moved": past.files_moved,
        "files_deleted": past.files_deleted,
        "files_served": past.files_served,
        "posts_deleted": past.posts_deleted,
        "posts_restored": past.posts_restored,
        "taken_back": past.taken_back,
        "taken_back_in_part": past.partly,
    }


def undo_command(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The run to take back: its id, a beginning of it, or latest.",
            autocompletion=completion.runs,
        ),
    ],
    apply: Apply = False,
    dry_run: DryRun = False,
    limit: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Without --apply: tell so many of what would be taken back; 0 is all."),
    ] = _SHOWN,
    json: Json = False,
) -> int:
    """Take a run back: changed rows, written files, quarantined files."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.cli.undo_screen import show
    from mastomend.commands.undo import undo

    given = cli_context.options(ctx)
    apply = is_applied(apply, dry_run)
    with cli_context.watched(ctx, json=json) as observer:
        report = undo(cli_context.instance(ctx), run, apply=apply, progress=observer, shown=limit or None)
    code = 1 if report.conflicts or report.irreversible else 0
    if json:
        emit_json(undo_document(report), code)
    else:
        words = (f"undo {report.undoes} --apply", f"undo {report.run} --apply", "repair --apply")
        show(report, *(command_line(given.env, given.state, word) for word in words))
    return code


def undo_document(report: UndoReport) -> dict[str, Any]:
    """`undo --json`, as product.md promises it."""
    return {
        "command": "undo",
        "run": report.run,
        "undoes": report.undoes,
        "applied": report.applied,
        "reverted": report.reverted,
        "conflicts": report.conflicts,
        "irreversible": report.irreversible,
        "plans": [report.words(plan) for plan in report.plans],
        "details": list(report.details),
    }
