"""What a storage can do, found out by trying: with a few objects of our own that are removed again.

Stores that speak S3 differ in what they keep. SeaweedFS takes a permission and drops it, others ignore a condition, some answer
a bulk delete without naming what stayed. So everything is written, read back, and asked for without a key.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass

from mastomend.errors import MastomendError
from mastomend.mastodon.keys import Key
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import CACHE_CONTROL, MISSING, Store, held
from mastomend.vocabulary import Sending

#: So many bytes tell the bandwidth.
_TRIED = 4 * 1024 * 1024
_SMALL = 64
#: A try takes seconds.
_DEAD_S = 3600.0
#: What a stranger is answered who gets it.
_GIVEN = (200, 206)
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000"
    "000049454e44ae426082"
)


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that was tried. `works` None: it could not be found out. `said` tells what was seen, `advice` what to do."""

    name: str
    works: bool | None
    said: str
    advice: str = ""
    is_needed: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """All that was tried. `bytes_per_s` is what one connection sent, `files_per_s` how many small ones went at once; None if
    nothing could be written.
    """

    abilities: tuple[Ability, ...]
    bytes_per_s: float | None = None
    files_per_s: float | None = None

    def seconds_for(self, files: int, size: int) -> float | None:
        """About how long so many files with so many bytes take, a few large ones at once."""
        if not self.bytes_per_s or not self.files_per_s:
            return None
        return max(files / self.files_per_s, size / (4 * self.bytes_per_s))

    @property
    def lacking(self) -> list[Ability]:
        """What is needed and does not work."""
        return [one for one in self.abilities if one.works is False and one.is_needed]


def try_out(store: Store, key_prefix: str, *, measured: bool = False) -> Tried:
    """Write, read, change, delete a few objects below `.mastomend/probe/`. `measured`: also how fast many small ones go.

    Raises:
        StorageError, ConfigurationError: the storage as a whole does not answer.
    """
    folder = f"{key_prefix}/" if key_prefix else ""
    folder = f"{folder}.mastomend/probe/"
    _sweep(store, folder)
    folder = f"{folder}{secrets.token_hex(6)}/"
    keys = [Key(f"{folder}{name}") for name in ("public.png", "private.png", "large.bin")]
    found: list[Ability] = []
    speed = rate = None
    small = [Sending(Key(f"{folder}small-{n}.png"), _PICTURE, "image/png") for n in range(_SMALL if measured else 0)]
    keys += [one.key for one in small]
    try:
        try:
            for key, private in ((keys[0], False), (keys[1], True)):
                store.put(key, _PICTURE, "image/png", private=private)
            body = secrets.token_bytes(_TRIED)
            began = time.monotonic()
            store.put(keys[2], body, "application/octet-stream")
            speed = _TRIED / max(time.monotonic() - began, 0.001)
            began = time.monotonic()
            store.put_each(small)
            rate = len(small) / max(time.monotonic() - began, 0.001) if small else None
        except MastomendError as error:
            found.append(Ability("write", False, error.message, error.hint))
            return Tried(tuple(found))
        found.append(Ability("write", True, "objects can be written"))
        found += _read_back(store, keys, body)
        found += _handed_out(store, keys)
        if isinstance(store, S3ObjectStore):
            found += [*_permission(store, keys), _condition(store, Key(f"{folder}condition"))]
    finally:
        gone = _removed(store, [*keys, Key(f"{folder}condition")])
    found.append(gone)
    return Tried(tuple(found), speed, rate)


def _sweep(store: Store, folder: str) -> None:
    """What a try left that was killed."""
    before = (time.time() - _DEAD_S) * 1_000_000
    with contextlib.suppress(MastomendError):
        old = [one.key for some in store.list(folder) for one in held(some) if one.modified and one.modified < before]
        if old:
            store.delete([Key(key) for key in old])


def _read_back(store: Store, keys: list[Key], body: bytes) -> list[Ability]:
    same = store.read(keys[2]) == body
    said = "what is read is what was written" if same else "what is read is not what was written"
    sizes = store.sizes([*keys[:3], Key(f"{keys[0]}.absent")])
    told = list(sizes) == [len(_PICTURE), len(_PICTURE), len(body), MISSING]
    return [
        Ability("read", same, said, "" if same else "Do not move to it."),
        Ability(
            "look up", told, "sizes are told, and what is not there" if told else "it does not say what is not there"
        ),
    ]


def _handed_out(store: Store, keys: list[Key]) -> list[Ability]:
    found = store.serving(keys[0])
    if found is None or found.content_type is None:
        return []
    typed = found.content_type == "image/png"
    kept = found.cache_control == CACHE_CONTROL
    return [
        Ability("content type", typed, f"it is kept as {found.content_type}", "" if typed else "Browsers may not show it."),
        Ability(
            "cache headers", kept or found.cache_control is None,
            "Cache-Control is kept" if kept else "Cache-Control is not kept", is_needed=False,
        ),
    ]  # fmt: skip


def _permission(store: S3ObjectStore, keys: list[Key]) -> list[Ability]:
    """Whether a permission is kept, and whether it means anything to a stranger."""
    if not store.sets_permission:
        return [Ability("permission", None, "S3_PERMISSION is empty: none is sent", is_needed=False)]
    shown, hidden = (store.anonymous(key) for key in keys[:2])
    kept = [store.is_public(key) for key in keys[:2]]
    if shown in _GIVEN and hidden in (401, 403, 404):
        return [Ability("permission", True, "public files can be read without a key, private ones cannot")]
    if shown in _GIVEN:
        return [
            Ability(
                "permission", False, "everybody can read private files, too: the bucket's policy outweighs permissions",
                "Files of suspended accounts and backups would be public. Make the bucket private, or exclude `backups/*`.",
            )
        ]  # fmt: skip
    if kept == [True, False]:
        said = f"the permission is kept, and strangers get {shown} all the same (a block on public access?)"
    else:
        said = f"the permission is taken and dropped; strangers get {shown}"
    return [
        Ability(
            "permission", False, said,
            "Let the bucket's policy, or the web server in front of it, make all but `backups/*` public; S3_PERMISSION=''.",
            is_needed=False,
        )
    ]  # fmt: skip


def _condition(store: S3ObjectStore, key: Key) -> Ability:
    works = store.creates_once(key)
    said = "a condition on creating is honoured (412)" if works else "a condition on creating is ignored"
    return Ability("create once", works, said, is_needed=False)


def _removed(store: Store, keys: list[Key]) -> Ability:
    with contextlib.suppress(MastomendError):
        answers = store.delete(keys)
        left = [key for key, size in zip(keys, store.sizes(keys), strict=True) if size != MISSING]
        if not left and not any(answers):
            return Ability("delete", True, "objects can be deleted, and it says so of each")
        why = next((str(one) for one in answers if one is not None), "")
        return Ability("delete", False, f"{len(left)} objects stay: {why or left[0]}", "Grant DeleteObject.")
    return Ability("delete", False, "objects cannot be deleted", "Grant DeleteObject.")
