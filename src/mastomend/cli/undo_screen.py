"""What a person reads of an undo: what was or would be taken back, what stays, and why."""

from __future__ import annotations

from mastomend.cli.output import WITHOUT_LIMIT, count, escape, result
from mastomend.commands.undo_report import UndoReport

_SHOWN = 5


def show(report: UndoReport, apply_command: str, again: str, repair: str) -> None:
    """All of it, and what may be run next."""
    if report.applied:
        result.print(f"{count(report.reverted, 'record')} of run {report.undoes} taken back by run {report.run}.")
    else:
        _show_plans(report)
    _show_left(report)
    if report.unsettled and not report.reverted:
        result.print("What can be taken back is known once the half-done records are settled.")
    elif not report.reverted and not report.goes_on:
        result.print("There is nothing to take back.")
        if report.purged and report.undid != "undo":  # it was what had been broken before
            result.print("What cleanup has removed does not come back: those records stay as the run left them.")
        elif report.purged:
            result.print("What cleanup has removed comes back, where its origin still has it, by:")
            result.print(f"  [command]{escape(repair)}[/]")
            result.print(f"Are they more than a quarter of their kind, that needs {WITHOUT_LIMIT}.")
    if report.undid == "prune" and report.reverted and not report.posts:
        _show_of_pruning(report, repair)
    if report.applied and report.reverted:
        result.print(f"To take that back: [command]{escape(again)}[/]")
    if not report.applied and (report.reverted or report.goes_on or report.unsettled):
        first = "Once what stops it (above) is mended" if report.is_barred else "Next"
        result.print(f"{first}: [command]{escape(apply_command)}[/]")


def _show_plans(report: UndoReport) -> None:
    result.print(f"{count(report.reverted, 'record')} of run {report.undoes} would be taken back. Nothing was changed.")
    for line in (line for plan in report.plans for line in report.words(plan).splitlines()):
        result.print(escape(line), style="dim")
    if report.planned > len(report.plans):
        result.print(f"… and {report.planned - len(report.plans):,} more (--limit 0).", style="dim")


def _show_left(report: UndoReport) -> None:
    for detail in report.details[:_SHOWN]:
        result.print(f"[yellow]left:[/] {escape(report.told(detail))}")
    if len(report.details) > _SHOWN:
        result.print(f"… and {len(report.details) - _SHOWN:,} more; --json has all.")
    if report.irreversible:
        what = "changes something" if report.irreversible == 1 else "change something"
        result.print(f"[yellow]{count(report.irreversible, 'record')} {what} that nothing takes back.[/]")
    if report.conflicts:
        verb = "would stay" if not report.applied else "stayed"
        they = "it is" if report.conflicts == 1 else "they are"
        result.print(f"{count(report.conflicts, 'record')} {verb} as {they}, for the reasons above.")


def _show_of_pruning(report: UndoReport, repair: str) -> None:
    if report.applied:
        result.print(f"The rows name files that were deleted. They are fetched by: [command]{escape(repair)}[/]")
        result.print(
            f"Are they more than a quarter of their kind, that needs {WITHOUT_LIMIT}: it looks like an unmounted disk else."
        )
    else:
        result.print("The rows would name files that were deleted: a repair fetches them afterwards.")
