"""`mastomend migrate`."""

from __future__ import annotations

import os
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
    Local,
    MaxMissing,
    Remote,
    Statuses,
    is_applied,
    missing_limit,
)
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.migrate_report import MigrateOptions, MigrateReport, Step
    from mastomend.inventory.crossing import Sides

EXAMPLES = """
Steps, in their order:
  plan      what there is to move, how long it takes, what it costs
  copy      copies what the target lacks; as often as you like
  verify    sizes of all, bytes of some, and what the public sees
  finish    the lines to change; afterwards the last pass, the proof
  rollback  copies back what came since, and the lines to change back

Examples:
  mastomend migrate plan --to b2.env  # the variables of the new storage
  mastomend migrate plan --to b2.env --write-test
  mastomend migrate copy --to b2.env --apply --bwlimit 10MB
  mastomend migrate verify --to b2.env --public=100% --deep=1%
  mastomend migrate copy avatars --to b2.env --apply  # a part of it first
  mastomend migrate finish --to b2.env
  mastomend migrate rollback --to b2.env --apply
"""


def migrate_command(
    ctx: typer.Context,
    step: Annotated[
        str,
        typer.Argument(metavar="STEP", help="plan, copy, verify, finish or rollback.", autocompletion=completion.steps),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FILE|DIR", help="The new storage: a file with Mastodon's variables, or a directory."
        ),
    ],
    kinds: Kinds = None,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE|DIR",
            help="Where the media were, once Mastodon uses the new storage.",
            readable=False,
        ),
    ] = None,
    apply: Apply = False,
    dry_run: DryRun = False,
    bwlimit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Send at most so many bytes a second: 10MB.")
    ] = None,
    skip_cache_older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Let older cached attachments go instead of moving them, by prune's rules."),
    ] = None,
    public: Annotated[
        str | None,
        typer.Option(metavar="[=PERCENT]", help="How many files verify asks for as the public. Default: 100 files."),
    ] = None,
    deep: Annotated[
        str | None,
        typer.Option(metavar="[=PERCENT]", help="How many files verify reads on both sides. Default: 200 files."),
    ] = None,
    write_test: Annotated[
        bool, typer.Option("--write-test", help="With plan: try the target with objects that are removed again.")
    ] = False,
    wait: Annotated[
        int, typer.Option(metavar="MINUTES", min=0, help="With finish --apply: wait so long for the switch.")
    ] = 0,
    restarted: Annotated[
        bool,
        typer.Option("--restarted", help="With finish --apply: you have seen Mastodon restart with the new settings."),
    ] = False,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="With finish --apply: move old files that are proven elsewhere to the quarantine."
        ),
    ] = False,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    local: Local = False,
    remote: Remote = False,
    exclude: Exclude = None,
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket, and write to it.")
    ] = 32,
    json: Json = False,
) -> int:
    """Move the media to another storage, and prove it."""
    from mastomend.cli.migrate_screen import commands, show
    from mastomend.cli.output import emit_json
    from mastomend.commands.migrate_report import MigrateOptions
    from mastomend.commands.settings import parse_age, parse_size

    applied = is_applied(apply, dry_run)
    if os.fspath(to) in ("", "."):
        raise ConfigurationError("--to names nothing.", hint="Name a file, or a directory by its path.")
    found = _step(step)
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=local, remote=remote)
    options = MigrateOptions(
        found,
        to,
        origin,
        applied,
        list_concurrency,
        None if bwlimit is None else max(parse_size(bwlimit, "--bwlimit"), 1),
        _share(public, "--public"),
        _share(deep, "--deep"),
        None if skip_cache_older_than is None else parse_age(skip_cache_older_than, "--skip-cache-older-than"),
        set_aside,
        restarted,
        60.0 * wait,
        write_test,
        missing_limit(max_missing),
        chosen.kinds,
        chosen.but_kinds,
        chosen.selection(cli_context.instance(ctx)),
    )
    _refuse_out_of_place(options)
    with cli_context.watched(ctx, json=json) as observer:
        report = _run(ctx, options, observer)
    code = exit_code(report)
    if json:
        emit_json(document(report), code)
        return code
    where = ["--to", shlex.quote(os.fspath(to))]
    where += ["--from", shlex.quote(os.fspath(origin))] if origin is not None else []
    kept = [f"--max-missing {shlex.quote(max_missing)}"] if max_missing is not None else []
    kept += [f"--bwlimit {shlex.quote(bwlimit)}"] if bwlimit is not None else []
    skip = skip_cache_older_than
    kept += [f"--skip-cache-older-than {shlex.quote(skip)}"] if skip is not None else []

    given = cli_context.options(ctx)
    words = [shlex.quote(word) for word in chosen.words]
    show(report, commands((given.env, given.state), where, kept, words, report), os.fspath(to))
    return code


def _step(name: str) -> Step:
    from mastomend.commands.migrate_report import Step

    try:
        return Step(name)
    except ValueError:
        known = ", ".join(step.value for step in Step)
        raise ConfigurationError(f"There is no step {name!r}.", hint=f"One of {known}.") from None


def _refuse_out_of_place(options: MigrateOptions) -> None:
    """What a step does not know it must not pass over in silence.

    Raises:
        ConfigurationError: an option belongs to another step.
    """
    from mastomend.commands.migrate_report import Step

    step = options.step
    belongs = {
        "--set-aside": (options.set_aside, (Step.FINISH,)),
        "--wait": (bool(options.wait_s), (Step.FINISH,)),
        "--restarted": (options.restarted, (Step.FINISH,)),
        "--write-test": (options.write_test, (Step.PLAN,)),
        "--skip-cache-older-than": (options.skip_cache_older is not None, (Step.PLAN, Step.COPY)),
        "--public": (options.public_share is not None, (Step.VERIFY, Step.FINISH)),
        "--deep": (options.deep_share is not None, (Step.VERIFY, Step.FINISH)),
        "A selection": (options.is_selective, (Step.PLAN, Step.COPY, Step.VERIFY)),
        "--apply": (options.apply, (Step.COPY, Step.FINISH, Step.ROLLBACK)),
    }
    for name, (is_given, steps) in belongs.items():
        if is_given and step not in steps:
            known = " and ".join(one.value for one in steps)
            raise ConfigurationError(f"{name} means nothing to migrate {step}.", hint=f"It belongs to {known}.")
    if options.is_selective and options.skip_cache_older is not None:
        raise ConfigurationError(
            "--skip-cache-older-than goes without a selection: it lets cached attachments go, and moves all the rest.",
            hint="Let them go first, with a selection of their own: mastomend prune --attachments AGE.",
        )
    if options.set_aside and not options.apply:
        raise ConfigurationError("--set-aside needs --apply.", hint="See first what finish says without both.")


def _share(given: str | None, name: str) -> float | None:
    from mastomend.cli.words import ALONE
    from mastomend.commands.settings import parse_percent

    return None if given is None or given == ALONE["--public"] else parse_percent(given, name) / 100


def _run(ctx: typer.Context, options: MigrateOptions, observer: Any) -> MigrateReport:
    from mastomend.commands.migrate_report import Step

    if options.step is Step.FINISH:
        from mastomend.commands.migrate_end import finish

        return finish(lambda: cli_context.instance(ctx), options, observer)
    if options.step is Step.ROLLBACK:
        from mastomend.commands.migrate_end import rollback

        return rollback(cli_context.instance(ctx), options, observer)
    from mastomend.commands.migrate import migrate

    return migrate(cli_context.instance(ctx), options, observer)


def exit_code(report: MigrateReport) -> int:
    """1 if something is wrong, or is left to be done by that step; 4 if old files were to be set aside and are not proven."""
    from mastomend.commands.migrate_report import Step

    if report.blocked:
        return 4
    if (
        report.stops
        or report.wrong
        or report.failed
        or any(one.works is False and one.is_needed for one in report.abilities)
    ):
        return 1
    match report.step:
        case Step.VERIFY:
            return 1 if report.all.to_copy.files or report.all.unseen or report.uncertain else 0
        case Step.FINISH:
            undone = report.still_missing or report.all.missing or report.uncertain
            return 1 if undone or not report.is_switched or not report.applied else 0
        case _:
            return 1 if report.all.unseen or (not report.applied and report.all.to_copy.files) else 0


def document(report: MigrateReport) -> dict[str, Any]:
    """`migrate … --json`, as product.md promises it."""
    estimate = report.estimate
    whole = report.all
    return {
        "command": "migrate",
        "step": report.step.value,
        "run": report.run,
        "applied": report.applied,
        "scan": report.scan or None,
        "source": report.source,
        "target": report.target,
        "switched": report.is_switched,
        "files": whole.alike.files + whole.to_copy.files,
        "bytes": whole.alike.bytes + whole.to_copy.bytes,
        "to_copy": {"files": whole.to_copy.files, "bytes": whole.to_copy.bytes},
        "copied": report.copied.files,
        "copied_bytes": report.copied.bytes,
        "skipped": report.skipped if report.applied else whole.alike.files,
        "hidden": report.hidden,
        "failed": report.failed,
        "verified": report.verified,
        "read_back": report.read_back,
        "asked": report.asked,
        "seen_by_public": report.seen,
        "wrong": report.wrong,
        "problems": [{"key": one.key, "why": one.why} for one in report.problems],
        "causes": dict(report.causes),
        "uncertain": report.uncertain,
        "differing": whole.differing,
        "missing": whole.missing,
        "empty": whole.empty,
        "unseen": whole.unseen,
        "still_missing": report.still_missing,
        "evicted": {"records": report.evicted.files, "bytes": report.evicted.bytes},
        "evictable": {"records": report.evictable.files, "bytes": report.evictable.bytes},
        "quarantined": {"files": report.quarantined.files, "bytes": report.quarantined.bytes},
        "kinds": [_kind(name, sides) for name, sides in report.sides.items()],
        "estimate": None
        if estimate is None
        else {
            "requests": estimate.requests,
            "usd": None if estimate.usd is None else round(estimate.usd, 4),
            "usd_month": None if estimate.usd_month is None else round(estimate.usd_month, 4),
            "seconds": None if estimate.seconds is None else round(estimate.seconds),
            "provider": None if estimate.price is None else estimate.price.name,
        },
        "abilities": [{"name": one.name, "works": one.works, "said": one.said} for one in report.abilities],
        "pruned_by": report.pruned_by or None,
        "waiting": report.waiting or None,
        "blocked": report.blocked,
        "lines": report.lines,
        "stops": report.stops,
        "report": report.report,
        "duration_s": round(report.duration_s, 3),
    }


def _kind(name: str, sides: Sides) -> dict[str, Any]:
    return {
        "kind": name,
        "expected": sides.expected,
        "there": {"files": sides.alike.files, "bytes": sides.alike.bytes},
        "to_copy": {"files": sides.to_copy.files, "bytes": sides.to_copy.bytes},
        "missing": sides.missing,
        "unseen": sides.unseen,
    }
