"""What a person reads of the bounds a storage is kept in."""

from __future__ import annotations

from dataclasses import dataclass

from mastomend.cli.output import as_given, count, escape, result, size
from mastomend.commands.guard_report import GuardReport
from mastomend.commands.prune_report import PruneReport
from mastomend.plans.prices import dollars


def _by_kind(pruned: PruneReport) -> str:
    """What goes, kind by kind."""
    parts = [(unit, goes) for unit, (_, _, goes) in pruned.by_unit.items() if goes.records]
    return ", ".join(f"{goes.records:,} of {unit.replace('_', ' ')} ({size(goes.bytes)})" for unit, goes in parts)


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next."""

    apply: str
    preview: str
    without_limit: str
    shown: str
    usage: str
    prefix: str


def show(report: GuardReport, commands: Commands) -> None:
    """How full it is, what was passed, what went or would go, and what a person should do."""
    _show_marks(report)
    for warning in report.warnings:
        result.print(f"[yellow]![/] {escape(as_given(warning, commands.prefix))}")
    if report.pruned is None:
        result.print("Nothing goes." if report.passed else "Nothing has to go.")
    else:
        if not report.passed and report.pruned.goes.records:
            result.print(f"[bold]{_asked_for(report.pruned)}[/]")
        if report.passed and report.others is not None:
            of = f"About {size(report.others)} of what is in use are not cached media, and stay whatever goes"
            result.print(f"{of}: [command]{escape(commands.usage)}[/]")
        _show_pruned(report.pruned, commands, applied=report.applied)


def _asked_for(pruned: PruneReport) -> str:
    """Why something goes though no mark is passed."""
    budget = pruned.policy.budget
    if budget is not None and pruned.cached.bytes > budget:
        return f"{size(pruned.cached.bytes)} are cached; the budget is {size(budget)}."
    return "There is more than the policy keeps (mastomend.toml, or what was given)."


def _show_marks(report: GuardReport) -> None:
    if report.total is not None and report.free is not None and report.used_percent is not None:
        used = "" if report.passed else f"The disk is [bold]{report.used_percent:.0f} %[/] full: "
        for mark in report.passed:
            result.print(f"[bold red]{escape(mark)}[/]")
        result.print(f"{used}{size(report.free)} of {size(report.total)} are free.")
        if report.bytes_per_day is not None:
            grows = report.bytes_per_day > 0
            a_day = size(round(abs(report.bytes_per_day)))
            when = f": full on {report.full_on}" if report.full_on else ""
            result.print(f"It {'fills' if grows else 'empties'} by {a_day} a day{when}.")
        else:
            result.print("How fast it fills can be said from tomorrow on.")
    if report.usd_month is not None:
        passed = [f"[bold red]{escape(mark)}[/]" for mark in report.passed]
        result.print("\n".join(passed) or f"A month costs {dollars(report.usd_month)}.")


def _show_pruned(pruned: PruneReport, commands: Commands, *, applied: bool) -> None:
    if applied:
        freed = size(pruned.evicted.bytes)
        result.print(f"[bold]{count(pruned.evicted.records, 'record')} let go[/], {freed} freed by deleting for good.")
        if pruned.evicted.records:
            result.print(f"Record by record: [command]{escape(commands.shown)}[/]")
    elif pruned.stops:
        for reason in pruned.stops:
            result.print(f"[bold red]{escape(reason)}[/]")
        result.print("With --apply this stops. Is everything mounted that should be?")
        result.print(f"If the files really are gone: [command]{escape(commands.without_limit)}[/]")
    elif pruned.goes.records:
        result.print(f"[bold]{count(pruned.goes.records, 'record')} would go[/]: {_by_kind(pruned)}.")
        result.print(f"Which, and what stays: [command]{escape(commands.preview)}[/]")
        first = "Once what stops it (above) is mended" if pruned.is_barred else "Next"
        result.print(f"Nothing was changed. {first}: [command]{escape(commands.apply)}[/]")
    elif pruned.over:
        result.print("Nothing more may go.")
    else:
        result.print("Nothing has to go: it fits.")
