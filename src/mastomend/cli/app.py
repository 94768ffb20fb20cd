"""`mastomend`: the commands, the global options, and the one place that turns errors into exit codes.

A command imports what it needs when it is called, so that a nightly `check` does not load what only `repair` uses.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mastomend import __version__
from mastomend.cli import (
    check,
    cleanup,
    completion,
    demo,
    doctor,
    guard,
    history,
    migrate,
    orphans,
    prune,
    repair,
    show,
    systemd,
    usage,
)
from mastomend.cli.context import GlobalOptions
from mastomend.cli.help import Command, Group
from mastomend.cli.log_file import open_log, write_log
from mastomend.cli.output import (
    cannot_write,
    command_line,
    emit_json,
    escape,
    flush,
    give_up_stdout,
    log,
    prepare_streams,
    show_error,
)
from mastomend.cli.words import in_order
from mastomend.errors import MastomendError, OutputClosed, OutputError
from mastomend.interrupts import again, heard, listen, taken
from mastomend.mastodon.values import redact
from mastomend.state_files import hand_over_all

INTERRUPTED = 130
DEFECT = 70

app = typer.Typer(
    name="mastomend",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 nothing wrong, 1 something is wrong or was left undone, 2 wrong usage or configuration, "
    "3 unreachable, 4 stopped by a safety check, 70 a defect of Mastomend, 130 interrupted (run it again to go on).",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mastomend {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    env: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Mastodon's .env.production.", readable=False)
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where Mastomend keeps its own files.", readable=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Nothing but the result and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Tell every step, also with --json.")] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write steps, notes and errors there, with the time.", readable=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find, mend and prevent broken media on a Mastodon server.

    These options may stand before the command or behind it.
    """
    context.obj = GlobalOptions(env, state, quiet, verbose, log_file)
    if log_file is not None:
        open_log(log_file)
        write_log(f"mastomend {__version__} {context.invoked_subcommand}")


for _name, _command, _examples in (
    ("check", check.check_command, check.EXAMPLES),
    ("show", show.show_command, show.EXAMPLES),
    ("repair", repair.repair_command, repair.EXAMPLES),
    ("usage", usage.usage_command, usage.EXAMPLES),
    ("orphans", orphans.orphans_command, orphans.EXAMPLES),
    ("prune", prune.prune_command, prune.EXAMPLES),
    ("guard", guard.guard_command, guard.EXAMPLES),
    ("doctor", doctor.doctor_command, doctor.EXAMPLES),
    ("migrate", migrate.migrate_command, migrate.EXAMPLES),
    ("history", history.history_command, history.HISTORY_EXAMPLES),
    ("undo", history.undo_command, history.UNDO_EXAMPLES),
    ("cleanup", cleanup.cleanup_command, cleanup.EXAMPLES),
    ("systemd", systemd.systemd_command, systemd.EXAMPLES),
    ("demo", demo.demo_command, demo.EXAMPLES),
):
    app.command(_name, cls=Command, epilog=_examples)(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    try:
        return _run(list(arguments))
    finally:
        hand_over_all()


def _run(words: list[str]) -> int:
    try:
        prepare_streams()
        answer: Any = app(in_order(words), standalone_mode=False)
        flush()
    except OutputError as error:
        return _unheard(error, words)
    except MastomendError as error:
        error.hint = _as_given(error.hint, words)
        return _told(words, error.message, error.next, error.exit_code, partial(show_error, error))
    except KeyboardInterrupt:
        answer = INTERRUPTED
    except (SystemExit, GeneratorExit):
        raise
    except OSError as error:
        # what typer prints itself is not wrapped; a file of ours that cannot be written comes in words of its own
        return _unheard(cannot_write(error), words) if _is_of_stdout(error) else _usage_error(error, words)
    except BaseException as error:  # also a panic of an extension module, which is no `Exception`
        if not heard() and "Query interrupted" not in str(error):
            return _usage_error(error, words)
        answer = INTERRUPTED  # DuckDB was at work, and calls Ctrl-C an error of its own
    taken()
    if answer == INTERRUPTED:  # typer turns Ctrl-C into this answer itself
        logging.getLogger("asyncio").disabled = True  # what was under way is left where it is
        said = "Interrupted. Nothing is lost: the same command goes on from here."
        if "--new" in words:
            said = "Interrupted. The same command looks at everything anew."
        runs = sys.modules.get("mastomend.actions.run")  # not loaded for this: it has begun nothing then
        begun = runs.BEGUN[-1] if runs and runs.BEGUN else ""
        did = _as_given(f"What it did so far: mastomend history {begun}", words) if begun else ""
        return _told(words, said, "Run the same command again.", INTERRUPTED, partial(_say_interrupted, said, did))
    return answer if isinstance(answer, int) else 0


def _say_interrupted(said: str, did: str) -> None:
    write_log(said)
    before, colon, command = did.partition(": ")
    log.print(f"{said} {before}{colon}".rstrip())
    if command:  # whole, to be copied
        log.print(f"  {escape(command)}", soft_wrap=True)


def _as_given(hint: str, words: Sequence[str]) -> str:
    """A hint that ends in a command of ours names the instance this one was about."""
    before, name, command = hint.rpartition(": mastomend ")
    if not name or command.startswith("--"):
        return hint
    given: dict[str, Path | None] = {"--env": None, "--state": None}
    for option in given:
        for position, word in enumerate(words):
            if word == option and position + 1 < len(words):
                given[option] = Path(words[position + 1])
            elif word.startswith(f"{option}="):
                given[option] = Path(word.partition("=")[2])
    return f"{before}: {command_line(given['--env'], given['--state'], command)}"


def _is_of_stdout(error: OSError) -> bool:
    if error.errno == errno.EPIPE:  # a socket's says the same
        poll = select.poll()
        poll.register(1, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return error.errno in (errno.ENOSPC, errno.EIO) and error.filename is None


def _unheard(error: OutputError, words: Sequence[str]) -> int:
    """Nobody reads the result. Who has seen enough is told nothing, unless something may have been changed."""
    give_up_stdout()
    if "--apply" in words:
        error.hint = _as_given("What was done: mastomend history", list(words))
    if "--apply" in words or not isinstance(error, OutputClosed):
        show_error(error)
    return error.exit_code


def _told(words: Sequence[str], message: str, hint: str, code: int, show: Callable[[], object]) -> int:
    """An error, for people, and for programs that want JSON."""
    show()
    if "--json" in words:
        command = next((w for w in words if w in _commands()), None)
        try:
            emit_json({"command": command, "error": message, "next": hint}, code)
        except OutputError:
            give_up_stdout()
    return code


def _commands() -> set[str]:
    return {info.name for info in app.registered_commands if info.name}


def _usage_error(error: BaseException, words: Sequence[str]) -> int:
    """typer's own errors carry an exit code and show themselves; anything else is a defect."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if code is not None:
        message = str(getattr(error, "format_message", lambda: "")())
        write_log(f"Error: {message}")
        return _told(words, message, "mastomend --help", int(code), show or (lambda: None))
    found = redact("".join(traceback.format_exception(error)))
    summary = f"A defect of Mastomend: {type(error).__name__}."
    hint = "Nothing is lost: what was changed is in the journal. Please report this with the lines above."

    def explain() -> None:
        write_log(f"Error: {summary} {found}")
        log.print(found, markup=False)
        log.print(f"[bold red]Error:[/] {escape(summary)}\n[bold]Next:[/] {escape(hint)}")

    return _told(words, summary, hint, DEFECT, explain)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """A Ctrl-C that falls into a destructor comes once more."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        again()
    else:
        sys.__unraisablehook__(what)


def main() -> None:
    """The console script."""
    listen()
    completion.put_in_order(os.environ)
    sys.unraisablehook = _unraisable
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second one, while the first was being told
        code = INTERRUPTED
    if code == INTERRUPTED:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """Leave without waiting for threads: ours may wait for strangers, and one of ADBC's own, which waits for Ctrl-C, ends only
    with a second one at times. What counts is written down.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
