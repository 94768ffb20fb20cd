"""`mastomend usage`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Accounts, Chosen, Domains, Exclude, Json, Kinds, Local, Remote, Statuses
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.usage_report import UsageReport
    from mastomend.inventory.usage import Amount

EXAMPLES = """
Examples:
  mastomend usage                     # where the bytes are
  mastomend usage --top 30            # more servers and accounts
  mastomend usage headers --remote    # only cached headers
  mastomend usage --price b2          # what it would cost there
  mastomend usage --html usage.html   # a page with charts
"""


def usage_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many servers and accounts.")] = 10,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="b2|r2|s3|wasabi|hetzner|FILE", help="At whose prices. Default: the bucket's own provider's."
        ),
    ] = None,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    local: Local = False,
    remote: Remote = False,
    exclude: Exclude = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a page with charts; it needs nothing but itself.", readable=False
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a count that was cut off.")] = False,
    json: Json = False,
) -> int:
    """Show where the bytes are, and what they cost. Changes nothing."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.cli.usage_screen import show
    from mastomend.commands.usage import count_usage
    from mastomend.commands.usage_report import UsageOptions

    given = cli_context.options(ctx)
    instance = cli_context.instance(ctx)
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=local, remote=remote)
    options = UsageOptions(
        chosen.kinds, chosen.but_kinds, chosen.selection(instance), top, price, list_concurrency, not fresh
    )
    if html is not None:
        _refuse_unwritable(html.absolute())
    with cli_context.watched(ctx, json=json) as observer:
        report = count_usage(instance, options, observer)
    if html is not None:
        from mastomend.cli.usage_page import write

        write(report, html)
    if json:
        emit_json(document(report), 0)
    else:
        words = ("orphans", f"show {report.scan}", "prune")
        show(report, *(command_line(given.env, given.state, word) for word in words))
    return 0


def _refuse_unwritable(html: Path) -> None:
    """Before everything is looked at."""
    said = ""
    if not html.parent.is_dir():
        said = f"{html.parent} is no directory."
    elif html.is_dir():
        said = f"{html} is a directory."
    elif html.exists():
        said = "" if os.access(html, os.W_OK) else f"This user may not write {html}."
    else:
        try:
            with tempfile.TemporaryFile(dir=html.parent):
                pass
        except OSError as error:
            said = f"{html} cannot be written: {error.strerror}."
    if said:
        raise ConfigurationError(said, hint="--html names a file to be written.")


def amount(one: Amount) -> dict[str, int]:
    """Files and bytes."""
    return {"files": one.files, "bytes": one.bytes}


def document(report: UsageReport) -> dict[str, Any]:
    """`usage --json`, as product.md promises it."""
    price, growth, disk = report.price, report.growth, report.disk
    return {
        "command": "usage",
        "scan": report.scan,
        "started_at": report.started_at,
        "duration_s": round(report.duration_s, 3),
        "kinds": [
            {
                "kind": one.kind,
                "local": amount(one.local),
                "cached": amount(one.cached),
                "orphans": amount(one.orphans),
                "claimed_bytes": one.claimed,
            }
            for one in report.kinds
        ],
        "domains": [{"domain": domain, **amount(one)} for domain, one in report.domains],
        "accounts": [{"account": name, "id": str(number), **amount(one)} for name, number, one in report.accounts],
        "ages": [{"days": days, **amount(one)} for days, one in report.ages],
        "styles": [{"kind": kind, "style": style, **amount(one)} for kind, style, one in report.styles],
        "apart": {name: amount(one) for name, one in report.apart.items()},
        "totals": {**amount(report.total), "used": amount(report.used), "claimed_bytes": report.claimed},
        "difference": report.difference,
        "versions": None if report.versions is None else amount(report.versions),
        "uploads": None if report.uploads is None else amount(report.uploads),
        "untold": report.untold,
        "cost": {
            "usd_month": None if report.a_month is None else round(report.a_month, 4),
            "provider": None if price is None else price.name,
            "prices_of": None if price is None else price.read_on.isoformat(),
            "minimum_days": None if price is None else price.minimum_days,
        },
        "growth": None if growth is None else {"since": growth.since, "bytes_per_day": round(growth.bytes_per_day)},
        "disk": None
        if disk is None
        else {
            "total": disk.total,
            "free": disk.free,
            "full_on": None if disk.full_on is None else disk.full_on.isoformat(),
        },
    }
