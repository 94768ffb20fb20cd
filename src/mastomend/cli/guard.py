"""`mastomend guard`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Apply, DryRun, Json, MaxMissing, is_applied, missing_limit
from mastomend.cli.textfile import Textfile, of_guard, usable

if TYPE_CHECKING:
    from mastomend.commands.guard_report import GuardReport

EXAMPLES = """
Examples:
  mastomend guard                     # is there room, and for how long?
  mastomend guard --apply -q          # from a timer: prunes where it must
  mastomend guard --disk 85% --keep-free 20GB
"""


def guard_command(
    ctx: typer.Context,
    disk: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Prune when the disk of the media is fuller. Default: 90%.")
    ] = None,
    bill: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="Prune when a month in the bucket costs more.")
    ] = None,
    warn_days: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Say so N days before the disk is full. Default: 14.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="SIZE|KIND=SIZE", help="As for prune; better in mastomend.toml.")
    ] = None,
    keep_free: Annotated[str | None, typer.Option(metavar="SIZE", help="As for prune.")] = None,
    apply: Apply = False,
    dry_run: DryRun = False,
    max_missing: MaxMissing = None,
    list_concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="How many connections list a bucket at once.")
    ] = 32,
    textfile: Textfile = None,
    json: Json = False,
) -> int:
    """Keep the storage within its bounds, and warn before it is full."""
    from mastomend.cli.guard_screen import Commands, show
    from mastomend.cli.output import WITHOUT_LIMIT, command_line, emit_json
    from mastomend.commands.guard import guard
    from mastomend.commands.guard_report import GuardOptions, marks
    from mastomend.commands.policy import wishes, with_given

    given, instance = cli_context.options(ctx), cli_context.instance(ctx)
    folder: Path | None = usable(textfile, ())
    where = instance.folder / "mastomend.toml"
    said = {name: one for name, one in (("disk", disk), ("bill", bill), ("warn_days", warn_days)) if one is not None}
    asked = [("budget", one) for one in budget or []] + [("keep-free", one) for one in [keep_free] if one is not None]
    wanted = with_given(wishes(instance.settings.prune, f"{where}: prune"), asked)
    options = GuardOptions(
        marks(instance.settings.guard, f"{where}: guard", said),
        wanted,
        is_applied(apply, dry_run),
        list_concurrency,
        missing_limit(max_missing),
    )
    with cli_context.watched(ctx, json=json) as observer:
        report = guard(instance, options, observer)
    code = exit_code(report)
    if folder is not None:
        code = max(code, of_guard(folder, instance.configuration.local_domain, report))
    if json:
        emit_json(document(report), code)
    elif not (given.quiet and code == 0):
        words = [word for name, value in asked for word in (f"--{name}", value)]
        marked = [("--disk", disk), ("--bill", bill), ("--max-missing", max_missing)]
        again = ["guard", *(str(word) for one in marked if one[1] is not None for word in one), *words, "--apply"]
        limit = ["--max-missing", max_missing] if max_missing is not None else []
        preview = ["prune", *_as_prune(report, asked), *limit]
        shown = ["show", report.pruned.run if report.pruned is not None else "latest"]
        ways = (again, preview, [*again, *WITHOUT_LIMIT.split()], shown, ["usage"], [""])
        lines = (command_line(given.env, given.state, " ".join(shlex.quote(one) for one in way if one)) for way in ways)
        show(report, Commands(*lines))
    return code


def _as_prune(report: GuardReport, asked: list[tuple[str, str]]) -> list[str]:
    """The words with which `prune` lets go the same."""
    pruned = report.pruned
    if pruned is None or not pruned.to_free:
        return [word for name, value in asked for word in (f"--{name}", value)]
    whole = pruned.goes.bytes >= report.needed
    units = [] if whole else [unit.replace("_", "-") for unit in pruned.units]  # without them more would go
    words = [word for name, value in asked if name == "budget" and "=" in value for word in ("--budget", value)]
    if report.free is not None:
        return [*units, *words, "--keep-free", f"{pruned.to_free + report.free}B"]
    return [*units, *words, "--budget", f"{max(0, pruned.cached.bytes - pruned.to_free)}B"]


def exit_code(report: GuardReport) -> int:
    """1 if a person should do something."""
    pruned = report.pruned
    undone = pruned is not None and (pruned.over or pruned.stops or (report.applied and pruned.left_alone))
    goes = pruned is not None and pruned.goes.records
    waits = bool(report.passed or goes) and not report.applied
    return 1 if report.warnings or undone or waits else 0


def document(report: GuardReport) -> dict[str, Any]:
    """`guard --json`."""
    from mastomend.cli.prune import document as of_pruning

    return {
        "command": "guard",
        "applied": report.applied,
        "duration_s": round(report.duration_s, 3),
        "disk": None
        if report.total is None
        else {
            "total": report.total,
            "free": report.free,
            "used_percent": round(report.used_percent or 0.0, 2),
            "bytes_per_day": None if report.bytes_per_day is None else round(report.bytes_per_day),
            "full_on": None if report.full_on is None else report.full_on.isoformat(),
        },
        "usd_month": None if report.usd_month is None else round(report.usd_month, 4),
        "passed": report.passed,
        "warnings": report.warnings,
        "others": report.others,
        "pruned": None if report.pruned is None else of_pruning(report.pruned),
    }
