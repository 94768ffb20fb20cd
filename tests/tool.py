"""The tool as from a shell."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

#: What tests put where a password belongs.
SECRET = "hunter2-never-print-this"

#: What nearly every command reads: a process that has read it is forked for each run, as half of the time of all tests would be
#: spent on reading it. Mastomend's command line, which looks at its environment and its terminal, is read anew each time.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("typer._adapters", "rich.console", "rich.progress"),
        *(
            f"mastomend.commands.{name}"
            for name in ("check", "repair", "show", "history", "orphans", "prune", "usage", "undo")
        ),
    ]
)


def run(env: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The tool, as from a shell."""
    words = ["--env", str(env), "--state", str(env.parent / "state"), *arguments]
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    done = called(words, {**inherited, "HOME": str(env.parent), **variables})
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


def driven(driver: Path, *words: object, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """A script with those words, which kills itself perhaps."""
    return called([str(word) for word in words], dict(os.environ), seconds=seconds, program=driver)


def called(
    words: list[str],
    environment: dict[str, str],
    cwd: Path | None = None,
    seconds: float = 120,
    program: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """`mastomend` (or that script) with those words, in a process of its own with that environment.

    Raises:
        subprocess.TimeoutExpired: it does not end.
    """
    with (
        tempfile.TemporaryFile("w+b") as out,
        tempfile.TemporaryFile("w+b") as err,
        Path(os.devnull).open("rb") as nothing,
    ):
        process = started(words, environment, cwd or Path.cwd(), [one.fileno() for one in (nothing, out, err)], program)
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, seconds)
        for one in (out, err):
            one.seek(0)
        code = process.exitcode
        assert code is not None
        return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())


def started(
    words: list[str],
    environment: dict[str, str],
    cwd: Path,
    ends: list[int],
    program: Path | None = None,
    prepare: Callable[[], None] | None = None,
) -> BaseProcess:
    """`mastomend` (or a script) with those words, its input, output and errors at those ends; `prepare` is called first."""
    there = [multiprocessing.reduction.DupFd(one) for one in ends]
    process = _FORKS.Process(target=_there, args=(words, environment, str(cwd), there, program, prepare))
    process.start()
    return process


def _there(
    words: list[str],
    environment: dict[str, str],
    cwd: str,
    ends: list[Any],
    program: Path | None,
    prepare: Callable[[], None] | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    for number, end in enumerate(ends):
        os.dup2(end.detach(), number)
    sys.stdin = os.fdopen(0, closefd=False)
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(
            sys, name, os.fdopen(number, "w", buffering=1 if number == 2 or os.isatty(number) else -1, closefd=False)
        )
    if prepare:
        prepare()
    sys.argv = [str(program or "mastomend"), *words]
    if program is not None:
        sys.path.insert(0, str(program.parent))
        runpy.run_path(str(program), run_name="__main__")
        return
    from mastomend.cli.app import main

    main()
