"""Look-ups on a local disk by several processes (see `lookup_worker` for why and how)."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mastomend.errors import StorageError

_WORKER = Path(__file__).with_name("lookup_worker.py")


class LookupPool:
    """`workers` processes below `root`; `sizes` may be called from several threads at once."""

    def __init__(self, root: str, workers: int | None = None) -> None:
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self._root = root
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._started: list[subprocess.Popen[bytes]] = []
        self._threads: ThreadPoolExecutor | None = None

    def _start(self) -> ThreadPoolExecutor:
        if self._threads is None:
            for _ in range(self.workers):
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_WORKER), self._root],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C goes to us; we end the worker by closing its stdin
                )
                self._started.append(process)
                self._idle.put(process)
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="lookup")
        return self._threads

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        """Sizes in order; large requests are split over the workers."""
        if not keys:
            return []
        threads = self._start()
        share = max(256, -(-len(keys) // self.workers))
        parts = [keys[i : i + share] for i in range(0, len(keys), share)]
        answer: array[int] = array("q")
        for part in threads.map(self._ask, parts):
            answer.extend(part)
        return answer

    def _ask(self, keys: Sequence[str]) -> array[int]:
        process = self._idle.get()
        try:
            assert process.stdin is not None and process.stdout is not None
            request = "\0".join(keys).encode("utf-8")
            answer: array[int] = array("q")
            try:
                process.stdin.write(struct.pack("<q", len(request)) + request)
                process.stdin.flush()
                answer.frombytes(process.stdout.read(8 * len(keys)))
            except OSError as error:
                raise StorageError(f"The look-up process below {self._root} ended: {error}.") from None
            if len(answer) != len(keys):
                raise StorageError(f"The look-up process below {self._root} ended early.")
            return answer
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End the processes."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        for process in self._started:
            if process.stdin is not None:
                process.stdin.close()
            if process.stdout is not None:
                process.stdout.close()
            process.wait(timeout=10)
        self._started.clear()
        self._idle = SimpleQueue()
