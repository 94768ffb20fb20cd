"""The tool on a real terminal, drawn by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyte
from tool import started


def _as_anywhere() -> None:
    """As on a machine whose disks are half full, and without the guides: screens are the same everywhere."""
    sys.prefix = "/opt/mastomend"
    usage = shutil._ntuple_diskusage(20_000_000_000, 10_000_000_000, 10_000_000_000)
    shutil.disk_usage = lambda path: usage


@dataclass(frozen=True, slots=True)
class Seen:
    """The exit code, everything that stayed on the screen or above it, the colours it has, and what was on the screen from
    moment to moment.
    """

    code: int
    lines: list[str]
    colours: frozenset[str]
    moments: list[str]

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
    program: Path | None = None,
) -> Seen:
    """Run the tool, or that script, on a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # where the tool is, so that it is called by its name
    own: Mapping[str, str] = {"PATH": path, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
    process = started(words, {**os.environ, **own, **(variables or {})}, cwd, [slave] * 3, program, _as_anywhere)
    os.close(slave)
    screen = pyte.HistoryScreen(columns, lines, history=10_000)
    stream = pyte.ByteStream(screen)
    moments: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.2)[0]:
            if not process.is_alive():
                break
            continue
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
        now = "\n".join(line.rstrip() for line in screen.display).strip("\n")
        if now and now not in moments[-1:]:
            moments.append(now)
    os.close(master)
    process.join(30)
    code = process.exitcode
    assert code is not None, "it does not end"
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(lines))]
    shown = ["".join(row[x].data for x in range(columns)).rstrip() for row in rows]
    colours = frozenset(row[x].fg for row in rows for x in range(columns) if row[x].data.strip())
    return Seen(code, shown, colours, moments)
