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
    PublicShare,
    Remote,
    Statuses,
    is_applied,
    missing_limit,
    public_look,
    public_words,
)
from mastomend.cli.textfile import Textfile, of_repair, usable
from mastomend.errors import BusyError
from mastomend.outcomes import OF_RECORDS, Engine

if TYPE_CHECKING:
    from mastomend.cli.repair_screen import Commands
    from mastomend.commands.repair_report import RepairOptions, RepairReport

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
            "--from",
            metavar="DIR|ENVFILE",
            help="Also look in another storage, such as a backup. May be repeated.",
            readable=False,
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
    again: Annotated[
        bool, typer.Option("--again", help="Also what its origin said no to a short while ago, and what is not due.")
    ] = False,
    public: PublicShare = None,
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
    from mastomend.cli.output import emit_json
    from mastomend.cli.repair_screen import show
    from mastomend.commands.repair import repair
    from mastomend.commands.repair_report import RepairOptions
    from mastomend.restore.sources.mastodon import HandOverLimits

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=local, remote=remote)
    folder = usable(textfile, chosen.words)
    options = RepairOptions(
        chosen.kinds,
        is_applied(apply, dry_run),
        scan,
        missing_limit(max_missing),
        tuple(backups or ()),
        engine,
        deferred,
        HandOverLimits(max_queue, wait, instance.settings.politeness.rate),
        chosen.but_kinds,
        chosen.selection(instance),
        limit,
        again,
        public_look(public),
    )
    try:
        with cli_context.watched(ctx, json=json) as observer:
            report = repair(instance, options, observer)
    except BusyError as busy:
        if not deferred:
            raise
        return _later(busy, quiet=given.quiet, json=json)
    code = 1 if report.undone else 0
    if folder is not None and report.applied:
        code = max(code, of_repair(folder, instance.configuration.local_domain, report))
    if json:
        emit_json(document(report), code)
    elif not (given.quiet and not report.records and code == 0):
        selected = [*chosen.words, *public_words(public)]
        show(report, options, _next(given, selected, options, report, max_missing), instance.settings.politeness.rate)
    return code


def _later(busy: BusyError, *, quiet: bool, json: bool) -> int:
    """A timer's run that met another one comes again in an hour: nothing is wrong."""
    from mastomend.cli.output import emit_json, escape, log

    if json:
        emit_json({"command": "repair", "busy": busy.message}, 0)
    elif not quiet:
        log.print(f"{escape(busy.message)} What is deferred waits for the next time.")
    return 0


def _next(
    given: cli_context.GlobalOptions,
    selected: list[str],
    options: RepairOptions,
    report: RepairReport,
    max_missing: str | None,
) -> Commands:
    """What may be run next, with the options that were given."""
    from mastomend.cli.output import WITHOUT_LIMIT, command_line
    from mastomend.cli.repair_screen import Commands

    words = ["repair", *selected, "--apply"]
    words += ["--scan", options.scan] if options.scan is not None else []
    for path in options.backups:
        words += ["--from", str(path)]
    words += ["--engine", options.engine.value] if options.engine is not Engine.DIRECT else []
    words += ["--deferred"] if options.deferred else []
    words += ["--again"] if options.again else []
    words += ["--limit", str(options.limit)] if options.limit is not None else []
    words = [word if word.startswith("--") else shlex.quote(word) for word in words]
    limited = ["--max-missing", shlex.quote(max_missing)] if max_missing is not None else []
    later = [*(word for word in words if word != "--deferred"), "--deferred"]
    ways = ([*words, *limited], [*words, WITHOUT_LIMIT], [*later, *limited])
    of_run = (f"undo {report.run} --apply", f"show {report.run}", f"show {report.scan}")
    lines = (*(" ".join(way) for way in ways), *of_run)
    return Commands(*(command_line(given.env, given.state, line) for line in lines))


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
        "barred": report.barred.message if report.barred is not None else "",
        "statements": list(report.barred.statements) if report.barred is not None else [],
    }
