"""`mastomend check`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import (
    Accounts,
    Chosen,
    Domains,
    Exclude,
    Json,
    Kinds,
    Local,
    MaxMissing,
    PublicShare,
    Remote,
    Statuses,
    missing_limit,
    public_look,
    public_words,
)
from mastomend.cli.textfile import Textfile, of_check, usable
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.check_report import CheckReport, KindReport

EXAMPLES = """
Examples:
  mastomend check                     # everything
  mastomend check accounts            # avatars and headers
  mastomend check --domain a.example  # reads only what came from there
  mastomend check --new -q            # for cron: is anything newly broken?
  mastomend check --deep=10           # also decode a tenth of all files;
                                      # the next run takes the next tenth
  mastomend check --public            # some hundred files as the public
                                      # gets them: type, permission, CDN
  mastomend check --listing inventory/2026-11-20T01-00Z/manifest.json
"""


def check_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    deep: Annotated[
        str | None,
        typer.Option(metavar="[=PERCENT]", help="Also decode files; with a percentage, a sample of them."),
    ] = None,
    public: PublicShare = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Which sample --deep takes. Default: the one after the last.")
    ] = None,
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    listing: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Take what the storage holds from a listing made before. May be repeated.",
            readable=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a check that was cut off.")] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Exit with 1 only if a record is broken that no repair knows of yet.")
    ] = False,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    local: Local = False,
    remote: Remote = False,
    exclude: Exclude = None,
    textfile: Textfile = None,
    json: Json = False,
) -> int:
    """Compare database and storage, and report what is broken. Changes nothing."""
    from mastomend.cli.check_screen import show
    from mastomend.cli.output import WITHOUT_LIMIT, command_line, emit_json
    from mastomend.commands.check import CheckOptions, check
    from mastomend.commands.deep_seed import next_seed
    from mastomend.commands.settings import parse_percent
    from mastomend.inventory.sample import Sample

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=local, remote=remote)
    folder = usable(textfile, chosen.words)
    sample = None
    if deep is not None:
        percent = parse_percent(deep, "--deep")
        if percent <= 0:
            raise ConfigurationError("--deep needs a percentage above 0.")
        sample = Sample(percent, next_seed(instance.state) if seed is None else seed)
    options = CheckOptions(
        chosen.kinds,
        sample,
        missing_limit(max_missing),
        list_concurrency=list_concurrency,
        listing=tuple(listing or ()),
        resume=not (fresh or new),  # an alarm is about now
        selection=chosen.selection(instance),
        but_kinds=chosen.but_kinds,
        public=public_look(public),
    )
    with cli_context.watched(ctx, json=json) as observer:
        report = check(instance, options, observer)
    code = 0 if report.is_whole or (new and not report.is_alarming) else 1
    if folder is not None:
        code = max(code, of_check(folder, report.domain, report))
    if json:
        emit_json(document(report), code)
    elif not (new and given.quiet and code == 0):  # cron mails whatever is printed
        words = ["repair", *map(shlex.quote, chosen.words), *public_words(public)]
        limit = [f"--max-missing {shlex.quote(max_missing)}"] if max_missing is not None else []
        commands = [" ".join([*words, *rest]) for rest in (limit, [WITHOUT_LIMIT])]
        commands.append(f"show {report.scan}")
        lines = (command_line(given.env, given.state, command) for command in commands)
        show(report, *lines, new_first=new)
    return code


def document(report: CheckReport) -> dict[str, Any]:
    """`check --json`, as product.md promises it."""
    from mastomend.outcomes import UNDONE

    kinds = [kind_document(kind) for kind in report.kinds]
    names = ("records", "records_broken", "records_broken_local")
    return {
        "command": "check",
        "scan": report.scan,
        "started_at": report.started_at,
        "duration_s": round(report.duration_s, 3),
        "instance": {
            "domain": report.domain,
            "mastodon": report.version.name,
            "schema": report.version.schema,
            "storage": report.storage,
        },
        "kinds": kinds,
        "totals": {
            **{name: sum(k[name] for k in kinds) for name in names},
            "files": {name: sum(k["files"][name] for k in kinds) for name in kinds[0]["files"]} if kinds else {},
        },
        "known": {outcome.value: report.known[outcome] for outcome in UNDONE},
        "new": report.new,
        "unseen": report.unseen,
        "requests": {"list": report.requests.list, "head": report.requests.head},
        "cost": cost_document(report),
        "findings": report.findings,
        "deep_read": report.deep_read,
        "public": None
        if report.public is None
        else {
            "asked": report.public.asked,
            "unservable": report.hidden,
            "causes": {cause.value: n for cause, n in report.public.causes.items()},
        },
        "obstacles": [{"reason": reason, "files": n} for reason, n in report.obstacles],
        "unsettled": report.unsettled,
        "resumed": report.resumed,
        "mass_loss": report.mass_loss,
    }


def cost_document(report: CheckReport) -> dict[str, Any] | None:
    """What a bucket was asked, in money; None where nothing was listed."""
    if report.cost is None:
        return None
    usd, price = report.cost.usd(report.requests), report.cost.price
    return {
        "estimated_list": report.cost.estimated_list,
        "usd": None if usd is None else round(usd, 6),
        "provider": None if price is None else price.name,
        "prices_of": None if price is None else price.read_on.isoformat(),
    }


def kind_document(kind: KindReport) -> dict[str, Any]:
    """One element of `kinds`."""
    from mastomend.vocabulary import State

    return {
        "kind": kind.kind,
        "records": kind.records,
        "records_broken": kind.records_broken,
        "records_broken_local": kind.records_broken_local,
        "files": {
            "expected": kind.expected,
            "present": kind.present,
            **{state.value: kind.states[state] for state in State},
        },
    }
