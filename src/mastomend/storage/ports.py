"""What the rest of Mastomend may ask of a media storage.

One Protocol per capability, so a command states what it needs: `check` gets only what reads. Keys are relative to the
bucket or root and already contain any `S3_KEY_PREFIX`. The conformance suite runs against every implementation.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from arro3.core import Array, DataType, RecordBatch

from mastomend.errors import ObjectError
from mastomend.mastodon.keys import Key
from mastomend.vocabulary import Content, Sending, Serving

#: In place of a size: there is no such file.
MISSING = -1
#: In place of a size: something is there, or may be, but this process may not look at it.
UNREADABLE = -2
#: In place of an expected size: whatever it is, it is to be told.
TELL = -3

#: What Mastodon sends with every PUT (facts §4.2).
CACHE_CONTROL = "public, max-age=315576000, immutable"


@dataclass(frozen=True, slots=True)
class Held:
    """One object a listing shows; `size` in bytes, `modified` in microseconds since 1970, by the storage's own clock.

    `modified` is None where the storage does not tell.
    """

    key: str
    size: int
    modified: int | None = field(default=None, compare=False)


def batch(keys: Sequence[str], sizes: Sequence[int], modified: Sequence[int | None] | None = None) -> RecordBatch:
    """Objects as a listing gives them: the columns `key` (Utf8), `size` (Int64, bytes) and `modified` (Int64, as in `Held`)."""
    times = [None] * len(keys) if modified is None else modified
    columns = [Array(keys, type=DataType.string()), *(Array(each, type=DataType.int64()) for each in (sizes, times))]
    return RecordBatch.from_arrays(columns, names=["key", "size", "modified"])


def held(objects: RecordBatch) -> Iterator[Held]:
    """The objects of a batch one by one, for the few places that want them so."""
    for one in zip(*(objects[name].to_pylist() for name in ("key", "size", "modified")), strict=True):
        yield Held(*one)


@dataclass(slots=True)
class Requests:
    """How many requests a storage was asked, for reports. A local disk counts none."""

    list: int = 0
    head: int = 0


class Lookup(Protocol):
    """Sizes by key."""

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        """One entry per key, in order: its size in bytes, `MISSING` or `UNREADABLE`.

        Raises:
            StorageError: the storage as a whole does not answer.
        """
        ...

    def obstacle(self, key: str) -> str:
        """What stands before a key that is `UNREADABLE`: words that are the same for all keys behind it."""
        ...

    def in_the_way(self, key: str) -> str:
        """What keeps a file from being written where there is none: a directory in its place, a name too long; or ''."""
        ...


@runtime_checkable
class BulkLookup(Protocol):
    """Very many sizes at once, for a storage where a look-up is cheaper than a listing."""

    def differing(self, offsets: array[int], data: bytes, expected: array[int]) -> list[tuple[int, int]]:
        """(index, size) of those keys whose size is not `expected[i]` bytes.

        Key i is `data[offsets[i]:offsets[i + 1]]` without the zero byte at its end (no key holds one). Expected -1
        accepts any size above 0, `TELL` none. Sizes as in `Lookup.sizes`.

        Raises:
            StorageError: the storage as a whole does not answer.
        """
        ...


@runtime_checkable
class Mounts(Protocol):
    """A storage whose folders may be disks of their own."""

    def hole(self, prefix: str) -> str | None:
        """Why nothing can be below that folder: it, or one above it, is gone, leads nowhere or is empty; in words.

        None where there may be something, or where this user may not look.
        """
        ...

    def may_be_damage(self, prefix: str) -> bool:
        """Whether that folder is a plain one, which somebody may have emptied; not a link or a mount point."""
        ...

    def unwritable(self, prefix: str) -> str:
        """Why this user can write nothing below that folder, in words; '' where it can."""
        ...

    def twins(self, folders: Sequence[str]) -> tuple[str, str] | None:
        """Two of those folders that are one on the disk, by links or mounts: each file in them has two names then."""
        ...


class Listing(Protocol):
    """Everything below a prefix."""

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        """Batches (see `batch`) of objects whose key starts with `prefix`, a whole path segment, in no particular order.

        Raises:
            StorageError: the listing cannot be completed; what was yielded so far is then not the whole.
        """
        ...


@runtime_checkable
class Clock(Protocol):
    """A storage with a clock of its own, by which it says when an object was last written."""

    def behind_s(self) -> float:
        """How many seconds it is behind this machine's; less than nothing if it is ahead."""
        ...


@runtime_checkable
class Billed(Protocol):
    """What a store bills that no listing of objects shows."""

    def old_versions(self) -> tuple[int, int] | None:
        """How many versions of objects are not the newest, and their bytes; None if the store does not tell."""
        ...

    def unfinished_uploads(self) -> tuple[int, int] | None:
        """How many uploads in parts were never finished, and their bytes; None if the store does not tell."""
        ...


class Reading(Protocol):
    """Bytes by key."""

    def read(self, key: Key) -> bytes | None:
        """The whole object, None if there is none.

        Raises:
            StorageError: it cannot be read.
        """
        ...

    def read_each(self, keys: Sequence[Key]) -> Sequence[bytes | ObjectError | None]:
        """As `read` for many at once: the object, None if there is none, or why it cannot be read.

        Raises:
            StorageError: the storage as a whole does not answer.
        """
        ...

    def fetch(self, key: Key, spare: Path) -> Content:
        """The whole object, as a file where it may be large: the stored file itself, or a copy of it at `spare`.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        ...

    def digest(self, key: Key) -> str | None:
        """SHA-256 of the whole object in hexadecimal, read piece by piece; None if there is none.

        Raises:
            StorageError: it cannot be read.
        """
        ...


class Writing(Protocol):
    """The changes actions make. Each is complete or has no visible effect under the final key."""

    def put(self, key: Key, data: Content, content_type: str, *, private: bool = False) -> None:
        """Store an object whole and durably, with the headers, ACL and modes Mastodon gives its files.

        `private` hides it from the public, as Mastodon does with what a suspended account has.

        Raises:
            StorageError: nothing is stored under that key then (an older object stays).
        """
        ...

    def put_each(self, objects: Sequence[Sending]) -> Sequence[ObjectError | None]:
        """As `put` for many at once, of different keys. One answer for each: None, or why it was not stored.

        Raises:
            StorageError: the storage as a whole fails; some may have been stored.
        """
        ...

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        """A durable copy inside the storage; `private` hides it from the public, otherwise Mastodon's permission.

        Raises:
            StorageError: the target then does not exist or is as it was.
        """
        ...

    def move(
        self, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        """As `copy` for each (source, target), then the source is gone; all are durable when it returns.

        What is public is not moved over a file that is there, unless `replace` says so; in a bucket look before: it cannot be
        made sure there. What is private is moved to names of our own: look before, too.

        One answer for each: None, or why that one was not moved; its source still exists then. After a crash both may
        exist, never neither.

        Raises:
            StorageError: the storage as a whole fails; some may have been moved.
        """
        ...

    def delete(self, keys: Sequence[Key]) -> Sequence[ObjectError | None]:
        """Remove objects for good. One answer for each: None when there is none now, or why there still is.

        Raises:
            StorageError: the storage as a whole fails; some may be gone.
        """
        ...

    def clear(self, key: Key) -> None:
        """Remove what a `put` or `copy` to that key left beside it when it was cut off, if anything.

        Raises:
            StorageError: it cannot be removed.
        """
        ...


class Handing(Protocol):
    """How objects are handed out to the public."""

    def serving(self, key: Key) -> Serving | None:
        """How the object is handed out now; None if there is none. What the storage does not tell or keep is None in it.

        Raises:
            ObjectError: it cannot be looked at.
        """
        ...

    def serve(self, key: Key, serving: Serving) -> None:
        """Hand the object out like that from now on; its bytes stay. None in it means: as it is.

        Raises:
            ObjectError: it is not there, or refuses.
        """
        ...


class Store(Lookup, Listing, Reading, Writing, Handing, Protocol):
    """A whole storage. `check` looks keys up where it also is a `BulkLookup`, and lists where it is not."""

    requests: Requests

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names directly below a prefix (`""` or ending in a slash) under which there are objects.

        Raises:
            StorageError: they cannot be listed.
        """
        ...

    def probe(self) -> bool:
        """Reach the storage; True if it holds anything at all.

        Raises:
            StorageError: not there, not readable, wrong credentials. ConfigurationError: no such bucket or root.
        """
        ...

    def close(self) -> None:
        """Give back processes, threads and connections."""
        ...
