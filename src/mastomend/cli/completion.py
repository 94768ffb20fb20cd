"""What TAB offers: kinds, and the ids of scans and runs. It answers in a quarter of a second, and never with an error."""

from __future__ import annotations

import os
import shlex
from collections.abc import MutableMapping
from pathlib import Path

import typer

from mastomend.cli.words import in_order


def kinds(incomplete: str) -> list[str]:
    """Kinds, classes and short names that begin so."""
    from mastomend.mastodon.kinds import KINDS, names_of

    offered = {name for kind in KINDS for name in names_of(kind, KINDS)}
    return sorted(name for name in offered if name.startswith(incomplete))


def outcomes(incomplete: str) -> list[str]:
    """Outcomes and states."""
    from mastomend.outcomes import Outcome
    from mastomend.vocabulary import State, Stray

    return sorted(one.value for one in (*Outcome, *State, *Stray) if one.value.startswith(incomplete))


def reasons(incomplete: str) -> list[str]:
    """Reasons, as `show --reason` takes them."""
    from mastomend.reasons import Reason

    return sorted(one.value for one in Reason if one.value.startswith(incomplete))


def sorts(incomplete: str) -> list[str]:
    """What `show` sorts by."""
    return [name for name in ("whose", "kind", "domain", "outcome") if name.startswith(incomplete)]


def put_in_order(environment: MutableMapping[str, str]) -> None:
    """Global options may stand behind the command: what a shell says has been typed so far is told with them in front."""
    try:
        if words := shlex.split(
            environment.get("COMP_WORDS", "")
        ):  # bash; the word at COMP_CWORD is the one to complete
            number = int(environment.get("COMP_CWORD", "0"))
            before = in_order(words[1:number])
            environment["COMP_WORDS"] = shlex.join([words[0], *before, *words[number:]])
            environment["COMP_CWORD"] = str(1 + len(before))
        elif text := environment.get(
            "_TYPER_COMPLETE_ARGS", ""
        ):  # zsh and fish; the last word, if no space is behind it
            first, *words = shlex.split(text)
            last = [] if text.endswith(" ") else [words.pop()] if words else []
            environment["_TYPER_COMPLETE_ARGS"] = shlex.join([first, *in_order(words), *last]) + ("" if last else " ")
    except ValueError:  # an open quotation mark
        return


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
