"""`mastomend cleanup`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Apply, DryRun, Json, is_applied

if TYPE_CHECKING:
    from mastomend.commands.cleanup import CleanupReport

EXAMPLES = """
Examples:
  mastomend cleanup                   # says what would be removed
  mastomend cleanup --apply           # removes what is older than 30 days
  mastomend cleanup --older-than 7d --apply
"""


def cleanup_command(
    ctx: typer.Context,
    apply: Apply = False,
    dry_run: DryRun = False,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="How old what goes must be: 30d, 12h, 2w.")] = "30d",
    json: Json = False,
) -> int:
    """Purge the quarantine, old scans and old reports of runs. What is purged does not come back."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.commands.cleanup import cleanup
    from mastomend.commands.settings import parse_age

    age = parse_age(older_than, "--older-than")
    given = cli_context.options(ctx)
    apply = is_applied(apply, dry_run)
    with cli_context.watched(ctx, json=json) as observer:
        report = cleanup(cli_context.instance(ctx), age, apply=apply, progress=observer)
    code = 1 if report.left else 0
    if json:
        emit_json(document(report), code)
    else:
        again = f"cleanup --older-than {shlex.quote(older_than)} --apply"
        show(report, command_line(given.env, given.state, again))
    return code


def document(report: CleanupReport) -> dict[str, Any]:
    """`cleanup --json`, as product.md promises it."""
    return {
        "command": "cleanup",
        "run": report.run,
        "applied": report.applied,
        "quarantine": {"files": report.files, "bytes": report.bytes},
        "scans": report.scans,
        "runs": report.runs,
        "archives": report.archives,
        "kept": {"files": report.kept.files, "unknown": report.kept.unknown},
        "left": report.left,
    }


#: So many runs are named whose files stay.
_NAMED = 3


def show(report: CleanupReport, apply_command: str) -> None:
    """What was or would be removed, and what stays and why."""
    from mastomend.cli.output import count, escape, result, size

    if report.files or report.scans or report.runs:
        verb = "removed" if report.applied else "would be removed"
        files = f"{count(report.files, 'file')} ({size(report.bytes)}) of the quarantine"
        result.print(
            f"{files}, {count(report.scans, 'scan')} and {count(report.runs, 'report')} of runs "
            f"{verb}{'' if report.applied else '; files that are purged do not come back'}."
        )
    else:
        result.print("Nothing is old enough to be removed.")
    if report.missed:
        what = f"{count(report.missed, 'file')} of these an undo took away, and records miss them"
        result.print(f"{what}: a repair before that brings them back, afterwards only their origins do.")
    if report.archives:
        what = f"{count(report.archives, 'report')} of these"
        said = "held" if report.applied else "holds" if report.archives == 1 else "hold"
        result.print(f"[yellow]{what} {said} posts that were deleted[/]: without it no undo brings them back.")
    if report.kept.files:
        some = sorted(report.kept.runs)[:_NAMED]
        more = f" and {len(report.kept.runs) - len(some):,} more" if len(report.kept.runs) > len(some) else ""
        result.print(
            f"In the quarantine {count(report.kept.files, 'file')} of runs that are younger, have not ended, or are about the "
            f"same as one that is so: kept ({', '.join(some)}{more}; history tells of them)."
        )
    if report.kept.unknown:
        result.print(
            f"[yellow]In the quarantine {count(report.kept.unknown, 'file')} of no run in this journal: kept.[/] "
            "Was another state directory used? Name it with --state."
        )
    for line in report.left[:20]:
        result.print(f"[yellow]left:[/] {escape(line)}")
    if not report.applied and (report.files or report.scans or report.runs):
        result.print(f"Nothing was changed. Next: [command]{escape(apply_command)}[/]")
