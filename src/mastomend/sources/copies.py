"""Two sources without network: the same bytes under another key of this storage, or in a backup.

Both hold *stored* files, as Mastodon once made them, so every style is looked for and what is found is taken as it is.
An `original` counts only if its size is the one the row records (facts §0.2). Candidates of many records are asked
for together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from mastomend.actions.actions import QUARANTINE_FOLDER, quarantine_key
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import KINDS
from mastomend.outcomes import Source
from mastomend.storage.ports import MISSING, UNREADABLE, Store, held
from mastomend.vocabulary import Target

#: So many files in quarantine are known by name, those of the newest runs; about 20 MB.
_QUARANTINED = 100_000
_PREFIXES = 8
_CACHE = "cache/"


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """One file found under another key of `store`."""

    style: str
    key: Key
    size: int
    store: Store


class CopySource(Protocol):
    """Where copies of stored files may be."""

    source: Source

    @property
    def store(self) -> Store:
        """The storage they are in."""
        ...

    def candidates(self, key: Key) -> Sequence[Key]:
        """Keys under which that file may be, likeliest first."""
        ...


class Elsewhere:
    """This storage: with or without `cache/`, under another or no key prefix, in the quarantine (facts §0.1, §9)."""

    source = Source.ELSEWHERE

    def __init__(self, store: Store, key_prefix: str) -> None:
        self.store = store
        self._prefix = f"{key_prefix}/" if key_prefix else ""
        known = {kind.name.split("/")[0] for kind in KINDS} | {"cache", QUARANTINE_FOLDER.split("/")[0]}
        others = [f"{name}/" for name in store.folders() if name not in known]
        self._prefixes = list(dict.fromkeys([self._prefix, "", *others[:_PREFIXES]]))
        self._quarantined = _quarantined(store, f"{self._prefix}{QUARANTINE_FOLDER}/")

    def candidates(self, key: Key) -> Sequence[Key]:
        plain = key.removeprefix(self._prefix)
        found = [Key(prefix + form) for prefix in self._prefixes for form in _forms(plain)]
        found += self._quarantined.get(quarantine_key("", key).rpartition("/")[2], ())
        return [candidate for candidate in found if candidate != key]


def _quarantined(store: Store, folder: str) -> dict[str, list[Key]]:
    """What is in quarantine, by its flat name, newest run first: asked for once rather than for every record."""
    found: dict[str, list[Key]] = {}
    known = 0
    for run in sorted(store.folders(folder), reverse=True):
        for objects in store.list(f"{folder}{run}/"):
            for one in held(objects):
                found.setdefault(one.key.rpartition("/")[2], []).append(Key(one.key))
            known += objects.num_rows
        if known >= _QUARANTINED:
            break
    return found


class Backup:
    """Another storage of the same instance: an old directory, a mounted backup, the old bucket."""

    source = Source.BACKUP

    def __init__(self, store: Store, its_prefix: str, own_prefix: str) -> None:
        self.store = store
        self._its = f"{its_prefix}/" if its_prefix else ""
        self._own = f"{own_prefix}/" if own_prefix else ""

    def candidates(self, key: Key) -> Sequence[Key]:
        plain = key.removeprefix(self._own)
        return [Key(self._its + form) for form in _forms(plain)]


def _forms(plain: str) -> Iterator[str]:
    """The key, then the same with `cache/` where it has none, without where it has."""
    yield plain
    yield plain.removeprefix(_CACHE) if plain.startswith(_CACHE) else _CACHE + plain


def find(source: CopySource, broken: Sequence[tuple[Target, Set[str]]]) -> list[dict[str, StoredCopy]]:
    """For each record, given with its broken styles, the copies of those files; one bulk look-up for all.

    Raises:
        StorageError: that storage does not answer.
    """
    asked: list[tuple[int, str, int | None, Key]] = []
    for number, (target, bad) in enumerate(broken):
        for file in target.files:
            if file.style in bad:
                asked += [(number, file.style, file.size, key) for key in source.candidates(file.key)]
    sizes = source.store.sizes([key for *_, key in asked])
    answer: list[dict[str, StoredCopy]] = [{} for _ in broken]
    for (number, style, expected, key), size in zip(asked, sizes, strict=True):
        if size in (MISSING, UNREADABLE) or style in answer[number]:
            continue
        if size == expected or (expected is None and size > 0):
            answer[number][style] = StoredCopy(style, key, size, source.store)
    return answer
