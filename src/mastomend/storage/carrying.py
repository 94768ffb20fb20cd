"""Copying very many objects from one storage to another: several at once, within a budget of memory and of bandwidth.

What is small passes through memory, what is large through a file. The target refuses, or shows, what was damaged on the way
(`s3_digests`); what arrives on a disk is complete before it has its name. One object's trouble is its answer; the others go on.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mastomend.errors import ObjectError
from mastomend.mastodon.keys import Key
from mastomend.storage.ports import Reading, Writing
from mastomend.vocabulary import Content, Sending

#: What is larger passes through a file.
_IN_MEMORY = 8 * 1024 * 1024
#: Bytes that are in memory at once, at most; one object always is.
_AT_ONCE = 48 * 1024 * 1024
#: So many small ones are handed over together.
_TOGETHER = 16
#: How much of an object tells what it is.
HEAD = 512


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object to be copied: `size` bytes when it was last seen. `private` hides the copy from the public.

    `claimed` is the content type its row has for it.
    """

    source: Key
    target: Key
    size: int
    claimed: str | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a parcel: the bytes that were written, or why there are none."""

    parcel: Parcel
    bytes: int
    trouble: ObjectError | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How many at once, and how many bytes a second at most (None: no limit)."""

    connections: int = 32
    bytes_per_s: int | None = None


class Typing(Protocol):
    """What an object is handed out as."""

    def __call__(self, head: bytes, parcel: Parcel) -> str:
        """The content type of the object that begins with that."""
        ...


class Room:
    """Bytes that may be in memory at once. What is larger than all of it gets in when it is alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._change = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Wait for room, and keep it until the block ends."""
        with self._change:
            self._change.wait_for(lambda: not self._taken or self._taken + size <= self._size)
            self._taken += size
        try:
            yield
        finally:
            with self._change:
                self._taken -= size
                self._change.notify_all()


class Bandwidth:
    """So many bytes a second, over all threads, with at most a second's worth at once."""

    def __init__(
        self,
        bytes_per_s: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_s
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait(self, size: int) -> None:
        """Until so many bytes may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            begins = max(self._free_at, now - 1.0)
            self._free_at = begins + size / self._rate
        if (pause := begins - now) > 0:
            self._sleep(pause)


def carry(
    source: Reading, target: Writing, parcels: Iterable[Parcel], type_of: Typing, pace: Pace = Pace()
) -> Iterator[Delivery]:
    """Copy them all, as they come; what became of each, about in order. It stops with what the caller stops at.

    Small ones go some together: handing over one by one to the threads that write would take longer than writing.

    Raises:
        StorageError, ConfigurationError: one of the storages as a whole fails.
    """
    room, bandwidth = Room(_AT_ONCE), Bandwidth(pace.bytes_per_s)

    def work(some: Sequence[Parcel]) -> list[Delivery]:
        with room.taken(min(sum(parcel.size for parcel in some), _IN_MEMORY)):
            if len(some) == 1 and some[0].size > _IN_MEMORY:
                return [_large(source, target, some[0], type_of, bandwidth)]
            return _small(source, target, some, type_of, bandwidth)

    waiting: deque[Future[list[Delivery]]] = deque()
    threads = max(2, 2 * pace.connections // _TOGETHER)
    with ThreadPoolExecutor(threads, thread_name_prefix="carry") as pool:
        try:
            for some in _together(parcels):
                waiting.append(pool.submit(work, some))
                if len(waiting) >= 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def _together(parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
    """Some small ones, or one large."""
    some: list[Parcel] = []
    size = 0
    for parcel in parcels:
        if some and (len(some) == _TOGETHER or size + parcel.size > _IN_MEMORY):
            yield some
            some, size = [], 0
        some.append(parcel)
        size += parcel.size
    if some:
        yield some


def _small(
    source: Reading, target: Writing, some: Sequence[Parcel], type_of: Typing, bandwidth: Bandwidth
) -> list[Delivery]:
    """What is empty, or has another size than its row needs, is copied as it is: a move mends nothing and hides nothing."""
    came = source.read_each([parcel.source for parcel in some])
    found = [(parcel, data) for parcel, data in zip(some, came, strict=True) if isinstance(data, bytes)]
    bandwidth.wait(sum(len(data) for _, data in found))
    sent = target.put_each(
        [Sending(parcel.target, data, type_of(data[:HEAD], parcel), parcel.private) for parcel, data in found]
    )
    delivered = {
        parcel: Delivery(parcel, 0 if trouble else len(data), trouble)
        for (parcel, data), trouble in zip(found, sent, strict=True)
    }
    for parcel, data in zip(some, came, strict=True):
        if not isinstance(data, bytes):
            delivered[parcel] = Delivery(parcel, 0, data or _gone(parcel))
    return [delivered[parcel] for parcel in some]


def _gone(parcel: Parcel) -> ObjectError:
    return ObjectError(f"{parcel.source} is gone.")


def _large(source: Reading, target: Writing, parcel: Parcel, type_of: Typing, bandwidth: Bandwidth) -> Delivery:
    """Through a file; what a copy that was cut off left of it is removed first."""
    try:
        with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
            content = source.fetch(parcel.source, Path(folder) / "object")
            head, size = _measured(content, parcel)
            bandwidth.wait(size)
            target.clear(parcel.target)
            target.put(parcel.target, content, type_of(head, parcel), private=parcel.private)
            return Delivery(parcel, size)
    except ObjectError as error:
        return Delivery(parcel, 0, error)


def _measured(content: Content, parcel: Parcel) -> tuple[bytes, int]:
    if isinstance(content, bytes):
        return content[:HEAD], len(content)
    try:
        with content.open("rb") as file:
            return file.read(HEAD), content.stat().st_size
    except OSError as error:
        raise ObjectError(f"{parcel.source} cannot be read: {error.strerror}.") from None
