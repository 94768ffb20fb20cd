"""Look-ups on a local disk by several processes (see `lookup_worker` for why and how).

A worker must never wait for our interpreter: the next request is written into its pipe while it still works on the
last one, so it turns from one to the next without us. Answers come back in the order of requests.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mastomend.errors import StorageError

_WORKER = Path(__file__).with_name("lookup_worker.py")
_PIPE_BYTES = 1024 * 1024
#: Keys in one request to one worker.
SHARE = 4096


class _Worker:
    """One process; requests are numbered so that each caller reads its own answer."""

    def __init__(self, root: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to us; we end the worker by closing its stdin
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._requests, self._answers = self.process.stdin, self.process.stdout
        with contextlib.suppress(OSError, AttributeError):  # a larger pipe is a matter of speed only
            fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._writing = threading.Lock()
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self.outstanding = 0

    def ask(self, request: bytes) -> list[tuple[int, int]]:
        """(index, size) of the keys that are not as expected."""
        with self._writing:
            number = self._asked
            self._asked += 1
            self._requests.write(request)
            self._requests.flush()
        with self._turn:
            self._turn.wait_for(lambda: self._answered == number)
        pairs: array[int] = array("q")
        try:
            header = self._answers.read(8)
            if len(header) < 8:
                raise OSError("it ended early")
            pairs.frombytes(self._answers.read(16 * struct.unpack("=q", header)[0]))
        finally:
            with self._turn:
                self._answered += 1
                self._turn.notify_all()
        return list(zip(pairs[::2], pairs[1::2], strict=True))

    def end(self) -> None:
        """Tell the process to end; it does when its requests do."""
        with contextlib.suppress(OSError):
            self._requests.close()

    def close(self) -> None:
        """Wait for the end of the process."""
        self.end()
        self._answers.close()
        self.process.wait()


class LookupPool:
    """`workers` processes below `root`, started when first needed; may be called from several threads."""

    def __init__(self, root: str, workers: int | None = None) -> None:
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self._root = root
        self._lock = threading.Lock()
        self._pool: list[_Worker] = []
        self._threads: ThreadPoolExecutor | None = None

    def differing(self, offsets: array[int], data: bytes, expected: array[int]) -> list[tuple[int, int]]:
        """(index, size) of the keys `data[offsets[i]:offsets[i + 1]]`, each ended by a zero byte, that differ.

        Expected are bytes; -1 expects any size above 0. Split over the workers.
        """
        jobs = [
            (start, _request(offsets[start : start + SHARE + 1], data, expected[start : start + SHARE]))
            for start in range(0, len(expected), SHARE)
        ]
        if len(jobs) == 1:
            return self._ask(jobs[0][1])
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(2 * self.workers, thread_name_prefix="lookup")
        answers = self._threads.map(self._ask, (request for _, request in jobs))
        return [(start + i, size) for (start, _), found in zip(jobs, answers, strict=True) for i, size in found]

    def _ask(self, request: bytes) -> list[tuple[int, int]]:
        with self._lock:
            if not self._pool:
                self._pool = [_Worker(self._root) for _ in range(self.workers)]
            worker = min(self._pool, key=lambda w: w.outstanding)
            worker.outstanding += 1
        try:
            return worker.ask(request)
        except OSError as error:
            raise StorageError(f"The look-up process below {self._root} failed: {error}.") from None
        finally:
            with self._lock:
                worker.outstanding -= 1

    def close(self) -> None:
        """End the processes."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        for worker in self._pool:
            worker.end()
        for worker in self._pool:
            worker.close()
        self._pool = []


def _request(offsets: array[int], data: bytes, expected: array[int]) -> bytes:
    keys = data[offsets[0] : offsets[-1]]
    return b"".join((struct.pack("=qq", len(expected), len(keys)), keys, expected.tobytes()))
