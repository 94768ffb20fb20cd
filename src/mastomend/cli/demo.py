"""`mastomend demo`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from mastomend.errors import ConfigurationError
from mastomend.interrupts import taken

if TYPE_CHECKING:
    from mastomend.cli.migrate_screen import Commands
    from mastomend.commands.migrate_report import MigrateReport
    from mastomend.demo.moving_story import MoveEvent
    from mastomend.demo.story import Event, Running

EXAMPLES = """
Examples:
  mastomend demo                      # on a local disk, ends by itself
  mastomend demo --storage s3         # the same with a bucket
  mastomend demo --story migrate      # from a disk into a bucket, and back
  mastomend demo --keep-running       # leaves the servers up until Ctrl-C,
                                      # to try commands on
"""


def demo_command(
    story: Annotated[
        str,
        typer.Option("--story", metavar="repair|migrate", help="Which story: broken and mended, or moved to a bucket."),
    ] = "repair",
    storage: Annotated[str, typer.Option(metavar="disk|s3", help="Where its media are.")] = "disk",
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the demo lives.", readable=False)] = Path(
        "mastomend-demo"
    ),
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Stay up until Ctrl-C.")] = False,
) -> int:
    """Make a whole small instance here, break it, check it, mend it."""
    from mastomend.cli.output import escape, result
    from mastomend.cli.progress import progress
    from mastomend.demo.moving_story import moving_story
    from mastomend.demo.story import Running
    from mastomend.demo.story import story as repairing_story

    if story not in ("repair", "migrate"):
        raise ConfigurationError(f"--story must be repair or migrate, not {story!r}.")
    if storage not in ("disk", "s3"):
        raise ConfigurationError(f"--storage must be disk or s3, not {storage!r}.")
    started = time.monotonic()
    with progress() as observer:
        events = moving_story(folder, observer) if story == "migrate" else repairing_story(folder, storage, observer)
        with contextlib.closing(events):  # its servers are stopped before anything else is done
            for event in events:
                observer.put_away()
                _show(event)
                if isinstance(event, Running) and keep_running:
                    _stay(event)
    result.print(f"\nDone in {time.monotonic() - started:.0f} s. The folder to explore: [bold]{escape(str(folder))}[/]")
    result.print(
        "  state/scans/*/findings.parquet   what was broken      state/runs/*/outcomes.parquet   what became of it"
    )
    if not keep_running:
        result.print("Its servers are stopped; `mastomend demo --keep-running` keeps them up to try commands on.")
    return 0


def _show(event: Event | MoveEvent) -> None:
    from mastomend.cli import check_screen, migrate_screen, repair_screen
    from mastomend.cli.output import WITHOUT_LIMIT, command_line, escape, result
    from mastomend.commands.repair_report import RepairOptions
    from mastomend.demo.moving_story import Moved
    from mastomend.demo.story import Checked, Repaired, Running, Told

    match event:
        case Told(title=title, text=text):
            result.print(f"\n[bold cyan]{escape(title)}[/]\n{escape(text)}")
        case Checked(report=report, env=env):
            result.print("\n[bold cyan]check[/]")
            words = ("repair", f"repair {WITHOUT_LIMIT}", f"show {report.scan}")
            check_screen.show(report, *(command_line(env, env.parent / "state", word) for word in words))
        case Repaired(report=report, env=env):
            again = "repair --apply"
            followers = (
                again,
                f"{again} {WITHOUT_LIMIT}",
                f"{again} --deferred",
                f"undo {report.run} --apply",
                f"show {report.run}",
                f"show {report.scan}",
            )
            commands = repair_screen.Commands(*(command_line(env, env.parent / "state", word) for word in followers))
            repair_screen.show(report, RepairOptions(apply=True), commands)
        case Moved(report=report, env=env, to=to):
            migrate_screen.show(report, _next_steps(report, env, to), str(to))
        case Running():
            pass
        case _:
            assert_never(event)


def _next_steps(report: MigrateReport, env: Path, to: Path) -> Commands:
    from mastomend.cli.migrate_screen import commands

    return commands((env, env.parent / "state"), ["--to", str(to)], [], [], report)


def _stay(event: Running) -> None:
    from mastomend.cli.output import command_line, escape, result

    command = command_line(event.env, event.env.parent / "state", "check")
    result.print(f"\nStill running. In another terminal: [command]{escape(command)}[/]\nCtrl-C ends it.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        taken()
        result.print("Stopping.")
