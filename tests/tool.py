"""The tool as from a shell."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: What tests put where a password belongs.
SECRET = "hunter2-never-print-this"

#: What others wrote and nearly every command reads: a process that has read it is forked for each run, as a third of the time
#: of all tests would be spent on reading it. Mastomend itself is read anew each time.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["typer._adapters", "rich.console", "rich.progress", "psycopg_pool", "duckdb", "arro3.core", "aiohttp", "redis"]
)


def run(env: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The tool, as from a shell."""
    words = ["--env", str(env), "--state", str(env.parent / "state"), *arguments]
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    done = called(words, {**inherited, "HOME": str(env.parent), **variables})
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


def called(
    words: list[str], environment: dict[str, str], cwd: Path | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """`mastomend` with those words, in a process of its own with that environment.

    Raises:
        subprocess.TimeoutExpired: it does not end.
    """
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        ends = [multiprocessing.reduction.DupFd(one.fileno()) for one in (out, err)]
        process = _FORKS.Process(target=_tool, args=(words, environment, str(cwd or Path.cwd()), ends))
        process.start()
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


def _tool(words: list[str], environment: dict[str, str], cwd: str, ends: list[Any]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, end in enumerate(ends, 1):
        os.dup2(end.detach(), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["mastomend", *words]
    from mastomend.cli.app import main

    main()
