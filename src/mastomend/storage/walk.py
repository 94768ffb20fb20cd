"""A walk of everything below a directory, by several processes (see `walk_worker` for why, and for the rules).

The upper directories are read here until there are enough to share out; then every process walks one after another to
its end. What is found comes in whatever order it comes.
"""

from __future__ import annotations

import os
import queue
import struct
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from arro3.core import RecordBatch

from mastomend.errors import StorageError
from mastomend.storage import walk_worker
from mastomend.storage.ports import batch

_WORKER = Path(walk_worker.__file__)
#: Shares for each process: enough that they end at about the same time. A share is some directories of one level, not
#: more than fit into a pipe, because nobody reads answers while they are written.
_SHARE = 64
_MOST_BYTES = 32_768
_WAITING = 32
_HEADER = struct.Struct("<qqq")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something on the disk that is no object: its path below the root and what is wrong with it."""

    path: str
    reason: str

    @property
    def hides(self) -> bool:
        """Whether there may be objects behind it."""
        return self.reason.startswith(walk_worker.UNREADABLE)


def walk(root: str, start: str, tell: Callable[[Trouble], None], workers: int | None = None) -> Iterator[RecordBatch]:
    """Batches of all files below `start` (relative to `root`, "" for all); `tell` hears of what is none.

    Raises:
        StorageError: one of the processes ended early.
    """
    processes = workers or min(os.cpu_count() or 1, 8)
    folders = _upper(root, start, _SHARE * processes, tell)
    yield from folders.files
    shares: queue.SimpleQueue[Sequence[bytes]] = queue.SimpleQueue()
    longest = max((len(folder) + 1 for folder in folders.left), default=1)
    size = max(1, min(_MOST_BYTES // longest, len(folders.left) // (_SHARE * processes)))
    for start_at in range(0, len(folders.left), size):
        shares.put(folders.left[start_at : start_at + size])
    found: queue.Queue[RecordBatch | list[Trouble] | None] = queue.Queue(_WAITING)
    unread = threading.Event()

    def hand(what: RecordBatch | list[Trouble] | None) -> None:
        while not unread.is_set():
            try:
                found.put(what, timeout=0.1)
            except queue.Full:
                continue
            return

    def run() -> None:
        try:
            _run(root, shares, hand, unread)
        finally:
            hand(None)

    processes = min(processes, len(folders.left))
    with ThreadPoolExecutor(max(processes, 1), thread_name_prefix="walk") as threads:
        running = [threads.submit(run) for _ in range(processes)]
        try:
            ended = 0
            while ended < processes:
                what = found.get()
                if what is None:
                    ended += 1
                elif isinstance(what, list):
                    for trouble in what:
                        tell(trouble)
                else:
                    yield what
            for one in running:
                one.result()
        finally:
            unread.set()


@dataclass(frozen=True, slots=True)
class _Upper:
    left: list[bytes]
    files: list[RecordBatch]


def _upper(root: str, start: str, enough: int, tell: Callable[[Trouble], None]) -> _Upper:
    """Read level by level until there are enough directories to share out."""
    level, files = [os.fsencode(start.rstrip("/"))], []
    base = os.fsencode(root)
    while level and len(level) < enough:
        below: list[bytes] = []
        for folder in level:
            scanned = walk_worker.scan(base, folder)
            below += scanned.folders
            if scanned.files:
                files.append(batch([path.decode() for path in scanned.files], scanned.sizes, scanned.modified))
            for path, reason in scanned.troubles:
                tell(Trouble(path.decode("utf-8", "replace"), reason))
        level = below
    return _Upper(level, files)


def _run(
    root: str,
    shares: queue.SimpleQueue[Sequence[bytes]],
    hand: Callable[[RecordBatch | list[Trouble]], None],
    unread: threading.Event,
) -> None:
    """Give one process a share after another, and hand on what it finds."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_WORKER), root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C goes to us; we end the process by closing its stdin
    )
    assert process.stdin is not None and process.stdout is not None
    with process, process.stdin, process.stdout:
        while not unread.is_set():
            try:
                share = shares.get_nowait()
            except queue.Empty:
                return
            rest = memoryview(b"".join(folder + b"\0" for folder in share))
            try:
                while rest:  # past its buffer, which would be written when it is closed, and fail again
                    rest = rest[os.write(process.stdin.fileno(), rest) :]
            except BrokenPipeError:
                raise _ended_early(root) from None
            for what in (found for _ in share for found in _frames(process.stdout, root)):
                hand(what)
                if unread.is_set():
                    process.kill()  # it may have much of its directory left
                    return


def _ended_early(root: str) -> StorageError:
    return StorageError(f"A process that walks {root} ended early.", hint="Is there enough memory?")


def _exactly(answers: IO[bytes], n: int, root: str) -> bytes:
    """So many bytes; a process that was ended in the middle of them says less."""
    data = answers.read(n)
    if len(data) < n:
        raise _ended_early(root)
    return data


def _frames(answers: IO[bytes], root: str) -> Iterator[RecordBatch | list[Trouble]]:
    while True:
        n, named, told = _HEADER.unpack(_exactly(answers, _HEADER.size, root))
        if n < 0:
            return
        sizes, modified = (array("q", _exactly(answers, 8 * n, root)) for _ in range(2))
        keys = _exactly(answers, named, root).decode("utf-8").split("\0")[:-1]
        troubles = [entry.rpartition(b"\t") for entry in _exactly(answers, told, root).split(b"\0")[:-1]]
        if keys:
            yield batch(keys, sizes, modified)
        if troubles:
            yield [Trouble(path.decode("utf-8", "replace"), reason.decode()) for path, _, reason in troubles]
