"""One flat listing over many connections: the keys are cut into ranges, each listed by itself up to its own end.

Where to cut is only a matter of balance. The ranges follow one another without gaps whatever the bucket holds, so what
is listed is complete also where the bounds have nothing to do with it; and a range that turns out to hold much more
than its share is split again while it is being listed, at a key half way between where it is and where it ends. A
property test holds completeness for any bucket and any cuts. A cloud answers a page of a thousand keys in the time of
a round trip, so as many connections are as many times faster.

All connections are tasks of one event loop in a thread of its own. (A thread for each would have the kernel parse all
pages that have come at the same time, each slowly: they then wait for the network together and for the processor together.)

What this needs of a storage is a listing in byte order. One that does not keep it is noticed and refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from arro3.core import Array, RecordBatch

from mastomend.errors import StorageError

_WAITING = 64
#: Pages a range must have given before it is split: a split that gains nothing costs one request.
_SPLIT_PAGES = 4
# What keys consist of: ids are digits and slashes; all else is looked at when those lead nowhere.
_LOWEST = ord("/")
_HIGHEST = (ord(":"), ord("z"))
_DIGITS = 12


@runtime_checkable
class RangedListing(Protocol):
    """A storage that can begin a listing anywhere."""

    def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        """As `Listing.list`, in byte order and a page of the storage at a time; only keys above `after`.

        An asynchronous generator.

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
    events: queue.SimpleQueue[RecordBatch | KeyRange | BaseException | None] = queue.SimpleQueue()
    lister = _Lister(store, ranges, connections, events)
    thread = threading.Thread(target=lister.run, name="list", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, RecordBatch):
                lister.was_taken()
            yield event
    finally:
        lister.stop()
        thread.join()


class _Lister:
    """Lists in its own thread and event loop; what it finds goes into a queue, None last, an error instead of it."""

    def __init__(
        self,
        store: RangedListing,
        ranges: Sequence[KeyRange],
        connections: int,
        events: queue.SimpleQueue[RecordBatch | KeyRange | BaseException | None],
    ) -> None:
        self._store = store
        self._ranges = ranges
        self._connections = connections
        self._events = events
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(_WAITING)
        self._everything: asyncio.Task[None] | None = None
        self._began = threading.Event()

    def run(self) -> None:
        """Until all is listed, or `stop`."""
        with contextlib.closing(self._loop):
            self._everything = self._loop.create_task(self._list())
            self._began.set()
            try:
                self._loop.run_until_complete(self._everything)
            except asyncio.CancelledError:
                pass
            except BaseExceptionGroup as errors:
                self._events.put(errors.exceptions[0])
            except BaseException as error:
                self._events.put(error)
            finally:
                self._events.put(None)  # whoever waits must hear of the end

    def was_taken(self) -> None:
        """There is room for another batch."""
        self._in_loop(self._room.release)

    def stop(self) -> None:
        """Nobody wants more."""
        self._began.wait()
        assert self._everything is not None
        self._in_loop(self._everything.cancel)

    def _in_loop(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(what)

    async def _list(self) -> None:
        work = _Work(self._ranges, may_split=self._connections > 1)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._connections):
                tasks.create_task(self._list_parts(work))

    async def _list_parts(self, work: _Work) -> None:
        while (part := await work.take()) is not None:
            after = part.position
            async with aclosing(self._store.list_after(part.prefix, after)) as pages:
                async for page in pages:
                    kept = work.pass_on(part, page)
                    if kept.num_rows:
                        await self._room.acquire()
                        self._events.put(kept)
                    if part.ended:
                        break
            self._events.put(KeyRange(part.prefix, after, work.done(part)))


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
        self._idle: deque[asyncio.Future[None]] = deque()
        self._may_split = may_split

    async def take(self) -> _Part | None:
        """The next range to list; waits while there may still be one. None: there is nothing left."""
        while True:
            part = self._waiting.popleft() if self._waiting else self._split()
            if part is not None:
                self._running.append(part)
                return part
            if not self._running:
                return None
            sleeper = asyncio.get_running_loop().create_future()
            self._idle.append(sleeper)
            await sleeper

    def pass_on(self, part: _Part, page: RecordBatch) -> RecordBatch:
        """What of a page belongs to the range; the range then stands at the end of it."""
        if page.num_rows == 0:
            return page
        keys = page["key"]
        first, last = keys[0].as_py(), keys[page.num_rows - 1].as_py()
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
        if part.pages >= _SPLIT_PAGES:
            self._wake(1)
        return page

    def done(self, part: _Part) -> str | None:
        """A range came to its end, which may be nearer than it once was: it is returned."""
        self._running.remove(part)
        self._wake(len(self._idle))
        return part.until

    def _wake(self, number: int) -> None:
        while self._idle and number > 0:
            sleeper = self._idle.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                number -= 1

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
    for highest in _HIGHEST:
        middle = (_number(low[same:], highest) + _number(high[same:], highest)) // 2
        found = low[:same] + _text(middle, highest)
        while "//" in found:  # not every client takes this, nor a slash at the end
            found = found.replace("//", "/0")
        if low < found.rstrip("/") < high:
            return found.rstrip("/")
    return None


def _number(text: str, highest: int) -> int:
    """The first characters as a number; what is outside the usual ones counts as the nearest of them."""
    value = 0
    for i in range(_DIGITS):
        code = ord(text[i]) if i < len(text) else _LOWEST
        value = value * (highest - _LOWEST + 1) + min(max(code, _LOWEST), highest) - _LOWEST
    return value


def _text(value: int, highest: int) -> str:
    digits = []
    for _ in range(_DIGITS):
        value, digit = divmod(value, highest - _LOWEST + 1)
        digits.append(chr(_LOWEST + digit))
    return "".join(reversed(digits))
