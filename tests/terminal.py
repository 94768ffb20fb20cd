"""The tool on a real terminal, drawn by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyte

#: The tool on a machine whose disks are half full, whatever this one's are: screens are the same everywhere.
_TOOL = """
import shutil
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(20_000_000_000, 10_000_000_000, 10_000_000_000)
import runpy
runpy.run_module("mastomend", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The exit code, everything that stayed on the screen or above it, and the colours it has."""

    code: int
    lines: list[str]
    colours: frozenset[str]

    @property
    def text(self) -> str:
        """The lines, without what is empty at the end."""
        return "\n".join(self.lines).rstrip("\n") + "\n"


def on_terminal(
    words: list[str],
    columns: int,
    lines: int,
    cwd: Path,
    seconds: float = 300,
    variables: Mapping[str, str] | None = None,
) -> Seen:
    """Run the tool on a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # where the tool is, so that it is called by its name
    own: Mapping[str, str] = {"PATH": path, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
    process = subprocess.Popen(
        [sys.executable, "-c", _TOOL, *words], stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
        env={**os.environ, **own, **(variables or {})},
    )  # fmt: skip
    os.close(slave)
    screen = pyte.HistoryScreen(columns, lines, history=10_000)
    stream = pyte.ByteStream(screen)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
    os.close(master)
    code = process.wait(timeout=30)
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(lines))]
    shown = ["".join(row[x].data for x in range(columns)).rstrip() for row in rows]
    colours = frozenset(row[x].fg for row in rows for x in range(columns) if row[x].data.strip())
    return Seen(code, shown, colours)
