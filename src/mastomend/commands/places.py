"""The storages a journal may speak of: the instance's own, directories its media once were in, and those a command names.

A directory needs no key, so its name is enough to reach it again; a bucket that is neither the instance's nor named is not at
hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

from mastomend.actions.actions import MEDIA, Place
from mastomend.inventory.taking_up import identity
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage
from mastomend.plans.migrate import host, same
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store

_SCHEME = "file://"


def place_of(storage: Storage) -> Place:
    """The name the journal knows a storage by, when it is not the instance's own `media`."""
    where = host(storage)
    return Place(f"{storage} at {where}" if where else str(storage))


class Places(Mapping[Place, Store]):
    """Storages by name; all but `media` are reached when they are first asked for. Close it: it closes all but that.

    `own` is what `media` is when it is called by its name; `others` are storages that somebody named.
    """

    def __init__(self, media: Store, own: Storage, others: Sequence[Storage] = ()) -> None:
        self._media = media
        self._known: dict[Place, Store] = {MEDIA: media, place_of(own): media}
        self._others = {place_of(one): one for one in others}
        self._reaching = Lock()

    def __getitem__(self, place: Place) -> Store:
        if place not in self:
            raise KeyError(place)
        with self._reaching:
            if place not in self._known:
                self._known[place] = build_store(
                    self._others.get(place) or FilesystemStorage(place.removeprefix(_SCHEME))
                )
        return self._known[place]

    def __contains__(self, place: object) -> bool:
        if place in self._known or place in self._others:
            return True
        name = str(place)
        return name.startswith(f"{_SCHEME}/") and Path(name.removeprefix(_SCHEME)).is_dir()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        """Give back what was reached besides `media`."""
        for store in self._known.values():
            if store is not self._media:
                store.close()


def resolved(place: Storage) -> Storage:
    """A directory by its real path: links lead elsewhere."""
    return FilesystemStorage(os.path.realpath(place.root)) if isinstance(place, FilesystemStorage) else place


def same_place(one: Storage, other: Storage) -> bool:
    """Whether two settings name one storage."""
    if isinstance(one, FilesystemStorage) and isinstance(other, FilesystemStorage):
        return identity(resolved(one)) == identity(resolved(other))
    return same(one, other)
