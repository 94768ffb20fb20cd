"""`mastomend prune`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    MaxMissing,
    Statuses,
    is_applied,
    missing_limit,
)
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mastomend.commands.prune_report import PruneReport
    from mastomend.inventory.evictions import Sum
    from mastomend.mastodon.kinds import Kind

EXAMPLES = """
Examples:
  mastomend prune                     # what keeping N days would free
  mastomend prune --attachments 14d --apply
  mastomend prune --budget 20GB       # the least valuable first
  mastomend prune --budget headers=2GB --keep thread=90d
  mastomend prune --attachments 30d --strangers 7d --apply
  mastomend prune --statuses 180d     # posts nobody here touched
"""


def _age(words: str) -> Any:
    return typer.Option(metavar="AGE", help=f"Let {words} go that nothing has used for so long: 30d, never.")


def prune_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    attachments: Annotated[str | None, _age("pictures, films and sounds of posts")] = None,
    avatars: Annotated[str | None, _age("avatars")] = None,
    headers: Annotated[str | None, _age("headers")] = None,
    preview_cards: Annotated[str | None, _age("pictures of links")] = None,
    emojis: Annotated[str | None, _age("emoji")] = None,
    strangers: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="The same of posts by accounts nobody here follows, as relays bring them."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT=TERM",
            help="How long a relationship keeps: thread=90d, favourited=forever, all=0d. Repeatable.",
        ),
    ] = None,
    domain_term: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=AGE", help="For a server and its subdomains, instead of the ages. Repeatable."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE|KIND=SIZE",
            help="Let the least valuable go until the rest fits: 20GB, headers=2GB. Repeatable.",
        ),
    ] = None,
    keep_free: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Let go until so much is free on the disk of the media.")
    ] = None,
    access_log: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="nginx's, Apache's or Caddy's: what was looked at is younger. Repeatable.",
            readable=False,
        ),
    ] = None,
    posts: Annotated[
        str | None,
        typer.Option(
            "--statuses", metavar="AGE", help="Archive and delete posts nobody here touched, and nothing else: 90d."
        ),
    ] = None,
    apply: Apply = False,
    dry_run: DryRun = False,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    exclude: Exclude = None,
    limit: Limit = None,
    lifecycle: Annotated[
        bool, typer.Option("--lifecycle", help="Print rules for a bucket that do half of it, and what they do not do.")
    ] = False,
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a scan that was cut off.")] = False,
    json: Json = False,
) -> int:
    """Let cached media of other servers go, and keep what people here touched."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.cli.prune_screen import Commands, show, show_lifecycle
    from mastomend.commands.policy import wishes, with_options
    from mastomend.commands.prune import prune
    from mastomend.commands.prune_report import PruneOptions

    given, instance = cli_context.options(ctx), cli_context.instance(ctx)
    named: dict[str, list[str | None]] = {
        "attachments": [attachments], "avatars": [avatars], "headers": [headers], "preview-cards": [preview_cards],
        "emojis": [emojis], "strangers": [strangers], "keep": [*(keep or [])], "domain-term": [*(domain_term or [])],
        "budget": [*(budget or [])], "keep-free": [keep_free], "access-log": [str(one) for one in access_log or []],
    }  # fmt: skip
    options = [(name, value) for name, values in named.items() for value in values if value is not None]
    wanted = with_options(wishes(instance.settings.prune, f"{instance.folder / 'mastomend.toml'}: prune"), options)
    if posts is not None:
        beside = (options, kinds, domains, accounts, statuses, exclude, lifecycle, max_missing, fresh)
        return _posts(ctx, posts, apply=is_applied(apply, dry_run), limit=limit, json=json, alone=not any(beside))
    if lifecycle and (apply or kinds):
        raise ConfigurationError(
            "--lifecycle prints rules, and does nothing else.", hint="Leave out --apply and kinds."
        )
    if lifecycle:
        show_lifecycle(wanted.policy, instance.key_prefix)
        return 0
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=False, remote=False)
    with cli_context.watched(ctx, json=json) as observer:
        report = prune(
            instance,
            PruneOptions(
                wanted.policy,
                _agreeing(options, _units(kinds or [], chosen.but_kinds)),
                chosen.selection(instance),
                wanted.keep_free,
                wanted.access_logs,
                limit,
                is_applied(apply, dry_run),
                missing_limit(max_missing),
                list_concurrency,
                not fresh,
            ),
            observer,
        )
    code = exit_code(report)
    if json:
        emit_json(document(report), code)
        return code
    words = ["prune", *chosen.words, *(word for name, value in options for word in (f"--{name}", value))]
    words += ["--limit", str(limit)] if limit is not None else []
    words += ["--max-missing", max_missing] if max_missing is not None else []
    again = " ".join(map(shlex.quote, words))
    said = (f"{again} --apply", f"undo {report.run} --apply", f"show {report.run}")
    show(report, Commands(*(command_line(given.env, given.state, one) for one in said)))
    return code


def _posts(ctx: typer.Context, age: str, *, apply: bool, limit: int | None, json: bool, alone: bool) -> int:
    """`--statuses`: posts, not their media."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.cli.prune_screen import show_posts
    from mastomend.commands.old_posts import prune_posts
    from mastomend.commands.settings import parse_age

    if not alone:
        raise ConfigurationError("--statuses goes alone.", hint="Let media go with a command of its own.")
    given, how_old = cli_context.options(ctx), parse_age(age, "--statuses")
    with cli_context.watched(ctx, json=json) as observer:
        report = prune_posts(cli_context.instance(ctx), how_old, apply=apply, limit=limit, progress=observer)
    code = exit_code(report)
    if json:
        emit_json(document(report), code)
        return code
    again = f"prune --statuses {shlex.quote(age)}" + (f" --limit {limit}" if limit is not None else "")
    words = (f"{again} --apply", f"undo {report.run} --apply")
    show_posts(report, *(command_line(given.env, given.state, one) for one in words))
    return code


def _agreeing(options: Sequence[tuple[str, str]], units: tuple[str, ...]) -> tuple[str, ...]:
    """The units, if no option is about one that is left out.

    Raises:
        ConfigurationError: one is.
    """
    from mastomend.inventory.cached import UNITS

    for name, value in options:
        about = value.partition("=")[0] if name == "budget" else {"strangers": "attachments"}.get(name, name)
        if units and about.replace("-", "_") in set(UNITS) - set(units):
            raise ConfigurationError(
                f"--{name} {value} is about what is left out: only {', '.join(units)} would be looked at.",
                hint=f"Name {about}, too, or name no kind: then it is what the options speak of.",
            )
    return units


def _units(names: Sequence[str], but: Sequence[str]) -> tuple[str, ...]:
    """What kinds mean here; none named is what the policy speaks of.

    Raises:
        ConfigurationError: no such kind, or one that is never cached.
    """
    from mastomend.inventory.cached import UNITS
    from mastomend.mastodon.kinds import KINDS, choose_kinds

    def units(kinds: Sequence[Kind]) -> list[str]:
        found = [unit for unit, parts in UNITS.items() if any(kind in parts for kind in kinds)]
        if not found:
            raise ConfigurationError(
                f"{', '.join(kind.name for kind in kinds)}: never cached from elsewhere.",
                hint=f"One of {', '.join(UNITS)}.",
            )
        return found

    plain = [name.replace("-", "_") for name in names]
    if not names and not but:
        return ()
    chosen = units(choose_kinds(plain, KINDS)) if names else list(UNITS)
    left_out = units(choose_kinds(list(but), KINDS)) if but else []
    return tuple(unit for unit in chosen if unit not in left_out)


def exit_code(report: PruneReport) -> int:
    """1 if something is left undone: a budget that cannot be met, records that could not go, reasons to stop."""
    undone = report.left_alone or report.stayed if report.applied else False
    return 1 if report.over or report.stops or undone else 0


def amount(one: Sum) -> dict[str, int]:
    """Records and bytes."""
    return {"records": one.records, "bytes": one.bytes}


def document(report: PruneReport) -> dict[str, Any]:
    """`prune --json`, as product.md promises it."""
    went = report.evicted if report.applied else report.taken
    return {
        "command": "prune",
        "run": report.run,
        "applied": report.applied,
        "scan": report.scan or None,
        "records": went.records,
        "bytes": went.bytes,
        "files": report.files,
        "cached": amount(report.cached),
        "kept": {reason: amount(one) for reason, one in report.kept.items()},
        "by_kind": {
            unit: {"cached": amount(whole), "kept": amount(kept), "goes": amount(goes)}
            for unit, (whole, kept, goes) in report.by_unit.items()
        },
        "ages": [
            {"days": one.days, **amount(one.frees), "records_if_nothing_is_kept": one.frees_all.records,
             "bytes_if_nothing_is_kept": one.frees_all.bytes}
            for one in report.ages
        ],
        "groups": [
            {"kind": one.unit, "standing": one.standing, "lowest": one.lowest, "highest": one.highest, **amount(one.all),
             "goes": amount(one.goes)}
            for one in report.groups
        ],
        "over_budget": report.over,
        "looks": report.looks,
        "left": report.left_alone,
        "stops": report.stops,
        "report": report.report,
        "duration_s": round(report.duration_s, 3),
    }  # fmt: skip
