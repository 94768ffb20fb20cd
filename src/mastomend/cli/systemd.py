"""`mastomend systemd`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Apply, DryRun, Json, is_applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mastomend.commands.instance import Instance

EXAMPLES = """
Examples:
  mastomend systemd                   # shows the units for this server
  sudo mastomend systemd --apply      # writes them
  sudo mastomend systemd --apply --user mastodon
"""


def systemd_command(
    ctx: typer.Context,
    apply: Apply = False,
    dry_run: DryRun = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who runs them. Default: the owner of Mastodon's settings.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where they go. Default: /etc/systemd/system.", readable=False)
    ] = None,
    json: Json = False,
) -> int:
    """Make timers of systemd for this server.

    A check and a look at the room on the disk every night, another try of what was deferred every hour. Nothing is started.
    """
    from rich.text import Text

    from mastomend.cli.output import command_line, emit_json, escape, result
    from mastomend.commands.instance import locate_env
    from mastomend.commands.systemd import units
    from mastomend.commands.unit_files import FOLDER, install

    given = cli_context.options(ctx)
    apply = is_applied(apply, dry_run)
    env = locate_env(given.env, os.environ)
    instance = cli_context.instance(ctx)
    texts = units(instance, _program(), env, given.state, user)
    written = install(texts, folder or FOLDER, apply=apply)
    left = [unit for unit in written if unit.became == "left"]
    code = 1 if left else 0
    if json:
        found = [{"path": unit.path, "became": unit.became, "text": unit.text} for unit in written]
        emit_json({"command": "systemd", "applied": apply, "units": found}, code)
        return code
    for unit in written:
        if apply:
            result.print(f"{escape(unit.became)}: {escape(str(unit.path))}")
        elif unit.became != "left":
            already = "  (it is so already)" if unit.became == "unchanged" else ""
            result.print(f"[bold]{escape(str(unit.path))}[/]{already}")
            result.print(Text(unit.text), soft_wrap=True)
    for unit in left:
        result.print(f"[yellow]left:[/] {escape(str(unit.path))} was not made by this command.")
    hindered = _warn(instance, user, given.state)
    if apply and folder is not None and folder.absolute() != FOLDER:
        result.print(f"systemd looks for them in {FOLDER}.")
    elif apply:
        _say_next(command_line(given.env, given.state, "guard"), hindered=hindered)
    else:
        words = ["systemd", "--apply"]
        words += [] if user is None else ["--user", shlex.quote(user)]
        words += [] if folder is None else ["--folder", shlex.quote(str(folder))]
        command = command_line(given.env, given.state, " ".join(words), by_root=True)
        result.print(f"Nothing was written. Next: [command]{escape(command)}[/]")
    return code


def _warn(instance: Instance, user: str | None, state: Path | None) -> list[str]:
    """What keeps the units from doing what they are for; the timers that can do nothing."""
    from mastomend.cli.output import escape, result
    from mastomend.commands.systemd import JOBS
    from mastomend.commands.unit_owner import cannot_read, foreign_owner, obstacles, to_be_made

    found = obstacles(instance, user)
    commands = {f"{job.name}.timer": job.command.partition(" ")[0] for job in JOBS}
    hindered = {timer: found[command] for timer, command in commands.items() if command in found}
    for why in dict.fromkeys(hindered.values()):
        timers = [timer for timer, one in hindered.items() if one == why]
        result.print(
            f"[yellow]![/] {' and '.join(timers)} can do nothing so: {escape(why)}. Leave "
            f"{'it' if len(timers) == 1 else 'them'} off, or see doctor for what it takes."
        )
    if (owner := foreign_owner(instance, user)) is not None:
        result.print(f"  The media belong to {escape(owner)}. To do all of it, with settings that user may read:")
        result.print(f"  --user {escape(owner)}")
    if (closed := cannot_read(instance, user)) is not None:
        who, path = closed
        result.print(
            f"[yellow]![/] {escape(who)}, who these run as, may not read {escape(str(path))}. Let them (a file:"
        )
        result.print(
            "  chgrp, chmod g+r; a folder: chmod o+x), or run them as its owner (--user NAME); then run this again."
        )
    if (made := to_be_made(state, instance, user)) is not None:
        result.print(f"[yellow]![/] The state directory is not there, or another user's: [command]{escape(made)}[/]")
    return list(hindered)


def _say_next(guard: str, *, hindered: Sequence[str]) -> None:
    """Which timers to begin with."""
    from mastomend.cli.output import escape, result
    from mastomend.commands.systemd import JOBS

    timers = {f"{job.name}.timer": job for job in JOBS if f"{job.name}.timer" not in hindered}
    safe = [timer for timer, job in timers.items() if not job.deletes]
    deleting = [timer for timer, job in timers.items() if job.deletes]
    result.print(f"Next: [command]systemctl daemon-reload && systemctl enable --now {' '.join(safe)}[/]")
    if deleting:
        result.print(
            f"{' '.join(deleting)} deletes cached media for good where the disk is too full. What it would do:"
        )
        result.print(f"  [command]{escape(guard)}[/]")
        result.print(f"If you want that: [command]systemctl enable --now {' '.join(deleting)}[/]")


def _program() -> list[str]:
    """This tool with its path, as a unit needs it."""
    called = Path(sys.argv[0])
    found = shutil.which("mastomend") or (str(called.absolute()) if called.name == "mastomend" else None)
    return [found] if found else [sys.executable, "-m", "mastomend"]
