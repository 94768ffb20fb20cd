"""`mastomend orphans`."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Apply, DryRun, Json, Kinds, MaxMissing, is_applied, missing_limit
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.orphans_report import OrphansReport

EXAMPLES = """
Examples:
  mastomend orphans                   # what no record expects
  mastomend orphans --apply           # moves what two scans have seen and
                                      # is older than a day to the quarantine
  mastomend orphans avatars --min-age 7d --apply
  mastomend orphans --no-quarantine --min-age 7d --apply
                                      # a full disk: deletes them for good
"""

#: What is younger may be an upload under way, whatever is asked for.
_LEAST_AGE = timedelta(hours=1)


def orphans_command(
    ctx: typer.Context,
    kinds: Kinds = None,
    min_age: Annotated[
        str | None, typer.Option(metavar="AGE", help="How long ago it was last written: 24h (the default), 7d.")
    ] = None,
    apply: Apply = False,
    dry_run: DryRun = False,
    no_quarantine: Annotated[
        bool, typer.Option("--no-quarantine", help="Delete at once; needs --min-age. Nothing takes that back.")
    ] = False,
    purge_after: Annotated[
        str, typer.Option(metavar="AGE|never", help="With --apply, purge what was set aside so long ago.")
    ] = "30d",
    max_orphans: Annotated[
        str,
        typer.Option(metavar="PERCENT", help="How much of all may be nobody's before it looks like a wrong database."),
    ] = "50%",
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a scan that was cut off.")] = False,
    json: Json = False,
) -> int:
    """Find files no record expects, and set them aside."""
    from mastomend.cli.orphans_screen import Commands, show
    from mastomend.cli.output import command_line, emit_json
    from mastomend.commands.orphans import orphans
    from mastomend.commands.orphans_report import OrphansOptions
    from mastomend.commands.settings import parse_age, parse_percent

    if no_quarantine and min_age is None:
        raise ConfigurationError(
            "--no-quarantine deletes for good.", hint="Say from which age on: --no-quarantine --min-age 7d."
        )
    age = parse_age("24h" if min_age is None else min_age, "--min-age")
    if age < _LEAST_AGE:
        raise ConfigurationError(
            "--min-age must be an hour at least.", hint="Mastodon writes a file before the row that names it."
        )
    options = OrphansOptions(
        tuple(kinds or ()),
        is_applied(apply, dry_run),
        age,
        not no_quarantine,
        None if purge_after == "never" else parse_age(purge_after, "--purge-after"),
        parse_percent(max_orphans, "--max-orphans"),
        missing_limit(max_missing),
        list_concurrency,
        not fresh,
    )
    given = cli_context.options(ctx)
    with cli_context.watched(ctx, json=json) as observer:
        report = orphans(cli_context.instance(ctx), options, observer)
    code = exit_code(report)
    if json:
        emit_json(document(report), code)
    else:
        words = [
            "orphans",
            *map(shlex.quote, kinds or ()),
            *(["--min-age", shlex.quote(min_age)] if min_age is not None else []),
        ]
        words += ["--no-quarantine"] * no_quarantine
        words += ["--purge-after", shlex.quote(purge_after)] if purge_after != "30d" else []
        words += ["--list-concurrency", str(list_concurrency)] if list_concurrency != 32 else []
        words += ["--max-orphans", shlex.quote(max_orphans)] if max_orphans != "50%" else []
        words += ["--max-missing", shlex.quote(max_missing)] if max_missing is not None else []
        again = " ".join(words)
        said = (again, f"{again} --apply", f"undo {report.run} --apply", f"show {report.scan}")
        commands = Commands(no_quarantine, *(command_line(given.env, given.state, one) for one in said))
        show(report, commands, purge_after)
    return code


def exit_code(report: OrphansReport) -> int:
    """1 if there is something that nobody expects and that stays, for now."""
    moved = report.quarantined + report.purged
    return 1 if report.left_alone or report.stops or report.objects > moved else 0


def document(report: OrphansReport) -> dict[str, Any]:
    """`orphans --json`, as product.md promises it."""
    from mastomend.vocabulary import Stray

    sorts = {
        sort.value: {
            "files": one.files,
            "bytes": one.bytes,
            "too_young": one.young,
            "first_seen": one.first,
            "ready": one.ready,
        }
        for sort in Stray
        if (one := report.sorts.get(sort)) is not None
    }
    unrecognized = report.sorts.get(Stray.UNRECOGNIZED)
    return {
        "command": "orphans",
        "run": report.run,
        "applied": report.applied,
        "scan": report.scan,
        "objects": report.objects,
        "bytes": report.bytes,
        "unrecognized": unrecognized.files if unrecognized else 0,
        "ready": report.ready,
        "quarantined": report.quarantined,
        "purged": report.purged + report.expired,
        "expired": report.expired,
        "left": report.left_alone,
        "sorts": sorts,
        "stops": report.stops,
        "report": report.report,
    }
