"""Bytes in, files out: every style as this version of Mastodon makes it, measured; what is stored elsewhere, examined."""

from __future__ import annotations

import tempfile
from collections.abc import Set
from pathlib import Path

from mastomend.actions.actions import CopyFile, PutFile
from mastomend.images.colours import cover_colours
from mastomend.images.decode import UnusableImage, header, verify
from mastomend.images.moving import Ffmpeg, Moving
from mastomend.images.styles import produce
from mastomend.mastodon.keys import ORIGINAL, Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.media_types import IMAGE
from mastomend.mastodon.processing import ImageRules
from mastomend.outcomes import Source
from mastomend.plans.repair import NewFiles, put
from mastomend.reasons import Reason
from mastomend.restore.case import Means, StoredCopy
from mastomend.restore.policy import Policy
from mastomend.storage.bodies import measure
from mastomend.storage.ports import Store
from mastomend.vocabulary import Body, Content, Target

_DECODED = frozenset({"jpeg", "jpg", "png", "gif", "webp"})


class Scratch:
    """A folder for what must be files while a record is mended; made when it is needed, which is seldom."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._made is not None:
            self._made.cleanup()

    @property
    def folder(self) -> Path:
        """The folder itself."""
        if self._made is None:
            self._made = tempfile.TemporaryDirectory(prefix="mastomend-")
        return Path(self._made.name)


class Workshop:
    """Makes files; used from several threads."""

    def __init__(self, means: Means, policy: Policy) -> None:
        self._policy = policy
        self._store = means.store
        self._ffmpeg = means.ffmpeg
        self._decoders = means.decoders

    def make(self, t: Target, data: bytes, source: Source, url: str | None, scratch: Scratch) -> NewFiles:
        """All files of a record from what came for it.

        Raises:
            UnusableImage: it is not what the record needs.
        """
        kind, rules = t.kind, self._policy.rules[t.kind.name]
        assert rules is not None
        try:
            return self._images(kind, rules, data, source, url)
        except UnusableImage as error:
            if (
                kind is not MEDIA_FILES
                or self._ffmpeg is None
                or error.reason not in (Reason.NEEDS_FFMPEG, Reason.NOT_AN_IMAGE)
            ):
                raise
            moving = self._move(self._ffmpeg, data, scratch.folder, error)
        files: dict[str, Body] = {style: measure(path) for style, path in moving.files.items()}
        size = files[ORIGINAL].size
        if size > self._policy.moving.max_bytes:
            raise UnusableImage(Reason.TOO_BIG, f"{size} bytes are more than {self._policy.moving.max_bytes}")
        return NewFiles(
            moving.content_type, files, moving.meta, moving.blurhash, size,
            media_type=moving.media_type, source=source, url=url,
        )  # fmt: skip

    def _images(self, kind: Kind, rules: ImageRules, data: bytes, source: Source, url: str | None) -> NewFiles:
        made = produce(kind, rules, data, self._decoders)
        meta = {style: size.meta() for style, size in made.sizes.items()}
        return NewFiles(
            made.content_type, {style: measure(file) for style, file in made.files.items()}, meta, made.blurhash,
            len(made.original),
            unchanged=made.original is data or made.original == data,
            media_type=IMAGE if kind is MEDIA_FILES else None, source=source, url=url,
            # ImageMagick's way of choosing them is another one: what is there stays
            colours=cover_colours(made.original) if kind is MEDIA_THUMBNAILS and rules.blurhash_box else None,
        )  # fmt: skip

    def _move(self, ffmpeg: Ffmpeg, data: bytes, folder: Path, no_image: UnusableImage) -> Moving:
        """What is no picture may be a film or a sound; if it is neither, it is what it was before."""
        path = folder / "fetched"
        path.write_bytes(data)
        try:
            return ffmpeg.make(path, self._policy.moving, folder)
        except UnusableImage as error:
            raise no_image if error.reason == Reason.NOT_MEDIA else error from None

    def derive(self, t: Target, copy: StoredCopy | None, wanted: Set[str], scratch: Scratch) -> dict[str, PutFile]:
        """The wanted styles that the surviving original, or a copy of it, gives; nothing if it is gone.

        Raises:
            UnusableImage: it gives nothing.
        """
        key, store = (copy.key, copy.store) if copy else (t.files[0].key, self._store)
        data = store.read(key)
        if data is None:
            return {}
        made = self._derived(t, data, scratch)
        return {f.style: put(t.kind, f, made) for f in t.files if f.style in wanted & made.files.keys()}

    def _derived(self, t: Target, data: bytes, scratch: Scratch) -> NewFiles:
        if self._policy.needs_ffmpeg(t):
            if self._ffmpeg is None:
                raise UnusableImage(Reason.NEEDS_FFMPEG, "ffmpeg was not found")
            film = scratch.folder / "stored"
            film.write_bytes(data)
            small = self._ffmpeg.poster(film, scratch.folder)
            files = {ORIGINAL: measure(data), "small": measure(small)}
            return NewFiles(t.row.record.content_type or "video/mp4", files, {}, None, len(data))
        rules = self._policy.rules[t.kind.name]
        if rules is None:
            raise UnusableImage(Reason.NOT_AN_IMAGE, "nothing is made from files of this kind")
        return self._images(t.kind, rules, data, Source.ORIGINAL, None)

    def examine(self, kind: Kind, copy: StoredCopy) -> None:
        """A copy has the right size; an image must also decode."""
        extension = copy.key.rpartition(".")[2].lower()
        if kind.is_image and extension in _DECODED:
            data = copy.store.read(copy.key)
            if data is None:
                raise UnusableImage(Reason.NOT_AN_IMAGE, f"{copy.key} is gone meanwhile")
            try:
                verify(data)
            except UnusableImage as error:
                if error.reason != Reason.TOO_MANY_PIXELS:  # it was stored once: whether it may be made is not asked
                    raise


def copying(copy: StoredCopy, key: Key, t: Target, store: Store, scratch: Scratch) -> PutFile | CopyFile:
    """The action that puts a copy under a key: inside this storage, or from another one."""
    if copy.store is store:
        digest = store.digest(copy.key)
        if digest is None:
            raise UnusableImage(Reason.NOT_AN_IMAGE, f"{copy.key} is gone meanwhile")
        return CopyFile(key, copy.key, copy.size, digest)
    content = copy.store.fetch(copy.key, scratch.folder / f"copy-{copy.style}")
    return PutFile.of(key, measure(content), _content_type(content, t))


def _content_type(content: Content, t: Target) -> str:
    """What the bytes are, as Mastodon would find (facts §4.2); what the row says where they are no image."""
    data = content if isinstance(content, bytes) else content.read_bytes() if t.kind.is_image else b""
    try:
        return header(data).content_type
    except UnusableImage:
        return t.row.record.content_type or "application/octet-stream"
