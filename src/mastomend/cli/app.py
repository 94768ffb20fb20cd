"""`mastomend`: the commands, the global options, and the one place that turns errors into exit codes.

A command imports what it needs when it is called, so that a nightly `check` does not load what only `repair` uses.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mastomend import __version__
from mastomend.cli import check, demo, history, repair
from mastomend.cli.context import GlobalOptions
from mastomend.cli.output import emit_json, log, show_error
from mastomend.errors import MastomendError

INTERRUPTED = 130

app = typer.Typer(
    name="mastomend",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 nothing wrong, 1 something is wrong or was left undone, 2 wrong usage or configuration, "
    "3 unreachable, 4 stopped by a safety check, 130 interrupted (run it again to go on).",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mastomend {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    env: Annotated[Path | None, typer.Option(metavar="FILE", help="Mastodon's .env.production.")] = None,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Where Mastomend keeps its own files.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find, mend and prevent broken media on a Mastodon server."""
    context.obj = GlobalOptions(env, state)


app.command("check", epilog=check.EXAMPLES)(check.check_command)
app.command("repair", epilog=repair.EXAMPLES)(repair.repair_command)
app.command("history", epilog=history.HISTORY_EXAMPLES)(history.history_command)
app.command("undo", epilog=history.UNDO_EXAMPLES)(history.undo_command)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    # typer has no options with an optional value: a bare --deep means all of it
    words = ["--deep=100%" if word == "--deep" else word for word in arguments]
    try:
        answer: Any = app(list(words), standalone_mode=False)
    except MastomendError as error:
        if "--json" in words:
            command = next((w for w in words if w in _commands()), None)
            emit_json({"command": command, "error": error.message, "next": error.hint, "exit_code": error.exit_code})
        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        answer = INTERRUPTED
    except Exception as error:
        return _usage_error(error)
    if answer == INTERRUPTED:  # typer turns Ctrl-C into this answer itself
        log.print("Interrupted. Nothing is lost: the same command goes on from here.")
    return answer if isinstance(answer, int) else 0


def _commands() -> set[str]:
    return {info.name for info in app.registered_commands if info.name}


def _usage_error(error: Exception) -> int:
    """typer's own errors carry an exit code and show themselves; anything else is a defect and keeps its traceback."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if code is None:
        raise error
    if show is not None:
        show()
    return int(code)


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
