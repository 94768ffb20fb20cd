"""Deleting many files of a disk: what takes time is the disk's, so several are under way at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: At once, and so many to each thread: fewer are not worth one.
_THREADS, _TOGETHER = 4, 32

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Deleters:
    """Threads, started when they are first needed. Close it."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def each(self, act: Callable[[_Item], _Answer], items: Sequence[_Item]) -> list[_Answer]:
        """`act` for each, in any order; the answers in theirs."""
        shares = [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
        if len(shares) < 2:
            return [act(item) for item in items]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="delete")
        found = self._threads.map(lambda share: [act(item) for item in share], shares)
        return [answer for answers in found for answer in answers]

    def close(self) -> None:
        """End them."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
