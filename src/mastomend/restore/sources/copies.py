"""The sources `elsewhere` and `backup`: the same bytes under another key of this storage, or in another one.

Both hold *stored* files, as Mastodon once made them, so every style is looked for and what is found is taken as it is.
An `original` counts only if its size is the one the row records (facts §0.2). Candidates of many records are asked
for together. What was found and does not count is told, so that nobody looks for it again.

Files of people who live here are looked for once more, beside their place: a name in another normal form or case, with
` (1)` or `.1` behind it, rsync's unfinished one, in the record's folder but in none of its styles. Any other file that lies
there is named and never used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Protocol
from urllib.parse import unquote

from mastomend.actions.quarantine import QUARANTINE_FOLDER, quarantine_key
from mastomend.errors import ObjectError
from mastomend.mastodon.keys import ORIGINAL, Key, below
from mastomend.mastodon.kinds import KINDS, Kind
from mastomend.outcomes import Source
from mastomend.restore.case import Case, Found, NoOffer, Offers, Stored, StoredCopy
from mastomend.storage.ports import MISSING, UNREADABLE, Held, Store, held
from mastomend.vocabulary import Target

#: So many files in quarantine are known by name, those of the newest runs; about 20 MB.
_QUARANTINED = 100_000
_PREFIXES = 8
_CACHE = "cache/"
#: So much of a record's folder is looked at; it holds a handful of files.
_BESIDE = 200
_NAMED = 3
_LOOKING = 16
_NOTHING = Found()


class Shelf(Protocol):
    """Where copies of stored files may be."""

    name: Source

    @property
    def store(self) -> Store:
        """The storage they are in."""
        ...

    def candidates(self, key: Key) -> Sequence[Key]:
        """Keys under which that file may be, likeliest first."""
        ...

    def beside(self, target: Target) -> Sequence[Held]:
        """What else lies in the record's own folder."""
        ...

    def told(self, size: int, expected: int) -> str:
        """What to say of a file of that size where another was expected."""
        ...


class Elsewhere:
    """This storage: with or without `cache/`, under another or no key prefix, in the quarantine (facts §0.1, §9).

    `hidden` says why the quarantine is left out, if it is.
    """

    name = Source.ELSEWHERE

    def __init__(self, store: Store, key_prefix: str) -> None:
        self.store = store
        self._prefix = below(key_prefix)
        known = {kind.name.split("/")[0] for kind in KINDS} | {"cache", QUARANTINE_FOLDER.split("/")[0]}
        others = [f"{name}/" for name in store.folders() if name not in known]
        self._prefixes = list(dict.fromkeys([self._prefix, "", *others[:_PREFIXES]]))
        self.hidden = ""
        self._quarantined: Mapping[str, list[Key]] = {}
        try:
            self._quarantined = _quarantined(store, f"{self._prefix}{QUARANTINE_FOLDER}/")
        except ObjectError as error:
            self.hidden = f"The quarantine is not looked into: {error.message}"

    def candidates(self, key: Key) -> Sequence[Key]:
        plain = key.removeprefix(self._prefix)
        found = [Key(prefix + form) for prefix in self._prefixes for form in _forms(plain)]
        found += self._quarantined.get(quarantine_key("", key).rpartition("/")[2], ())
        return [candidate for candidate in found if candidate != key]

    def beside(self, target: Target) -> Sequence[Held]:
        if not target.row.record.is_local or not target.files:
            return ()
        folder = target.files[0].key.rpartition("/")[0].rpartition("/")[0] + "/"
        own = {file.key for file in target.files}
        found = (one for objects in self.store.list(folder) for one in held(objects) if one.key not in own)
        try:
            return list(islice(found, _BESIDE))
        except ObjectError:  # what keeps the folder from being looked into is told of the file itself
            return ()

    def told(self, size: int, expected: int) -> str:
        return ""


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

    name = Source.BACKUP

    def __init__(self, store: Store, its_prefix: str, own_prefix: str) -> None:
        self.store = store
        self._its = below(its_prefix)
        self._own = below(own_prefix)

    def candidates(self, key: Key) -> Sequence[Key]:
        plain = key.removeprefix(self._own)
        return [Key(self._its + form) for form in _forms(plain)]

    def beside(self, target: Target) -> Sequence[Held]:
        return ()

    def told(self, size: int, expected: int) -> str:
        if size == MISSING:
            return "the backup does not have it"
        if size < 0:
            return "the backup may have it, but this user may not look into it there (root may)"
        return f"the backup has it with {size:,} bytes, but {expected:,} are recorded"


def _forms(plain: str) -> Iterator[str]:
    """The key, then the same with `cache/` where it has none, without where it has."""
    yield plain
    yield plain.removeprefix(_CACHE) if plain.startswith(_CACHE) else _CACHE + plain


class Copies:
    """One such shelf as a source."""

    asks_others = False

    def __init__(self, shelf: Shelf, store: Store) -> None:
        """`store` is the record's own storage."""
        self.shelf = shelf
        self.name = shelf.name
        self._store = store

    def serves(self, kind: Kind) -> bool:
        """Whatever is stored."""
        return True

    def offers(self, case: Case) -> Offers:
        """What was found when many were looked for at once; if it was not among them, or needs its original, too, by now: what
        is found for it alone.
        """
        yield from ()
        found, bad = case.looked.get(self), case.bad
        if found is None or case.is_spoiled:
            files = case.target.files
            sizes = self._store.sizes([f.key for f in files])
            bad |= {f.style for f, size in zip(files, sizes, strict=True) if size <= 0}
            (found,) = find(self.shelf, [(case.target, bad)])
            (found,) = find_beside(self.shelf, [(case.target, bad, found)])
        return Stored(found.copies) if found.mends(bad) else NoOffer()


def look_up(sources: Sequence[Copies], cases: Sequence[Case]) -> list[Case]:
    """The same cases with what those sources have for them: each is asked for all of them at once, and the next one only for
    what the first has not.
    """
    looked: list[dict[object, Found]] = [{} for _ in cases]
    left = list(range(len(cases)))
    for beside in (False, True):  # last and seldom: a folder is a request for each
        for source in sources:
            asked = [(cases[n].target, cases[n].bad) for n in left]
            if not asked:
                break
            if beside:
                before = [looked[n][source] for n in left]
                found = find_beside(source.shelf, [(*one, so_far) for one, so_far in zip(asked, before, strict=True)])
            else:
                found = find(source.shelf, asked)
            for n, answer in zip(left, found, strict=True):
                looked[n][source] = answer
            left = [n for n in left if not looked[n][source].mends(cases[n].bad)]
    return [replace(case, looked=found) for case, found in zip(cases, looked, strict=True)]


def find(shelf: Shelf, broken: Sequence[tuple[Target, Set[str]]]) -> list[Found]:
    """For each record, given with its broken styles, the copies of those files; one bulk look-up for all.

    Raises:
        StorageError: that storage does not answer.
    """
    asked: list[tuple[int, str, int | None, Key]] = []
    for number, (target, bad) in enumerate(broken):
        for file in target.files:
            if file.style in bad:
                asked += [(number, file.style, file.size, key) for key in shelf.candidates(file.key)]
    sizes = shelf.store.sizes([key for *_, key in asked])
    copies: list[dict[str, StoredCopy]] = [{} for _ in broken]
    best: dict[int, tuple[int, int]] = {}
    hidden = [False] * len(broken)
    for (number, style, expected, key), size in zip(asked, sizes, strict=True):
        if style == ORIGINAL and expected is not None:
            best[number] = max(best.get(number, (MISSING, expected)), (size, expected), key=_rank)
            hidden[number] |= size == UNREADABLE
        if size < 0 or style in copies[number]:
            continue
        if size == expected or (expected is None and size > 0):
            copies[number][style] = StoredCopy(style, key, size, shelf.store)
    answer = []
    for number, found in enumerate(copies):
        told = "" if ORIGINAL in found or number not in best else shelf.told(*best[number])
        told += f", only its {' and '.join(found)}, which alone is not used" if told and found else ""
        is_hidden = hidden[number] and ORIGINAL not in found
        answer.append(Found(found, (told,) if told else (), is_hidden) if found or told or is_hidden else _NOTHING)
    return answer


def _rank(found: tuple[int, int]) -> tuple[bool, int]:
    """What says more: a file of some size, a place that cannot be looked into, nothing."""
    size, _ = found
    return size != MISSING, size


def find_beside(shelf: Shelf, broken: Sequence[tuple[Target, Set[str], Found]]) -> list[Found]:
    """For each record, given with what `find` found there, also what lies beside its place, and what else lies there.

    A folder is a request, so this is for what nothing else has; many are looked into at once.

    Raises:
        StorageError: that storage does not answer.
    """
    with ThreadPoolExecutor(_LOOKING, thread_name_prefix="beside") as threads:
        return list(threads.map(lambda one: _from_beside(shelf, *one), broken))


def _from_beside(shelf: Shelf, target: Target, bad: Set[str], found: Found) -> Found:
    if not bad - found.copies.keys():
        return found
    copies, others = dict(found.copies), []
    for one in shelf.beside(target):
        file = next((f for f in target.files if is_same_name(one.key, f.key) and f.size == one.size), None)
        if file is not None and file.style in bad:
            copies.setdefault(file.style, StoredCopy(file.style, Key(one.key), one.size, shelf.store))
        elif file is None:
            others.append(f"{one.key.rpartition('/')[2]} ({one.size:,} bytes)")
    told = (f"beside it lies {', '.join(others[:_NAMED])}, which is not used",) if others else ()
    return replace(found, copies=copies, told=(*found.told, *told))


def is_same_name(found: str, wanted: str) -> bool:
    """Whether the last part of a key is that of another but for what copying tools do to names."""
    wanted = _folded(wanted.rpartition("/")[2])
    name = found.rpartition("/")[2]
    return any(_folded(form) == wanted for form in _undone(name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _undone(name: str) -> Iterator[str]:
    """The name, and what it was before a tool made a copy of it."""
    yield name
    yield unquote(name)
    for pattern, instead in _COPIED:
        if (plain := pattern.sub(instead, name)) != name:
            yield plain


#: ` (1)` before the extension, `.1` and other ends behind it, rsync's `.NAME.a1B2c3` while it is under way.
_COPIED = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"[ _]?\(\d{1,3}\)(?=\.[^.]*$|$)", ""),
        (r"(?: - Copy| copy)(?=\.[^.]*$|$)", ""),
        (r"\.\d{1,3}$", ""),
        (r"(?:~|\.bak|\.orig|\.old)$", ""),
        (r"^\.(.+)\.[A-Za-z0-9]{6}$", r"\1"),
    )
)
