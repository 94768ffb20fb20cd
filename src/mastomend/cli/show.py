"""`mastomend show`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import completion
from mastomend.cli import context as cli_context
from mastomend.cli.options import Accounts, Chosen, Domains, Exclude, Json, Local, Remote, Statuses
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mastomend.commands.show import Showing, Sums
    from mastomend.commands.shown import Shown
    from mastomend.inventory.browse import Wanted

EXAMPLES = """
Examples:
  mastomend show                      # what the newest check or repair found
  mastomend show latest --local       # only what your own users miss
  mastomend show 20261125T10 --outcome refused --outcome deferred
  mastomend show avatars --domain a.example --limit 0
  mastomend show --account @user@a.example
  mastomend show --new                # what no repair has tried yet
  mastomend show --by domain,known    # how many of each server, and known as
  mastomend show --csv > broken.csv
"""
_SHOWN = 100


def show_command(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCAN|RUN|KIND",
            help="A scan's or run's id, a beginning of it, or latest (the default); and kinds.",
            autocompletion=completion.scans_runs_and_kinds,
            show_default=False,
        ),
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME|STATE",
            help="Only gone, refused, missing, … May be repeated.",
            autocompletion=completion.outcomes,
        ),
    ] = None,
    reasons: Annotated[
        list[str] | None,
        typer.Option(
            "--reason", metavar="REASON", help="Only those reasons of a run.", autocompletion=completion.reasons
        ),
    ] = None,
    domains: Domains = None,
    accounts: Accounts = None,
    statuses: Statuses = None,
    local: Local = False,
    remote: Remote = False,
    exclude: Exclude = None,
    new: Annotated[bool, typer.Option("--new", help="Only findings of a check that no repair has tried.")] = False,
    sort: Annotated[
        str,
        typer.Option(
            metavar="whose|kind|domain|outcome",
            help="In which order; your own users' first by default.",
            autocompletion=completion.sorts,
        ),
    ] = "whose",
    by: Annotated[
        str,
        typer.Option(
            metavar="WORD[,WORD]",
            help="Not each one but how many of each domain, kind, outcome, reason (of a run) or what is known (of a check).",
            autocompletion=completion.groups,
            show_default=False,
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="At most so many (100); 0 is all. CSV and JSON have all by default."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    json: Json = False,
) -> int:
    """Show what a check found or a repair did, record by record."""
    from mastomend.cli.output import command_line, emit_json
    from mastomend.commands.show import show, sums

    of, kinds = _named(what or [])
    most = (None if csv or json else _SHOWN) if limit is None else limit or None
    chosen = Chosen.of(kinds, domains, accounts, statuses, exclude, local=local, remote=remote)
    wanted = _wanted(chosen, outcomes or [], reasons or [], most, sort)
    if csv and json:
        raise ConfigurationError("--csv and --json: one of them.", hint="Leave one out.")
    instance = cli_context.instance(ctx)
    if by:
        counted = sums(instance, of, wanted, _groups(by), chosen.selection(instance), new=new)
        if csv or json:
            return _emit_sums(counted, most, json=json)
        others = [*(["--new"] if new else []), *_others(chosen, wanted, counted.by)]
        by_state = not counted.is_run and bool(
            {"outcome", "known"} & set(counted.by)
        )  # outcomes that were asked for cannot be named besides
        return _print_sums(ctx, counted, most, others, not (by_state and wanted.words))
    with (
        cli_context.watched(ctx, json=json or csv) as observer,
        show(instance, of, wanted, chosen.selection(instance), observer, new=new) as found,
    ):
        if json:
            rows = [document(row) for row in found.rows]
            emit_json({**_head(found), "total": found.number, "records": found.records, "rows": rows}, 0)
        elif csv:
            _csv(COLUMNS, map(document, found.rows))
        else:
            from mastomend.cli.show_screen import Commands, page

            given = cli_context.options(ctx)
            again = " ".join(map(shlex.quote, chosen.words))
            same = " ".join(["show", *(f"--outcome {one}" for one in wanted.words), again]).strip()
            words = (
                f"repair {again or '--local'} --from DIR",
                f"check {again}".strip(),
                f"repair {again}".strip(),
                same,
            )
            backup, look, mend, newest = (command_line(given.env, given.state, line) for line in words)
            filters = bool(wanted.words or wanted.reasons)
            page(found, Commands(backup, look, mend, newest, bool(again), filters))
    return 0


def _named(words: list[str]) -> tuple[str, list[str]]:
    """The scan or run, and the kinds: an id begins with a digit, a kind never does."""
    ids = [word for word in words if word == "latest" or word[:1].isdigit()]
    if len(ids) > 1:
        raise ConfigurationError(f"{ids[0]} and {ids[1]}: one scan or run can be shown at a time.")
    return (ids or ["latest"])[0], [word for word in words if word not in ids]


def _wanted(chosen: Chosen, outcomes: list[str], reasons: list[str], most: int | None, sort: str) -> Wanted:
    from mastomend.inventory.browse import SORTS, Wanted
    from mastomend.mastodon.kinds import KINDS, choose_kinds
    from mastomend.outcomes import Outcome
    from mastomend.reasons import Reason
    from mastomend.vocabulary import State, Stray

    for name, given, known in (
        ("outcome and no state", outcomes, {one.value for one in (*Outcome, *State, *Stray)}),
        ("reason", reasons, {one.value for one in Reason}),
    ):
        if unknown := [one for one in given if one not in known]:
            near = get_close_matches(unknown[0], known)
            hint = f"Did you mean {near[0]}?" if near else f"One of {', '.join(sorted(known))}."
            raise ConfigurationError(f"{unknown[0]!r} is no {name}.", hint=hint)
    order = "word" if sort in ("outcome", "state") else sort
    if order not in SORTS:
        raise ConfigurationError(f"--sort {sort!r} is none of whose, kind, domain, outcome.")
    names = [kind.name for kind in choose_kinds(chosen.kinds, KINDS, but=chosen.but_kinds)]
    kinds = tuple(names) if chosen.kinds or chosen.but_kinds else ()
    return Wanted(kinds, words=tuple(outcomes), reasons=tuple(reasons), limit=most, sort=order)


COLUMNS = (
    "kind", "id", "who", "address", "is_local", "domain", "style", "key", "outcome", "reason", "detail", "tried", "known",
    "last_tried", "next_try", "advice", "expected_bytes", "actual_bytes",
)  # fmt: skip


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
        "advice": row.advice,
        "expected_bytes": row.expected_bytes,
        "actual_bytes": row.actual_bytes,
    }


def _groups(by: str) -> list[str]:
    from mastomend.vocabulary import COUNTED_BY

    words = ["outcome" if word == "state" else word for word in by.split(",")]
    for word in words:
        if word not in COUNTED_BY:
            near = get_close_matches(word, COUNTED_BY)
            hint = f"Did you mean {near[0]}?" if near else "Several have commas between them: --by domain,outcome"
            raise ConfigurationError(f"--by {word!r} is none of {', '.join(COUNTED_BY)}.", hint=hint)
    return list(dict.fromkeys(words))


def _emit_sums(found: Sums, most: int | None, *, json: bool) -> int:
    """Counts for programs."""
    from mastomend.cli.output import emit_json

    rows = [
        {
            **dict(zip(found.by, one.values, strict=True)),
            "records": one.records,
            "records_local": one.own,
            "files": one.files,
        }
        for one in found.groups[:most]
    ]
    if json:
        totals = {"total": found.all.files, "records": found.all.records}
        emit_json({**_head(found), **totals, "by": found.by, "rows": rows}, 0)
    else:
        _csv([*found.by, "records", "records_local", "files"], rows)
    return 0


def _others(chosen: Chosen, wanted: Wanted, by: Sequence[str]) -> list[str]:
    """The words that were given for what is not counted by."""
    if "kind" in by:
        chosen = replace(chosen, kinds=())
    if "domain" in by:
        chosen = replace(chosen, domains=(), local=False)
    filters = (("outcome", wanted.words), ("reason", wanted.reasons))
    return [*chosen.words, *(f"--{name}={one}" for name, some in filters if name not in by for one in some)]


def _print_sums(ctx: typer.Context, found: Sums, most: int | None, words: list[str], is_named: bool) -> int:
    """Counts for people; `is_named`: there are words for one of the groups."""
    from mastomend.cli.output import command_line
    from mastomend.cli.show_screen import show_sums

    given = cli_context.options(ctx)
    line = " ".join(map(shlex.quote, ["show", found.of, *words]))
    show_sums(found, most, command_line(given.env, given.state, line) if is_named else "")
    return 0


def _head(found: Showing | Sums) -> dict[str, Any]:
    return {"command": "show", "of": found.of, "looked_at": found.part}


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    import csv

    from mastomend.cli.output import cannot_write

    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    try:
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})
    except OSError as error:
        raise cannot_write(error) from None


def _cell(value: object) -> str:
    """A spreadsheet takes what begins so for a formula; much of it comes from strangers."""
    text = "" if value is None else "".join(c if c.isprintable() else " " for c in str(value))
    return f"'{text}" if text.startswith(("=", "+", "@", "-", "\t", "\r")) else text
