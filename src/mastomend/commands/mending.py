"""Changing one record, whatever its new bytes come from: make the files, look again, plan, journal, act, verify.

Everything a command knows about the record is a hint until `look_again` has read row and files once more, right before
the change; what has changed meanwhile is an outcome, not an error. After the change the record is looked at like a
check would look at it.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.actions import Action, CopyFile, EnqueueJob, ForgetCached, PutFile
from mastomend.actions.plan import Plan, changes_a_row
from mastomend.actions.run import Run
from mastomend.commands.parts import Parts
from mastomend.database.rows import read_cached_under, read_rows
from mastomend.images.colours import cover_colours
from mastomend.images.decode import UnusableImage, header, verify
from mastomend.images.ffmpeg_paths import find_ffprobe
from mastomend.images.moving import Ffmpeg, Moving
from mastomend.images.styles import Decoder, produce
from mastomend.inventory.deep import DeepReader
from mastomend.inventory.inspect import broken_files, target
from mastomend.inventory.sample import Sample
from mastomend.mastodon.jobs import busted_address, cache_buster_job, media_lock
from mastomend.mastodon.keys import ORIGINAL, Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.media_types import IMAGE, is_moving
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import ImageRules, MovingRules, image_rules, moving_rules
from mastomend.mastodon.urls import public_url
from mastomend.outcomes import Deferred, Source, Verdict
from mastomend.plans.repair import (
    Naming,
    NewFiles,
    Situation,
    plan_record,
    plan_stored,
    put,
    subject,
    undownloadable,
    untouchable,
)
from mastomend.reasons import Reason
from mastomend.sources.copies import CopySource, StoredCopy
from mastomend.storage.bodies import measure
from mastomend.storage.ports import Store
from mastomend.vocabulary import Body, Content, Finding, Row, Target

_MODERATION_S = 60.0
BUSY = Deferred(Reason.IN_FLIGHT, "another Mastomend is changing it right now")
_DECODED = frozenset({"jpeg", "jpg", "png", "gif", "webp"})


@dataclass(frozen=True, slots=True)
class Case:
    """A record that is to be restored, as it was when it was looked at, and the source it begins with."""

    target: Target
    corrupt: frozenset[str]
    source: Source
    copies: Mapping[str, StoredCopy] = field(default_factory=dict)


def intention(case: Case) -> str:
    """What is going to be tried first, as a sentence; what will be done is decided when bytes have come."""
    match case.source:
        case Source.ORIGINAL:
            return f"make it from its original, {case.target.files[0].key}"
        case Source.ELSEWHERE | Source.BACKUP:
            return "; ".join(f"copy {copy.size:,} bytes from {copy.key}" for copy in case.copies.values())
        case Source.PAGE:
            return "ask the page it shows"
        case _:
            return f"ask its origin for {case.target.row.remote_url or 'its current address'}"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run has at hand. `others_convert`: Mastodon's own workers are to fetch, and they have ffmpeg.

    `caches` says whether Mastodon's Redis can be reached: without it nothing cached is forgotten and no lock is taken.
    """

    sources: Sequence[CopySource]
    ffmpeg: Ffmpeg | None
    decoders: Sequence[Decoder] = ()
    others_convert: bool = False
    caches: bool = True


@dataclass(frozen=True, slots=True)
class Fresh:
    """A record looked at again just before it is changed."""

    target: Target
    broken: Sequence[Finding]


class Mender:
    """Everything one run needs to change records; used from several threads."""

    def __init__(
        self,
        run: Run | None,
        parts: Parts,
        kinds: Sequence[Kind],
        tools: Tools,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        configuration = parts.instance.configuration
        database, store = parts.database, parts.store
        self._run = run
        self._parts = parts
        self._database = database
        self._store = store
        self._key_prefix = parts.instance.key_prefix
        self._tools = tools
        self.ffmpeg = tools.ffmpeg
        limits = configuration.limits
        self.rules = {k.name: image_rules(k, database.version, limits) for k in kinds}
        self.moving: MovingRules = moving_rules(database.version, limits)
        self._limited_federation = limits.limited_federation
        self._clock = clock
        self._moderation_read = -_MODERATION_S
        self._last_moderation = Moderation()
        names = (configuration.local_domain, configuration.web_domain, *configuration.alternate_domains)
        self.own_domains = frozenset(name.lower() for name in names)
        self.deep = DeepReader(store, Sample(), find_ffprobe(parts.instance.variables), lambda: None)

    def close(self) -> None:
        """Give back the threads."""
        self.deep.close()

    def moderation(self) -> Moderation:
        """The instance's rules, at most a minute old: a run may take hours, and a block holds from when it is made."""
        if self._clock() - self._moderation_read >= _MODERATION_S:
            self._last_moderation = self._database.moderation(limited_federation=self._limited_federation)
            self._moderation_read = self._clock()
        return self._last_moderation

    def needs_ffmpeg(self, t: Target) -> bool:
        """Whether that record is a film or a sound."""
        return t.kind is MEDIA_FILES and is_moving(t.row.media_type)

    def undownloadable(self, t: Target) -> Verdict | None:
        """Why nothing may be fetched for that record now; None if it may be."""
        return undownloadable(t, self.moderation(), self.own_domains)

    @contextlib.contextmanager
    def alone(self, t: Target) -> Iterator[bool]:
        """Whether that record is ours to look at and change: no other Mastomend does, until the block ends."""
        assert self._run is not None, "a dry run changes nothing"
        with self._run.locked(subject(t)) as free:
            yield free

    def from_storage(self, case: Case) -> Verdict | None:
        """Restore from what is stored somewhere; what is broken and was not found is made from the original."""
        t = case.target
        with _Scratch() as scratch, self.alone(t) as free:
            if not free:
                return BUSY
            fresh = self.look_again(case)
            if not isinstance(fresh, Fresh):
                return fresh
            writing: dict[str, PutFile | CopyFile] = {}
            bad = {f.style for f in fresh.broken}
            for style, copy in case.copies.items():
                if style not in bad:
                    continue
                key = next(f.key for f in t.files if f.style == style)
                self._examine(t.kind, copy)
                writing[style] = _copying(copy, key, t, self._store, scratch)
            missing = bad - writing.keys()
            if ORIGINAL in missing:
                return Deferred(Reason.ROW_CHANGED, "the files changed meanwhile")
            if missing:
                try:
                    made = self._derive(case, scratch)
                except UnusableImage:
                    if not writing:
                        raise
                    made = None  # what was found is restored all the same; the record then stays deferred
                if made is not None:
                    writing |= {
                        f.style: put(t.kind, f, made) for f in t.files if f.style in missing & made.files.keys()
                    }
                if not writing:
                    return Deferred(Reason.ROW_CHANGED, "the original is gone meanwhile")
            plan = plan_stored(t, case.source, writing, self.present(t), self._naming())
            return self._execute(plan, t, case)

    def _examine(self, kind: Kind, copy: StoredCopy) -> None:
        """A copy has the right size; an image must also decode."""
        extension = copy.key.rpartition(".")[2].lower()
        if kind.is_image and extension in _DECODED:
            data = copy.store.read(copy.key)
            if data is None:
                raise UnusableImage(Reason.NOT_AN_IMAGE, f"{copy.key} is gone meanwhile")
            try:
                verify(data)
            except UnusableImage as error:
                if (
                    error.reason != Reason.TOO_MANY_PIXELS
                ):  # it was stored once: whether it may be made is not asked here
                    raise

    def _derive(self, case: Case, scratch: _Scratch) -> NewFiles | None:
        """Everything the surviving (or copied) original gives; None if it is gone."""
        t = case.target
        copy = case.copies.get(ORIGINAL)
        key, store = (copy.key, copy.store) if copy else (t.files[0].key, self._store)
        data = store.read(key)
        if data is None:
            return None
        if self.needs_ffmpeg(t):
            if self.ffmpeg is None:
                raise UnusableImage(Reason.NEEDS_FFMPEG, "ffmpeg was not found")
            source = scratch.folder / "stored"
            source.write_bytes(data)
            small = self.ffmpeg.poster(source, scratch.folder)
            files = {ORIGINAL: measure(data), "small": measure(small)}
            return NewFiles(t.row.record.content_type or "video/mp4", files, {}, None, len(data))
        rules = self.rules[t.kind.name]
        if rules is None:
            raise UnusableImage(Reason.NOT_AN_IMAGE, "nothing is made from files of this kind")
        return self._images(t.kind, rules, data, case.source, None)

    def install(self, case: Case, data: bytes, source: Source, url: str | None) -> Verdict | None:
        """Make the files from what the origin sent, look again, change, verify. None if the record is whole by now.

        Raises:
            UnusableImage: what came is not what the record needs.
        """
        with _Scratch() as scratch:
            made = self._make(case.target, data, source, url, scratch)
            with self.alone(case.target) as free, self._locked(case.target) as held:
                if not free:
                    return BUSY
                if not held:
                    return Deferred(Reason.IN_FLIGHT, "Mastodon is downloading it right now", source)
                fresh = self.look_again(case)
                if not isinstance(fresh, Fresh):
                    return fresh
                columns = fresh.target.row.columns
                situation = Situation(self.present(fresh.target), columns)
                plan = plan_record(fresh.target, fresh.broken, made, situation, self._naming())
                return self._execute(plan, fresh.target, case)

    def _locked(self, t: Target) -> contextlib.AbstractContextManager[bool]:
        """The lock Mastodon's media proxy takes, so that nothing is downloaded twice (facts §10)."""
        if t.kind not in (MEDIA_FILES, MEDIA_THUMBNAILS) or not self._tools.caches:
            return contextlib.nullcontext(True)
        return self._parts.caches.lock(media_lock(t.row.record.id))

    def _make(self, t: Target, data: bytes, source: Source, url: str | None, scratch: _Scratch) -> NewFiles:
        kind, rules = t.kind, self.rules[t.kind.name]
        assert rules is not None
        try:
            return self._images(kind, rules, data, source, url)
        except UnusableImage as error:
            if (
                kind is not MEDIA_FILES
                or self.ffmpeg is None
                or error.reason not in (Reason.NEEDS_FFMPEG, Reason.NOT_AN_IMAGE)
            ):
                raise
            moving = self._move(self.ffmpeg, data, scratch.folder, error)
        files: dict[str, Body] = {style: measure(path) for style, path in moving.files.items()}
        size = files[ORIGINAL].size
        if size > self.moving.max_bytes:
            raise UnusableImage(Reason.TOO_BIG, f"{size} bytes are more than {self.moving.max_bytes}")
        return NewFiles(
            moving.content_type, files, moving.meta, moving.blurhash, size,
            media_type=moving.media_type, source=source, url=url,
        )  # fmt: skip

    def _images(self, kind: Kind, rules: ImageRules, data: bytes, source: Source, url: str | None) -> NewFiles:
        made = produce(kind, rules, data, self._tools.decoders)
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
            return ffmpeg.make(path, self.moving, folder)
        except UnusableImage as error:
            raise no_image if error.reason == Reason.NOT_MEDIA else error from None

    def look_again(self, case: Case) -> Verdict | Fresh | None:
        """The record as it is now; a verdict if it must be left alone, None if it is whole or gone."""
        old = case.target
        row = read_rows(self._database, old.kind, [old.row.record.id], guarded=True).get(old.row.record.id)
        if row is None:
            return None
        t = target(old.kind, row, self._key_prefix)
        if row.in_flight or row.record != old.row.record:
            return Deferred(Reason.ROW_CHANGED, "Mastodon changed the record meanwhile", case.source)
        (broken,) = broken_files([t], self._store, self.deep, {(row.record.id, s) for s in case.corrupt})
        if not broken:
            return None
        if refused := untouchable(t, broken):
            return refused
        asked = case.source in (Source.ORIGIN, Source.PAGE)
        if asked and (refused := self.undownloadable(t)):
            return refused
        return Fresh(t, broken)

    def _naming(self) -> Naming:
        assert self._run is not None
        return Naming(self._run.id, self._key_prefix, secrets.token_hex(8), datetime.now(UTC))

    def present(self, t: Target) -> dict[str, int]:
        """The record's keys that hold something, with their sizes."""
        sizes = self._store.sizes([f.key for f in t.files])
        return {str(f.key): n for f, n in zip(t.files, sizes, strict=True) if n >= 0}

    def _execute(self, plan: Plan, t: Target, case: Case) -> Verdict:
        assert self._run is not None, "a dry run changes nothing"
        verdict = self._run.change(replace(plan, actions=(*plan.actions, *self._told(plan, t)))).verdict
        if verdict.outcome is not plan.verdict.outcome:
            return verdict
        row: Row | None = t.row  # read right before; unless we have changed it, it expects what it expected then
        if changes_a_row(plan.actions):
            row = read_rows(self._database, t.kind, [t.row.record.id]).get(t.row.record.id)
        if row is not None:
            styles = {(row.record.id, style) for style in case.corrupt}
            (still,) = broken_files([target(t.kind, row, self._key_prefix)], self._store, self.deep, styles)
            if still:
                said = f"{still[0].key} is {still[0].state}"
                return Deferred(Reason.VERIFY_FAILED, said, plan.verdict.source)
        return verdict

    def _told(self, plan: Plan, t: Target) -> list[Action]:
        """What Mastodon's caches and the CDN must hear about a change (facts §10)."""
        if not self._tools.caches or self._run is None:
            return []
        actions: list[Action] = []
        if changes_a_row(plan.actions):
            keys = read_cached_under(self._database, t.kind, t.row.record.id)
            actions += [ForgetCached(keys)] if keys else []
        variables, configuration = self._parts.instance.variables, self._parts.instance.configuration
        if variables.get("CACHE_BUSTER_ENABLED") == "true":
            for action in plan.actions:
                if isinstance(action, PutFile | CopyFile):
                    url = public_url(action.key, configuration, variables)
                    address = busted_address(action.key, url, configuration.storage, self._database.version)
                    actions.append(EnqueueJob(cache_buster_job(address, self._run.id)))
        return actions


class _Scratch:
    """A folder for what must be files while a record is mended; made when it is needed, which is seldom."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> _Scratch:
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


def _copying(copy: StoredCopy, key: Key, t: Target, store: Store, scratch: _Scratch) -> PutFile | CopyFile:
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
