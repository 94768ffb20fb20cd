"""`mastomend show`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import completion
from mastomend.cli import context as cli_context
from mastomend.cli.options import Domains, Json, Local, Remote
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.show import Shown

EXAMPLES = """
Examples:
  mastomend show                      # what the newest check or repair found
  mastomend show latest --local       # only what your own users miss
  mastomend show 20261125T10 --outcome refused --outcome deferred
  mastomend show --domain a.example --limit 0
  mastomend show --csv > broken.csv
"""
_SHOWN = 100


def show_command(
    ctx: typer.Context,
    of: Annotated[
        str,
        typer.Argument(
            metavar="[SCAN|RUN]",
            help="Its id, a beginning of it, or latest, which is the default.",
            autocompletion=completion.scans_and_runs,
            show_default=False,
        ),
    ] = "latest",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND", help="Only those kinds. May be repeated.", autocompletion=completion.kinds
        ),
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option("--outcome", metavar="OUTCOME|STATE", help="Only gone, refused, missing, … May be repeated."),
    ] = None,
    reasons: Annotated[
        list[str] | None, typer.Option("--reason", metavar="REASON", help="Only those reasons of a run.")
    ] = None,
    domains: Domains = None,
    local: Local = False,
    remote: Remote = False,
    sort: Annotated[
        str, typer.Option(metavar="whose|kind|domain|outcome", help="In which order; your own users' first by default.")
    ] = "whose",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="At most so many (100); 0 is all. CSV and JSON have all by default."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    json: Json = False,
) -> int:
    """Show the findings of a check, or what became of each record in a repair."""
    from mastomend.cli.output import emit_json
    from mastomend.commands.show import show
    from mastomend.inventory.browse import SORTS, Wanted
    from mastomend.mastodon.kinds import KINDS, choose_kinds
    from mastomend.mastodon.selection import parse_domain
    from mastomend.outcomes import Outcome
    from mastomend.vocabulary import State

    words = {one.value for one in (*Outcome, *State)}
    if unknown := [one for one in outcomes or () if one not in words]:
        raise ConfigurationError(
            f"{unknown[0]!r} is no outcome and no state.", hint=f"One of {', '.join(sorted(words))}."
        )
    order = "word" if sort in ("outcome", "state") else sort
    if order not in SORTS:
        raise ConfigurationError(f"--sort {sort!r} is none of whose, kind, domain, outcome.")
    if local and remote:
        raise ConfigurationError("--local and --remote leave nothing.", hint="Leave one of them out.")
    most = (None if csv or json else _SHOWN) if limit is None else limit or None
    wanted = Wanted(
        tuple(kind.name for kind in choose_kinds(kinds, KINDS)) if kinds else (),
        tuple(parse_domain(domain) for domain in domains or ()),
        tuple(outcomes or ()),
        tuple(reasons or ()),
        True if local else False if remote else None,
        most,
        order,
    )
    with (
        cli_context.watched(ctx, json=json or csv) as observer,
        show(cli_context.instance(ctx), of, wanted, observer) as found,
    ):
        if json:
            rows = [document(row) for row in found.rows]
            emit_json({"command": "show", "of": found.of, "total": found.number, "rows": rows}, 0)
        elif csv:
            _csv(found.rows)
        else:
            from mastomend.cli.show_screen import page

            page(found)
    return 0


def document(row: Shown) -> dict[str, Any]:
    """One element of `rows`, and the columns of `--csv`."""
    return {
        "kind": row.kind,
        "id": str(row.id),
        "who": row.who,
        "address": row.address,
        "is_local": row.is_local,
        "domain": row.domain,
        "style": row.style,
        "key": row.key,
        "outcome": row.word,
        "reason": row.reason,
        "detail": row.said,
        "tried": row.tried,
        "known": row.known,
        "last_tried": row.last_tried,
        "next_try": row.next_try,
    }


def _csv(rows: Any) -> None:
    import csv

    from mastomend.cli.output import cannot_write

    writer = None
    try:
        for row in rows:
            values = document(row)
            if writer is None:
                writer = csv.DictWriter(sys.stdout, list(values), lineterminator="\n")
                writer.writeheader()
            writer.writerow({name: _cell(value) for name, value in values.items()})
    except OSError as error:
        raise cannot_write(error) from None


def _cell(value: object) -> str:
    """A spreadsheet takes what begins so for a formula; much of it comes from strangers."""
    text = "" if value is None else "".join(c if c.isprintable() else " " for c in str(value))
    return f"'{text}" if text.startswith(("=", "+", "@", "-", "\t", "\r")) else text
