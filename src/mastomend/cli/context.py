"""What the global options say, the instance they lead to, and who watches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mastomend.cli.progress import Display
    from mastomend.commands.instance import Instance


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """`--env`, `--state`, `--quiet`, `--verbose` and `--log-file` as given."""

    env: Path | None = None
    state: Path | None = None
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None


def options(context: typer.Context) -> GlobalOptions:
    """The global options of this call."""
    found = context.find_root().obj
    return found if isinstance(found, GlobalOptions) else GlobalOptions()


def instance(context: typer.Context) -> Instance:
    """The instance this call is about."""
    from mastomend.commands.instance import open_instance

    given = options(context)
    return open_instance(given.env, given.state, os.environ)


@contextmanager
def watched(context: typer.Context, *, json: bool = False) -> Iterator[Display]:
    """The observer that fits the terminal and the options; of a program that wants JSON nobody watches, unless it asks."""
    from mastomend.cli.progress import progress

    given = options(context)
    with progress(quiet=(given.quiet or json) and not given.verbose, verbose=given.verbose) as observer:
        yield observer
