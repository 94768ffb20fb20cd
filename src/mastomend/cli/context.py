"""What the global options say, and the instance they lead to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import typer

from mastomend.commands.instance import Instance, open_instance


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """`--env` and `--state` as given."""

    env: Path | None = None
    state: Path | None = None


def options(context: typer.Context) -> GlobalOptions:
    """The global options of this call."""
    found = context.find_root().obj
    return found if isinstance(found, GlobalOptions) else GlobalOptions()


def instance(context: typer.Context) -> Instance:
    """The instance this call is about."""
    given = options(context)
    return open_instance(given.env, given.state, os.environ)
