"""`mastomend repair`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mastomend.cli import context as cli_context
from mastomend.cli.check import Json, Kinds, MaxMissing
from mastomend.cli.output import WITHOUT_LIMIT, command_line, count, emit_json, escape, result, size
from mastomend.cli.progress import progress
from mastomend.commands.settings import parse_percent
from mastomend.outcomes import OF_RECORDS, Engine, Outcome

if TYPE_CHECKING:
    from mastomend.commands.repair_report import RepairOptions, RepairReport

EXAMPLES = """
Examples:

  mastomend repair                        says what would be done

  mastomend repair --apply                does it; if it is cut off, the same command goes on

  mastomend repair custom_emojis --apply  only emoji

  mastomend repair --apply --max-missing 100%   the whole cache is gone, and that is true

  mastomend repair --from /mnt/backup/public/system --apply     a backup is asked before other servers are

  mastomend repair --engine sidekiq --apply     Mastodon's own workers fetch, on all their machines

  mastomend repair --deferred --apply     what was deferred and is due; what the timer runs
"""


def repair_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this nothing is changed.")] = False,
    scan: Annotated[
        str | None, typer.Option(metavar="ID", help="Use the findings of that check instead of checking again.")
    ] = None,
    max_missing: MaxMissing = None,
    backups: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="DIR|ENVFILE", help="Also look in another storage, such as a backup. May be repeated."
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(help="Who fetches: Mastomend, Mastodon's Sidekiq, or Mastodon on its next occasion."),
    ] = Engine.DIRECT,
    max_queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="sidekiq: how many jobs may wait in the queue `pull`.")
    ] = 500,
    wait: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="sidekiq: how long to wait for the last job.")
    ] = 900,
    deferred: Annotated[
        bool, typer.Option("--deferred", help="Only what was deferred before and is due; for a timer.")
    ] = False,
    json: Json = False,
) -> int:
    """Restore what is broken, from wherever it still is."""
    from mastomend.commands.repair import repair
    from mastomend.commands.repair_report import RepairOptions
    from mastomend.restore.sources.mastodon import HandOverLimits

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    limit = None if max_missing is None else parse_percent(max_missing, "--max-missing")
    limits = HandOverLimits(max_queue, wait, instance.settings.politeness.rate)
    options = RepairOptions(tuple(kinds or ()), apply, scan, limit, tuple(backups or ()), engine, deferred, limits)
    with progress() as observer:
        report = repair(instance, options, observer)
    code = 1 if report.undone else 0
    if json:
        emit_json(document(report), code)
    else:
        words = ["repair", *(kinds or ()), "--apply"]
        if scan is not None:
            words += ["--scan", scan]
        for path in backups or ():
            words += ["--from", str(path)]
        words += ["--engine", engine.value] if engine is not Engine.DIRECT else []
        words += ["--deferred"] if deferred else []
        undo = command_line(given.env, given.state, f"undo {report.run} --apply")
        words = [word if word.startswith("--") else shlex.quote(word) for word in words]
        later = [*(word for word in words if word != "--deferred"), "--deferred"]
        limited = ["--max-missing", shlex.quote(max_missing)] if max_missing is not None else []
        ways = ([*words, *limited], [*words, WITHOUT_LIMIT], [*later, *limited])
        again, without_limit, due = (command_line(given.env, given.state, " ".join(way)) for way in ways)
        show(report, options, Commands(again, without_limit, due, undo))
    return code


_SOURCES = {
    "original": "can be made from their own original",
    "elsewhere": "are in the storage under another name",
    "backup": "are in the backup",
    "origin": "can be asked for at their origin",
    "page": "can be asked for at the page they show",
    "none": "have no source left, or must be left alone; the report says why for each",
}


_BY_OTHERS = {
    Engine.SIDEKIQ: "are emptied and handed to Mastodon's workers, where its kind has one; else asked for directly",
    Engine.RESET: "are emptied, for Mastodon to fetch on its next occasion",
}


def document(report: RepairReport) -> dict[str, Any]:
    """`repair --json`, as product.md promises it."""
    return {
        "command": "repair",
        "run": report.run,
        "applied": report.applied,
        "scan": report.scan,
        "records": report.records,
        "outcomes": {o.value: report.outcomes[o] for o in OF_RECORDS} if report.applied else {},
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
        "mass_loss": report.mass_loss,
    }


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next."""

    again: str
    without_limit: str
    later: str
    undo: str


def show(report: RepairReport, options: RepairOptions, commands: Commands) -> None:
    """What a person reads: how much, what became of it and why, what to do next."""
    if not report.records:
        result.print("Nothing that was deferred is due." if options.deferred else "[green]Nothing is broken.[/]")
        return
    if not report.applied:
        result.print(f"{count(report.records, 'record')} broken.")
        for source, words in _SOURCES.items():
            if found := report.plan[source]:
                by_others = _BY_OTHERS.get(options.engine) if source in ("origin", "page") else None
                result.print(f"{found:>9,} {by_others or words}")
        result.print(f"Report: {escape(str(report.report))}")
        for reason in report.mass_loss:
            result.print(f"[bold red]{escape(reason)}[/]")
        if report.mass_loss:
            result.print("Is everything mounted that should be, and is it the right storage? With --apply this stops.")
            result.print("Nothing was changed. If the files really are gone:")
            result.print(f"  [bold]{escape(commands.without_limit)}[/]")
        else:
            result.print(f"Nothing was changed. Next: [bold]{escape(commands.again)}[/]")
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
            f"{count(report.outcomes[Outcome.DEFERRED], 'record')} may succeed later; when they are due: "
            f"[bold]{escape(commands.later)}[/]"
        )
    if mended:
        result.print(f"To take this back: [bold]{escape(commands.undo)}[/]")
