"""One flat listing over many connections: the keys are cut into ranges, each listed by itself up to its own end.

Where to cut is only a matter of balance. The ranges follow one another without gaps whatever the bucket holds, so what
is listed is complete also where the bounds have nothing to do with it; and a range that turns out to hold much more
than its share is split again while it is being listed, at a key half way between where it is and where it ends. A
property test holds completeness for any bucket and any cuts. A cloud answers a page of a thousand keys in the time of
a round trip, so as many connections are as many times faster.

What this needs of a storage is a listing in byte order. One that does not keep it is noticed and refused.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from arro3.core import Array, RecordBatch

from mastomend.errors import StorageError

_WAITING = 64
#: Pages a range must have given before it is split: a split that gains nothing costs one request.
_SPLIT_PAGES = 4
# What keys consist of, mostly; a point half way between two keys is looked for among words of these. A slash counts but
# is never written: where it might end up, not every client takes it.
_LOWEST, _HIGHEST = ord("/"), ord("z")
_DIGITS = 8


@runtime_checkable
class RangedListing(Protocol):
    """A storage that can begin a listing anywhere."""

    def list_after(self, prefix: str, after: str | None) -> Iterator[RecordBatch]:
        """As `Listing.list`, in byte order and a page of the storage at a time; only keys above `after`.

        Raises:
            StorageError: the listing cannot be completed.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys below `prefix` that are above `after` and not above `until`, in byte order; None is no bound."""

    prefix: str
    after: str | None = None
    until: str | None = None


def cut(prefix: str, bounds: Sequence[str]) -> list[KeyRange]:
    """The whole of a prefix as ranges between `bounds`, in whatever order those come."""
    cuts = [None, *sorted(set(bounds)), None]
    return [KeyRange(prefix, after, until) for after, until in pairwise(cuts)]


def list_in_ranges(
    store: RangedListing, ranges: Sequence[KeyRange], connections: int
) -> Iterator[RecordBatch | KeyRange]:
    """Everything in those ranges, in no particular order, over at most that many connections.

    Behind the last objects of a range (or of a part of it, where it was split) comes the range itself.

    Raises:
        StorageError: one of the ranges could not be completed.
    """
    events: queue.Queue[RecordBatch | KeyRange | None] = queue.Queue(_WAITING)
    work = _Work(ranges, may_split=connections > 1)
    unread = threading.Event()

    def hand(what: RecordBatch | KeyRange | None) -> None:
        while not unread.is_set():
            with contextlib.suppress(queue.Full):
                events.put(what, timeout=0.1)
                return

    def lister() -> None:
        try:
            while (part := work.take()) is not None:
                after = part.position
                for page in store.list_after(part.prefix, part.position):
                    kept = work.pass_on(part, page)
                    if kept.num_rows:
                        hand(kept)
                    if work.stopped:
                        return
                    if part.ended:
                        break
                hand(KeyRange(part.prefix, after, work.done(part)))
        except BaseException:
            work.stop()
            raise
        finally:
            hand(None)

    with ThreadPoolExecutor(connections, thread_name_prefix="list") as threads:
        running = [threads.submit(lister) for _ in range(connections)]
        try:
            ended = 0
            while ended < connections:
                event = events.get()
                if event is None:
                    ended += 1
                else:
                    yield event
            for one in running:
                one.result()
        finally:
            unread.set()
            work.stop()


@dataclass(slots=True, eq=False)
class _Part:
    """A range while it is being listed: where it is, and where it ends, which a split brings nearer."""

    prefix: str
    position: str | None
    until: str | None
    pages: int = 0
    ended: bool = False


class _Work:
    """Which ranges are left. Whoever has nothing to do splits the range that has given the most pages."""

    def __init__(self, ranges: Sequence[KeyRange], *, may_split: bool) -> None:
        self._waiting = deque(_Part(r.prefix, r.after, r.until) for r in ranges)
        self._running: list[_Part] = []
        self._changed = threading.Condition()
        self._may_split = may_split
        self._idle = 0
        self.stopped = False

    def take(self) -> _Part | None:
        """The next range to list; waits while there may still be one. None: there is nothing left."""
        with self._changed:
            self._idle += 1
            try:
                while not self.stopped:
                    part = self._waiting.popleft() if self._waiting else self._split()
                    if part is not None:
                        self._running.append(part)
                        return part
                    if not self._running:
                        break
                    self._changed.wait()
                return None
            finally:
                self._idle -= 1

    def pass_on(self, part: _Part, page: RecordBatch) -> RecordBatch:
        """What of a page belongs to the range; the range then stands at the end of it."""
        if page.num_rows == 0:
            return page
        keys = page["key"]
        first, last = keys[0].as_py(), keys[page.num_rows - 1].as_py()
        with self._changed:
            if self._may_split and (last < first or (part.position is not None and first <= part.position)):
                raise StorageError(
                    f"The storage lists {part.prefix} in no order ({first!r} after {part.position!r}).",
                    hint="Use --list-concurrency 1.",
                )
            part.pages += 1
            part.ended = part.until is not None and last >= part.until
            if part.ended:
                assert part.until is not None
                page = page.slice(0, _count_up_to(keys, part.until))
            part.position = part.until if part.ended else last
            if self._idle and part.pages >= _SPLIT_PAGES:
                self._changed.notify()
            return page

    def done(self, part: _Part) -> str | None:
        """A range came to its end, which may be nearer than it once was: it is returned."""
        with self._changed:
            self._running.remove(part)
            self._changed.notify_all()
            return part.until

    def stop(self) -> None:
        """Nobody wants more."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _split(self) -> _Part | None:
        """The second half of what is left of the range that has given the most pages since it was last split."""
        if not self._may_split:
            return None
        for part in sorted(self._running, key=lambda p: p.pages, reverse=True):
            if part.pages < _SPLIT_PAGES or part.ended or part.position is None:
                return None
            # ids are digits: what is above them is foreign, and not worth a guess
            middle = between(part.position, part.until or f"{part.prefix}:")
            if middle is not None:
                second = _Part(part.prefix, middle, part.until)
                part.until, part.pages = middle, 0
                return second
        return None


def _count_up_to(keys: Array, until: str) -> int:
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle].as_py() <= until:
            low = middle + 1
        else:
            high = middle
    return low


def between(low: str, high: str) -> str | None:
    """A key about half way between two, above the first and below the second; None if there is no room."""
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    base = _HIGHEST - _LOWEST + 1
    middle = (_number(low[same:], base) + _number(high[same:], base)) // 2
    digits = []
    for _ in range(_DIGITS):
        middle, digit = divmod(middle, base)
        digits.append(chr(_LOWEST + max(digit, 1)))
    found = low[:same] + "".join(reversed(digits))
    return found if low < found < high else None


def _number(text: str, base: int) -> int:
    """The first characters as a number; what is outside the usual bytes counts as the nearest of them."""
    value = 0
    for i in range(_DIGITS):
        code = ord(text[i]) if i < len(text) else _LOWEST
        value = value * base + min(max(code, _LOWEST), _HIGHEST) - _LOWEST
    return value
