"""One flat listing over many connections: the keys are cut into ranges, each listed by itself up to its own end.

Where to cut is only a matter of balance. The ranges follow one another without gaps whatever the bucket holds, so what
is listed is complete also where the bounds have nothing to do with it; a property test holds this. A cloud answers a
page of a thousand keys in the time of a round trip, so as many connections are as many times faster.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from mastomend.storage.ports import Held

_WAITING = 64


@runtime_checkable
class RangedListing(Protocol):
    """A storage that can begin a listing anywhere."""

    def list_between(self, prefix: str, after: str | None, until: str | None) -> Iterator[Sequence[Held]]:
        """As `Listing.list`, only keys above `after` and not above `until`, in byte order; None is no bound.

        Raises:
            StorageError: the listing cannot be completed.
        """
        ...


def list_in_ranges(
    store: RangedListing, prefix: str, bounds: Sequence[str], connections: int
) -> Iterator[Sequence[Held]]:
    """Everything below `prefix`, in no particular order; `bounds` are cut points in byte order.

    Raises:
        StorageError: one of the ranges could not be completed.
    """
    cuts = [None, *sorted(set(bounds), key=str.encode), None]
    ranges = list(zip(cuts, cuts[1:], strict=False))
    if len(ranges) == 1 or connections < 2:
        for after, until in ranges:
            yield from store.list_between(prefix, after, until)
        return
    chunks: queue.Queue[Sequence[Held] | None] = queue.Queue(_WAITING)
    stopped = threading.Event()

    def hand(chunk: Sequence[Held] | None) -> bool:
        while not stopped.is_set():
            try:
                chunks.put(chunk, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work(after: str | None, until: str | None) -> None:
        try:
            for chunk in store.list_between(prefix, after, until):
                if not hand(chunk):
                    return
        finally:
            hand(None)

    with ThreadPoolExecutor(connections, thread_name_prefix="list") as threads:
        running = [threads.submit(work, after, until) for after, until in ranges]
        try:
            ended = 0
            while ended < len(running):
                chunk = chunks.get()
                if chunk is None:
                    ended += 1
                else:
                    yield chunk
            for one in running:
                one.result()
        finally:
            stopped.set()
            for one in running:
                one.cancel()
