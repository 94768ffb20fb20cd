"""`mastomend repair`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import completion
from mastomend.cli import context as cli_context
from mastomend.cli.options import (
    Accounts,
    Apply,
    Chosen,
    Domains,
    DryRun,
    Exclude,
    Json,
    Kinds,
    Limit,
    Local,
    MaxMissing,
    Remote,
    Statuses,
    is_applied,
)
from mastomend.cli.textfile import Textfile, of_repair, usable
from mastomend.outcomes import OF_RECORDS, Engine

if TYPE_CHECKING:
    from mastomend.commands.repair_report import RepairReport

EXAMPLES = """
Examples:
  mastomend repair                    # says what would be done
  mastomend repair --apply            # does it; if it is cut off, the same
                                      # command goes on
  mastomend repair emojis --apply     # only emoji
  mastomend repair --account @user@a.example --apply
  mastomend repair --apply --max-missing 100%
                                      # the whole cache really is gone
  mastomend repair --from /mnt/backup/public/system --apply
                                      # a backup is asked before other servers
  mastomend repair --engine sidekiq --apply
                                      # Mastodon's own workers fetch
  mastomend repair --deferred --apply # what was deferred and is due
"""


def repair_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    apply: Apply = False,
    dry_run: DryRun = False,
    scan: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Use the findings of that check: its id, a beginning of it, or latest.",
            autocompletion=completion.scans,
        ),
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
        typer.Option(
            metavar="direct|sidekiq|reset",
            help="Who fetches: Mastomend, Mastodon's Sidekiq, or Mastodon on its next occasion.",
        ),
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
    again: Annotated[bool, typer.Option("--again", help="Also what its origin said no to a short while ago.")] = False,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    local: Local = False,
    remote: Remote = False,
    exclude: Exclude = None,
    limit: Limit = None,
    textfile: Textfile = None,
    json: Json = False,
) -> int:
    """Restore what is broken, from wherever it still is."""
    from mastomend.cli.output import WITHOUT_LIMIT, command_line, emit_json
    from mastomend.cli.repair_screen import Commands, show
    from mastomend.commands.repair import repair
    from mastomend.commands.repair_report import RepairOptions
    from mastomend.commands.settings import parse_percent
    from mastomend.restore.sources.mastodon import HandOverLimits

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    chosen = Chosen(
        tuple(kinds or ()), tuple(domains or ()), tuple(accounts or ()), tuple(statuses or ()), local, remote,
        tuple(exclude or ()),
    )  # fmt: skip
    folder = usable(textfile, chosen.words)
    options = RepairOptions(
        chosen.kinds,
        is_applied(apply, dry_run),
        scan,
        None if max_missing is None else parse_percent(max_missing, "--max-missing"),
        tuple(backups or ()),
        engine,
        deferred,
        HandOverLimits(max_queue, wait, instance.settings.politeness.rate),
        chosen.but_kinds,
        chosen.selection(instance),
        limit,
        again,
    )
    with cli_context.watched(ctx, json=json) as observer:
        report = repair(instance, options, observer)
    if folder is not None and report.applied:
        of_repair(folder, instance.configuration.local_domain, report)
    code = 1 if report.undone else 0
    if json:
        emit_json(document(report), code)
    else:
        words = ["repair", *chosen.words, "--apply"]
        if scan is not None:
            words += ["--scan", scan]
        for path in backups or ():
            words += ["--from", str(path)]
        words += ["--engine", engine.value] if engine is not Engine.DIRECT else []
        words += ["--deferred"] if deferred else []
        words += ["--again"] if again else []
        words += ["--limit", str(limit)] if limit is not None else []
        undo = command_line(given.env, given.state, f"undo {report.run} --apply")
        words = [word if word.startswith("--") else shlex.quote(word) for word in words]
        later = [*(word for word in words if word != "--deferred"), "--deferred"]
        limited = ["--max-missing", shlex.quote(max_missing)] if max_missing is not None else []
        ways = ([*words, *limited], [*words, WITHOUT_LIMIT], [*later, *limited])
        rerun, without_limit, due = (command_line(given.env, given.state, " ".join(way)) for way in ways)
        read, found = (command_line(given.env, given.state, f"show {one}") for one in (report.run, report.scan))
        show(report, options, Commands(rerun, without_limit, due, undo, read, found))
    return code


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
        "resting": report.resting,
        "not_taken": report.not_taken,
        "resumed": report.resumed,
        "recovered": report.recovered,
        "mass_loss": report.mass_loss,
    }
