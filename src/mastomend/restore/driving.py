"""Drives a repair's records to their ends, and tells a person how it goes: what came of them, whom one waits for, how long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from mastomend.interrupts import run_loop
from mastomend.progress import Progress
from mastomend.reasons import Reason
from mastomend.remote.admission import Host
from mastomend.restore.case import Way
from mastomend.restore.desk import Desk

_TOLD_EVERY_S = 0.5
#: Hosts that are named as waited for, and those whose queues tell how long it takes.
_TOLD, _WATCHED = 2, 16


def drive(desk: Desk, rate: float, batches: Iterator[list[Way]], progress: Progress) -> None:
    """Take all of them to their ends; `progress` hears what came of them so far, and whom one waits for.
    `rate` is how many requests a second one host gets at most.
    """
    run_loop(_drive(desk, rate, batches, progress))


async def _drive(desk: Desk, rate: float, batches: Iterator[list[Way]], progress: Progress) -> None:
    so_far: Counter[str] = Counter()
    async with desk:
        telling = asyncio.create_task(_tell(desk, so_far, _Queues(rate), progress))
        try:
            async for done in desk.all(batches):  # each is recorded at the end of its way
                if done is None or done.verdict.reason is not Reason.HANDED_OVER:
                    progress.advance(1)
                if done is not None:
                    so_far[done.verdict.outcome.value] += 1
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling


async def _tell(desk: Desk, so_far: Counter[str], queues: _Queues, progress: Progress) -> None:
    """Again and again, also while nobody answers."""
    while True:
        await asyncio.sleep(_TOLD_EVERY_S)
        waiting = desk.waiting_for(_WATCHED)
        progress.status(_status(so_far, waiting[:_TOLD]), queues.left_s(waiting, time.monotonic()))


def _status(so_far: Counter[str], waiting: Sequence[tuple[Host, int]]) -> str:
    said = ", ".join(f"{n:,} {word}" for word, n in so_far.most_common())
    hosts = ", ".join(f"{host} ({n:,})" for host, n in waiting)
    return "; ".join(part for part in (said, f"waiting for {hosts}" if hosts else "") if part)


class _Queues:
    """How fast the queues of the busiest hosts drain: however fast all others are, the slowest of them is waited for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._longest: dict[Host, tuple[int, float]] = {}

    def left_s(self, waiting: Sequence[tuple[Host, int]], now: float) -> float:
        """Seconds until the last of them is empty, by what was seen since each was longest."""
        left = 0.0
        for host, n in waiting:
            longest, since = self._longest.get(host, (0, now))
            if n >= longest:
                self._longest[host] = (n, now)
                left = max(left, n / self._rate if self._rate else 0.0)  # 0: nobody is waited for
            else:
                left = max(left, n * (now - since) / (longest - n))
        return left
