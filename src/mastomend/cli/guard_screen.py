"""What a person reads of the bounds a storage is kept in."""

from __future__ import annotations

from mastomend.cli.output import count, escape, result, size
from mastomend.commands.guard_report import GuardReport
from mastomend.plans.prices import dollars


def show(report: GuardReport, apply: str, preview: str) -> None:
    """How full it is, what was passed, what went or would go, and what a person should do."""
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
    for warning in report.warnings:
        result.print(f"[yellow]![/] {escape(warning)}")
    pruned = report.pruned
    if pruned is None:
        result.print("Nothing goes." if report.passed else "Nothing has to go.")
    elif report.applied:
        result.print(f"[bold]{count(pruned.evicted.records, 'record')} let go[/], {size(pruned.evicted.bytes)} freed.")
    elif pruned.goes.records:
        result.print(f"[bold]{count(pruned.goes.records, 'record')} would go[/], {size(pruned.goes.bytes)}.")
        result.print(f"Which, and what stays: [command]{escape(preview)}[/]")
        result.print(f"Nothing was changed. Next: [command]{escape(apply)}[/]")
    elif pruned.stops:
        for reason in pruned.stops:
            result.print(f"[bold red]{escape(reason)}[/]")
        result.print("With --apply this stops. Is everything mounted that should be?")
    elif pruned.over:
        result.print("Nothing more may go.")
    else:
        result.print("Nothing has to go: it fits.")
