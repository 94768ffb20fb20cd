"""What TAB offers: kinds, and the ids of scans and runs. It answers in a quarter of a second, and never with an error."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def kinds(incomplete: str) -> list[str]:
    """Kinds, classes and short names that begin so."""
    from mastomend.mastodon.kinds import KINDS, names_of

    offered = {name for kind in KINDS for name in names_of(kind, KINDS)}
    return sorted(name for name in offered if name.startswith(incomplete))


def groups(incomplete: str) -> list[str]:
    """What `show --by` counts by: the last of several words."""
    from mastomend.vocabulary import COUNTED_BY

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in COUNTED_BY if name.startswith(last) and name not in before.split(",")]


def steps(incomplete: str) -> list[str]:
    """The steps of a move."""
    known = ("plan", "copy", "verify", "finish", "rollback")
    return [name for name in known if name.startswith(incomplete)]


def scans(ctx: typer.Context, incomplete: str) -> list[str]:
    """Scans that are kept, the newest first."""
    return _beginning(_names(ctx, "scans", "findings.parquet"), incomplete)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs that have a report, the newest first."""
    return _beginning(_names(ctx, "runs", "outcomes.parquet"), incomplete)


def scans_and_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Both."""
    return [*dict.fromkeys([*runs(ctx, incomplete), *scans(ctx, incomplete)])]


def scans_runs_and_kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """What `show` takes."""
    return scans_and_runs(ctx, incomplete) + kinds(incomplete)


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [name for name in [*names, "latest"] if name.startswith(incomplete)] if names else []


def _names(ctx: typer.Context, folder: str, file: str) -> list[str]:
    from mastomend.commands.instance import open_instance
    from mastomend.errors import MastomendError

    root = ctx.find_root().params
    try:
        state = open_instance(_path(root.get("env")), _path(root.get("state")), os.environ).state
        return sorted((one.parent.name for one in (state / folder).glob(f"*/{file}")), reverse=True)
    except (MastomendError, OSError):  # no instance, nothing to offer
        return []


def _path(value: object) -> Path | None:
    return None if value is None else Path(str(value))
