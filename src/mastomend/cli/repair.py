"""`mastomend repair`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mastomend.cli import context as cli_context
from mastomend.cli.check import Json, Kinds, MaxMissing
from mastomend.cli.output import command_line, count, emit_json, escape, result, size
from mastomend.cli.progress import progress
from mastomend.commands.settings import parse_percent
from mastomend.outcomes import Outcome

if TYPE_CHECKING:
    from mastomend.commands.repair import RepairReport

EXAMPLES = """
Examples:

  mastomend repair                        says what would be done

  mastomend repair --apply                does it; if it is cut off, the same command goes on

  mastomend repair custom_emojis --apply  only emoji

  mastomend repair --apply --max-missing 100%   the whole cache is gone, and that is true
"""


def repair_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this nothing is changed.")] = False,
    scan: Annotated[
        str | None, typer.Option(metavar="ID", help="Use the findings of that check instead of checking again.")
    ] = None,
    max_missing: MaxMissing = None,
    json: Json = False,
) -> int:
    """Restore what is broken, from the servers it came from."""
    from mastomend.commands.repair import RepairOptions, repair

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    limit = None if max_missing is None else parse_percent(max_missing, "--max-missing")
    options = RepairOptions(tuple(kinds or ()), apply, scan, limit)
    with progress() as observer:
        report = repair(instance, options, observer)
    if json:
        emit_json(document(report))
    else:
        words = ["repair", *(kinds or ()), "--apply"]
        if scan is not None:
            words.append(f"--scan {scan}")
        if max_missing is not None:
            words.append(f"--max-missing {max_missing}")
        show(report, command_line(given.env, given.state, " ".join(words)))
    return 1 if report.undone else 0


def document(report: RepairReport) -> dict[str, Any]:
    """`repair --json`, as product.md promises it."""
    return {
        "command": "repair",
        "run": report.run,
        "applied": report.applied,
        "scan": report.scan,
        "records": report.records,
        "outcomes": {o.value: report.outcomes[o] for o in Outcome} if report.applied else {},
        "sources": {source.value: n for source, n in report.sources.items()},
        "plan": dict(report.plan),
        "reasons": [
            {"outcome": outcome.value, "reason": reason, "records": n}
            for (outcome, reason), n in report.reasons.most_common()
        ],
        "bytes": report.bytes,
        "duration_s": round(report.duration_s, 3),
        "report": report.report,
        "resumed": report.resumed,
        "recovered": report.recovered,
    }


def show(report: RepairReport, apply_command: str) -> None:
    """What a person reads: how much, what became of it and why, what to do next."""
    if not report.records:
        result.print("[green]Nothing is broken.[/]")
        return
    if not report.applied:
        origin, none = report.plan["origin"], report.plan["none"]
        result.print(f"{count(report.records, 'record')} broken; {origin:,} can be fetched from their origin.")
        if none:
            result.print(f"{none:,} cannot be fetched; the report says why for each.")
        result.print(f"Report: {escape(str(report.report))}")
        result.print(f"Nothing was changed. Next: [bold]{escape(apply_command)}[/]")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("records", justify="right")
    for (outcome, reason), n in sorted(
        report.reasons.items(), key=lambda item: (list(Outcome).index(item[0][0]), -item[1])
    ):
        style = "green" if outcome in (Outcome.RESTORED, Outcome.REFRESHED) else "yellow"
        table.add_row(outcome.value, reason, f"{n:,}", style=style)
    result.print(table)
    mended = report.records - report.undone
    result.print(
        f"\n[bold]{mended:,} of {count(report.records, 'record')} mended[/], {size(report.bytes)} written. "
        f"({report.duration_s:.1f} s)"
    )
    result.print(f"Report: {escape(str(report.report))}")
    if report.outcomes[Outcome.DEFERRED]:
        result.print(
            f"{count(report.outcomes[Outcome.DEFERRED], 'record')} may succeed later: run the same command again."
        )
    result.print(f"To take this back: [bold]mastomend undo {report.run} --apply[/]")
