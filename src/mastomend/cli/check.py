"""`mastomend check`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mastomend.cli import context as cli_context
from mastomend.cli.output import WITHOUT_LIMIT, command_line, count, emit_json, escape, result
from mastomend.cli.progress import progress
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.check_report import CheckReport, KindReport
from mastomend.commands.deep_seed import next_seed
from mastomend.commands.settings import parse_percent
from mastomend.errors import ConfigurationError
from mastomend.inventory.sample import Sample
from mastomend.outcomes import UNDONE, Outcome
from mastomend.vocabulary import State

EXAMPLES = """
Examples:

  mastomend check                         everything

  mastomend check accounts                avatars and headers

  mastomend check --deep=10               also decode a tenth of all files; the next run takes the next tenth

  mastomend check --listing inventory/2026-11-20T01-00Z/manifest.json

  mastomend --env live/.env.production check --json
"""

Kinds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KIND]...", help="Kinds to look at, such as accounts/avatars or accounts. Default: all."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout (docs/json.md).")]
MaxMissing = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT",
        help="How much of a kind may be missing before it looks like an unmounted disk. Default: 25%.",
    ),
]


def check_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    deep: Annotated[
        str | None,
        typer.Option(metavar="[=PERCENT]", help="Also decode files; with a percentage, a sample of them."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Which sample --deep takes. Default: the one after the last.")
    ] = None,
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    listing: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Take what the storage holds from a listing made before. May be repeated."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a check that was cut off.")] = False,
    json: Json = False,
) -> int:
    """Compare database and storage, and report what is broken. Changes nothing."""
    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    sample = None
    if deep is not None:
        percent = parse_percent(deep, "--deep")
        if percent <= 0:
            raise ConfigurationError("--deep needs a percentage above 0.")
        sample = Sample(percent, next_seed(instance.state) if seed is None else seed)
    options = CheckOptions(
        tuple(kinds or ()),
        sample,
        None if max_missing is None else parse_percent(max_missing, "--max-missing"),
        list_concurrency=list_concurrency,
        listing=tuple(listing or ()),
        resume=not fresh,
    )
    with progress() as observer:
        report = check(instance, options, observer)
    code = 0 if report.is_whole else 1
    if json:
        emit_json(document(report), code)
    else:
        words = ["repair", *map(shlex.quote, kinds or ())]
        limit = [f"--max-missing {shlex.quote(max_missing)}"] if max_missing is not None else []
        commands = [" ".join([*words, *rest]) for rest in (limit, [WITHOUT_LIMIT])]
        show(report, *(command_line(given.env, given.state, command) for command in commands))
    return code


def document(report: CheckReport) -> dict[str, Any]:
    """`check --json`, as product.md promises it."""
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


def show(report: CheckReport, next_command: str, without_limit: str) -> None:
    """What a person reads: a table, what is broken, where it came from, and the one command to run next, which is the last
    one where all looks lost.
    """
    note = f" ({escape(report.version.note)})" if report.version.note else ""
    result.print(f"{escape(report.domain)}, Mastodon {report.version.name}{note}, media in {escape(report.storage)}")
    result.print(_table(report))
    for reason in report.mass_loss:
        result.print(f"[bold red]{escape(reason)}[/]")
    if report.mass_loss:
        result.print(
            "This looks like a disk that is not mounted or a wrong bucket rather than like damage. Is everything mounted "
            "that should be (`findmnt`, `mount -a`), and is it the right storage? Changing commands stop until it is."
        )
    _show_broken(report)
    if report.unseen:
        result.print(f"[bold red]{count(report.unseen, 'file')} could not be looked at[/], and may be whole or broken:")
        for reason, n in report.obstacles:
            result.print(f"  {n:,}: {escape(reason)}")
        result.print("Repair leaves them alone until they can be seen.")
    if report.unsettled:
        result.print(
            f"[bold red]{count(report.unsettled, 'record')} kept changing during the scan[/]: somebody holds a transaction "
            "open. Run check again when it is over."
        )
    if not report.is_whole:
        result.print(f"Details: {escape(str(report.findings))}")
    _show_next(report, next_command, without_limit)


def _table(report: CheckReport) -> Table:
    states = [s for s in State if any(k.states[s] for k in report.kinds)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind")
    for name in ("records", "broken", "files", *(s.value for s in states)):
        table.add_column(name, justify="right")
    for kind in report.kinds:
        if kind.expected:
            style = "red" if kind.records_broken else None
            cells = [kind.records, kind.records_broken, kind.expected, *(kind.states[s] for s in states)]
            table.add_row(kind.kind, *(f"{n:,}" if n else "·" for n in cells), style=style)
    return table


def _show_next(report: CheckReport, next_command: str, without_limit: str) -> None:
    """The one command to run next."""
    if report.mass_loss:
        result.print(f"If the files really are gone: [bold]{escape(without_limit)}[/]")
    elif report.new:
        result.print(f"Next: [bold]{escape(next_command)}[/]")
    elif report.known[Outcome.DEFERRED] and report.next_try is not None:
        due = f"{report.next_try:%Y-%m-%d %H:%M} UTC"
        result.print(
            f"The deferred ones are due from {due} on: [bold]{escape(f'{next_command} --deferred --apply')}[/]"
        )


def _show_broken(report: CheckReport) -> None:
    """How much is broken, what is known of it, and where it came from."""
    took = f"({report.duration_s:.1f} s)"
    unseen = f"; {report.unseen:,} could not be looked at" if report.unseen else ""
    if not report.broken:
        if report.is_whole:
            result.print(f"[green]Nothing is broken.[/] {took}")
        else:
            result.print(f"\n[bold]Nothing else is broken{unseen}.[/] {took}")
        return
    local = sum(kind.records_broken_local for kind in report.kinds)
    verb = "is" if report.broken == 1 else "are"
    result.print(f"\n[bold]{count(report.broken, 'record')} {verb} broken{unseen}.[/] {took}")
    if local:
        result.print(
            f"[bold red]{count(local, 'local record')}[/] among them. What cannot be made from what is still there needs a "
            "backup: no other server has the original (repair --from)."
        )
    if report.known:
        known = ", ".join(
            f"{report.known[outcome]:,} {words}" for outcome, words in _KNOWN.items() if report.known[outcome]
        )
        may_change = report.new or report.known[Outcome.DEFERRED] or report.known[Outcome.REFUSED]
        nothing = "" if may_change else ": nothing to do"
        result.print(f"Tried before: {known}; {report.new:,} new{nothing}.")
    if report.top_domains:
        origins = ", ".join(f"{escape(domain)} ({n:,})" for domain, n in report.top_domains)
        result.print(f"Most come from: {origins}")


_KNOWN = {
    Outcome.GONE: "gone at their origin",
    Outcome.REFUSED: "refused",
    Outcome.LOST: "lost",
    Outcome.DEFERRED: "to be tried again",
}
