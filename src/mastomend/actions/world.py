"""Everything actions change, and who is asked before they do: one port a capability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mastomend.actions.actions import MEDIA, Action, Place
from mastomend.database.changes import Change, Values
from mastomend.errors import ConfigurationError
from mastomend.mastodon.jobs import Job
from mastomend.mastodon.keys import Key
from mastomend.storage import ports
from mastomend.vocabulary import Ownership


class ChangingStore(ports.Lookup, ports.Reading, ports.Writing, ports.Handing, Protocol):
    """What actions need of a storage."""


class Owners(Protocol):
    """Which records need a key now. Fails closed: what is not understood belongs to somebody else."""

    def of(self, keys: Sequence[Key]) -> Sequence[Ownership]:
        """Whom each key belongs to, in order, with few questions for all."""
        ...

    def hidden(self, keys: Sequence[Key]) -> Sequence[bool]:
        """Whether Mastodon keeps each from the public now; so is what no row is known to expect."""
        ...


class Rows(Protocol):
    """Guarded changes of rows: see `database.changes`."""

    def set(self, changes: Sequence[Change]) -> Sequence[str | None]:
        """One answer for each change: None, or why the row was left alone."""
        ...

    def are(self, table: str, record_id: int, values: Values) -> bool:
        """Whether that row's columns have those values."""
        ...


class Jobs(Protocol):
    """Mastodon's job queue, as far as actions need it."""

    def hand_over(self, job: Job, now: float, at: float | None = None) -> bool:
        """Each job once; False if it was handed over before."""
        ...

    def take_back(self, job: Job) -> bool:
        """False if a worker has it already."""
        ...

    def was_handed_over(self, job: Job) -> bool:
        """Whether this very job was handed over."""
        ...


class Cached(Protocol):
    """Mastodon's cache."""

    def forget(self, keys: Sequence[str]) -> None:
        """Delete entries."""
        ...


class Deletion(Protocol):
    """A post that goes or comes back, and the file of the archive."""

    @property
    def id(self) -> int: ...
    @property
    def archive(self) -> str: ...
    @property
    def cut_off(self) -> int: ...


class PostArchive(Protocol):
    """Posts, and the archive of those that went."""

    def delete(self, posts: Sequence[Deletion]) -> Sequence[str | None]:
        """Archive and delete. One answer for each: None, or why it stays, in words."""
        ...

    def restore(self, posts: Sequence[Deletion]) -> Sequence[str | None]:
        """Bring back. One answer for each: None, or why not, in words."""
        ...

    def exists(self, post: int) -> bool:
        """Whether there is a post of that id."""
        ...

    def holds(self, archive: str) -> bool:
        """Whether that archive is there."""
        ...


class RecordLocks(Protocol):
    """One lock a record, across processes."""

    def whole(self) -> AbstractContextManager[None]:
        """Nobody else works on the whole instance. Raises SafetyStop: somebody does."""
        ...

    def records(self, names: Sequence[str]) -> AbstractContextManager[list[bool]]:
        """For each of those records whether it is ours to change, until the block ends."""
        ...


class Carrier(Protocol):
    """Copies very many files from one storage to another, and knows which."""

    def carry(self) -> None:
        """Copy them. What became of each it tells whoever made it; raises what stops all of them."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """The storages by the names the journal knows them by, the rows, and who is asked."""

    places: Mapping[Place, ChangingStore]
    rows: Rows
    owners: Owners
    jobs: Jobs
    caches: Cached
    key_prefix: str = ""
    posts: PostArchive | None = None
    carrier: Carrier | None = None

    def archive(self) -> PostArchive:
        """The posts.

        Raises:
            ConfigurationError: a journal speaks of posts where none can be changed.
        """
        if self.posts is None:
            raise ConfigurationError("The journal speaks of posts, which are not at hand here.")
        return self.posts

    def has(self, actions: Iterable[Action]) -> bool:
        """Whether every storage they name is at hand. A copy that was cut off needs none: nothing of it is to be settled."""
        return all(getattr(action, "place", MEDIA) in self.places for action in actions)

    def store(self, place: Place = MEDIA) -> ChangingStore:
        """The storage of that name.

        Raises:
            ConfigurationError: a journal speaks of one that is not at hand.
        """
        if place not in self.places:
            raise ConfigurationError(
                f"The journal speaks of the storage {place}, which is not at hand.",
                hint="Name it as it was named then, with the same command.",
            )
        return self.places[place]
