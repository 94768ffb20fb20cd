"""One record's way back: which sources are asked in which order, and what becomes of what they give.

A scan's findings are only a hint. Each record is looked at again before anything is asked for it and once more before
it is changed; its plan is journaled, executed, and verified by looking at it like a check would.

The order is kindness (product.md): what the storage or a backup still has costs nobody anything; then the address in
the row; only when that is dead, the origin's own word on where the picture is now. What must be asked of strangers is
`yield`ed as an `Ask` and comes back as an answer, so the order reads from top to bottom while `fetching` decides when.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from mastomend.actions.actions import Action, CopyFile, EnqueueJob, ForgetCached, PutFile, SetColumns
from mastomend.actions.executor import ROW_CHANGED, Conflict, Executor, changed
from mastomend.commands.parts import Parts
from mastomend.errors import DatabaseError, UnreadableError
from mastomend.images.decode import UnusableImage, header, verify
from mastomend.images.moving import Ffmpeg, Moving
from mastomend.images.styles import produce
from mastomend.inventory.deep import DeepReader, find_ffprobe
from mastomend.inventory.inspect import broken_files, target
from mastomend.inventory.rows import read_addresses, read_cached_under, read_rows
from mastomend.inventory.sample import Sample
from mastomend.mastodon.configuration import origin_host
from mastomend.mastodon.jobs import busted_address, cache_buster_job, media_lock
from mastomend.mastodon.keys import ORIGINAL, Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind, is_blank
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import ImageRules, MovingRules, image_rules, moving_rules
from mastomend.mastodon.urls import public_url
from mastomend.outcomes import Outcome, RecordOutcome, Source
from mastomend.plans.repair import (
    AUDIO,
    IMAGE,
    UNKNOWN,
    Naming,
    NewFiles,
    RecordPlan,
    Situation,
    derivable,
    plan_record,
    plan_stored,
    put,
    undecided,
    undownloadable,
    untouchable,
)
from mastomend.remote import documents
from mastomend.remote.client import Ask, Failure, Fetched, NotFetched
from mastomend.sources import page
from mastomend.sources.actor import current_picture
from mastomend.sources.copies import CopySource, StoredCopy, find
from mastomend.sources.note import find_attachment
from mastomend.sources.origin import outcome_of_failure, outcome_of_image
from mastomend.storage.ports import Store
from mastomend.vocabulary import Addresses, Content, Finding, Target

#: The origin's own way of saying that an address leads nowhere any more: then it is asked where the picture is now.
_DEAD = frozenset({Failure.NOT_FOUND, Failure.GONE})
_MODERATION_S = 60.0
_NO_PICTURE = frozenset({"not_an_image", "not_media", "bad_type"})

Answer = Fetched | NotFetched
Way = Generator[Ask, Answer, "RecordOutcome | None"]


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken record of the scan: a hint."""

    kind: Kind
    id: int
    corrupt: frozenset[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A record that is to be restored, as it was when it was looked at, and the source it begins with."""

    target: Target
    corrupt: frozenset[str]
    source: Source
    copies: Mapping[str, StoredCopy] = field(default_factory=dict)


class Tried:
    """What was asked so far and what it answered, for the record's report."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def add(self, source: Source, answer: str) -> None:
        """One more source that did not help."""
        self._said.append(f"{source.value}: {answer}")

    def on(self, outcome: RecordOutcome | None) -> RecordOutcome | None:
        """The outcome with the report."""
        return None if outcome is None else replace(outcome, tried="; ".join(self._said))


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run has at hand. `others_convert`: Mastodon's own workers are to fetch, and they have ffmpeg.

    `caches` says whether Mastodon's Redis can be reached: without it nothing cached is forgotten and no lock is taken.
    """

    sources: Sequence[CopySource]
    ffmpeg: Ffmpeg | None
    others_convert: bool = False
    caches: bool = True


class Restorer:
    """Everything one run needs to restore records; used from several threads."""

    def __init__(
        self,
        run: str,
        parts: Parts,
        kinds: Sequence[Kind],
        tools: Tools,
        executor: Executor | None,
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
        self._sources = tools.sources
        self._ffmpeg = tools.ffmpeg
        self._executor = executor
        limits = configuration.limits
        self._rules = {k.name: image_rules(k, database.version, limits) for k in kinds}
        self._moving: MovingRules = moving_rules(database.version, limits)
        self._limited_federation = limits.limited_federation
        self._clock = clock
        self._moderation_read = -_MODERATION_S
        self._moderation = Moderation()
        names = (configuration.local_domain, configuration.web_domain, *configuration.alternate_domains)
        self._own_domains = frozenset(name.lower() for name in names)
        self._deep = DeepReader(store, Sample(), find_ffprobe(dict(parts.instance.variables)), lambda: None)

    def close(self) -> None:
        """Give back the threads."""
        self._deep.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self, batch: Sequence[Broken]) -> list[RecordOutcome | Case]:
        """What is still broken of a batch: records to restore, and records decided without asking anybody."""
        answer: list[RecordOutcome | Case] = []
        for kind in {b.kind.name: b.kind for b in batch}.values():
            wanted = {b.id: b for b in batch if b.kind is kind}
            rows = read_rows(self._database, kind, list(wanted))
            targets = [target(kind, row, self._key_prefix) for row in rows.values()]
            corrupt = {(id_, style) for id_, hint in wanted.items() for style in hint.corrupt}
            looked = broken_files(targets, self._store, self._deep if corrupt else None, corrupt)
            broken = [(t, found) for t, found in zip(targets, looked, strict=True) if found]
            hints = {id_: hint.corrupt for id_, hint in wanted.items()}
            answer += self._decide(broken, hints)
        return answer

    def _decide(
        self, broken: Sequence[tuple[Target, list[Finding]]], hints: Mapping[int, frozenset[str]]
    ) -> Iterator[RecordOutcome | Case]:
        """Storage first, for all of them together; what is left is asked of its origin, or refused."""
        left = []
        for t, found in broken:
            if refused := untouchable(t, found):
                yield refused
            elif derivable(t, found, self._rules[t.kind.name], video=self._ffmpeg is not None):
                yield Case(t, hints[t.row.record.id], Source.ORIGINAL)
            else:
                left.append((t, found))
        for source in self._sources:
            copies = find(source, [(t, {f.style for f in found}) for t, found in left]) if left else []
            still = []
            for (t, found), copied in zip(left, copies, strict=True):
                if _is_enough(copied, {f.style for f in found}):
                    yield Case(t, hints[t.row.record.id], source.source, copied)
                else:
                    still.append((t, found))
            left = still
        for t, _ in left:
            yield self._remote(t, hints[t.row.record.id])

    def _remote(self, t: Target, corrupt: frozenset[str]) -> RecordOutcome | Case:
        refused = undownloadable(t, self._current_moderation(), self._own_domains)
        able = self._ffmpeg is not None or self._tools.others_convert
        if refused is None and self._needs_ffmpeg(t) and not able:
            detail = "ffmpeg was not found; Mastodon's own workers have it: --engine sidekiq"
            refused = replace(undecided(t), outcome=Outcome.DEFERRED, reason="needs_ffmpeg", detail=detail)
        return refused or Case(t, corrupt, Source.PAGE if t.kind is PREVIEW_CARDS else Source.ORIGIN)

    def _current_moderation(self) -> Moderation:
        """The instance's rules, at most a minute old: a run may take hours, and a block holds from when it is made."""
        if self._clock() - self._moderation_read >= _MODERATION_S:
            self._moderation = self._database.moderation(limited_federation=self._limited_federation)
            self._moderation_read = self._clock()
        return self._moderation

    def failed(self, case: Case, error: Exception) -> RecordOutcome:
        """What to say of a record that met a defect, or a file that cannot be read: the others go on."""
        base = replace(undecided(case.target), source=case.source)
        if isinstance(error, UnreadableError):
            return changed(base, Outcome.REFUSED, "unreadable", error.message)
        text = " ".join(str(error).split()).encode("utf-8", "replace").decode()[:200]
        return changed(base, Outcome.DEFERRED, "internal_error", f"{type(error).__name__}: {text}; please report it")

    def _needs_ffmpeg(self, t: Target) -> bool:
        return t.kind is MEDIA_FILES and t.row.media_type not in (None, IMAGE, UNKNOWN)

    # --- the chain of sources ---------------------------------------------------------------------------------------

    def restore(self, case: Case) -> Way:
        """The record's way through its sources. Returns its outcome, None if it turned out to be whole, or gone."""
        tried = Tried()
        if case.source in (Source.ORIGINAL, Source.ELSEWHERE, Source.BACKUP):
            for stored in self._stored(case):
                try:
                    return tried.on(self._from_storage(stored))
                except UnusableImage as error:
                    tried.add(stored.source, f"{error.reason} ({error})")
            corrupt = case.corrupt | ({ORIGINAL} if case.source is Source.ORIGINAL else set())
            remote = self._remote(case.target, corrupt)
            if isinstance(remote, RecordOutcome):
                return tried.on(remote)
            case = remote
        if case.source is Source.PAGE:
            return tried.on((yield from self._from_page(case, tried)))
        return tried.on((yield from self._from_origin(case, tried)))

    def _stored(self, case: Case) -> Iterator[Case]:
        """The case, then the same with each further storage, should what the first one holds be useless."""
        yield case
        corrupt = case.corrupt | {ORIGINAL}
        after = [s for s in self._sources if s.source is not case.source]
        if case.source is Source.BACKUP:
            after = []
        bad = corrupt | {f.style for f in case.target.files if self._store.sizes([f.key])[0] <= 0}
        for source in after:
            (copies,) = find(source, [(case.target, bad)])
            if ORIGINAL in copies:
                yield Case(case.target, corrupt, source.source, copies)

    def _from_origin(self, case: Case, tried: Tried) -> Way:
        t = case.target
        url = t.row.remote_url or ""
        failed = replace(
            undecided(t), outcome=Outcome.LOST, reason="no_url", detail="the database knows no address it came from"
        )
        if is_blank(url) and t.kind is MEDIA_THUMBNAILS:
            return (yield from self._from_sound(case, failed, tried))
        if not is_blank(url):
            answer = yield Ask(url, self._max_bytes(t))
            ended = self._take(case, answer, Source.ORIGIN)
            if not isinstance(ended, _Failed):
                return ended
            tried.add(Source.ORIGIN, ended.outcome.reason)
            if not ended.is_dead:
                return ended.outcome
            failed = ended.outcome
        return (yield from self._from_document(case, failed, tried))

    def _from_sound(self, case: Case, failed: RecordOutcome, tried: Tried) -> Way:
        """A thumbnail without an address of its own was the cover embedded in a sound (facts §3.3)."""
        t = case.target
        place = read_addresses(self._database, t.kind, t.row.record.id).place
        if self._ffmpeg is None or t.row.media_type != AUDIO or place is None or is_blank(place.remote_url):
            return failed
        answer = yield Ask(place.remote_url, self._moving.max_bytes)
        if isinstance(answer, Fetched):
            try:
                cover = self._cover(answer.data)
            except UnusableImage as error:
                tried.add(Source.ORIGIN, error.reason)
                return replace(
                    failed, outcome=Outcome.REFUSED, source=Source.ORIGIN, reason=error.reason, detail=str(error)
                )
            if cover is None:
                tried.add(Source.ORIGIN, "no_picture")
                return replace(
                    failed, outcome=Outcome.GONE, source=Source.ORIGIN, reason="no_picture", detail="no cover in it"
                )
            answer = replace(answer, data=cover)
        ended = self._take(case, answer, Source.ORIGIN)
        return ended.outcome if isinstance(ended, _Failed) else ended

    def _cover(self, sound: bytes) -> bytes | None:
        assert self._ffmpeg is not None
        with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
            source = Path(folder) / "sound"
            source.write_bytes(sound)
            cover = self._ffmpeg.cover(source, Path(folder))
            return None if cover is None else cover.read_bytes()

    def _from_document(self, case: Case, failed: RecordOutcome, tried: Tried) -> Way:
        """Ask the origin for the actor, emoji or note, and restore from the address it names now."""
        t = case.target
        addresses = read_addresses(self._database, t.kind, t.row.record.id)
        if not (addresses.document or "").startswith(("https://", "http://")):
            return failed
        source = Source.NOTE if t.kind in (MEDIA_FILES, MEDIA_THUMBNAILS) else Source.ACTOR
        assert addresses.document is not None
        document = yield from self._document(addresses.document, addresses.document)
        match document:
            case NotFetched() if document.failure in _DEAD:
                tried.add(source, document.failure.value)
                detail = f"the origin says that the {source.value} itself is gone ({document.detail})"
                return replace(
                    failed, outcome=Outcome.GONE, source=source, reason=f"{source.value}_gone", detail=detail
                )
            case NotFetched():
                tried.add(source, document.failure.value)
                if outcome_of_failure(document) is Outcome.DEFERRED and document.failure.host_in_trouble:
                    return _failure(t, source, document)
                return failed
            case str():
                tried.add(source, document)
                return failed
            case documents.Document() if document.deleted:
                tried.add(source, "gone")
                detail = f"the origin says that the {source.value} itself is gone"
                return replace(
                    failed, outcome=Outcome.GONE, source=source, reason=f"{source.value}_gone", detail=detail
                )
        picture = _picture(t.kind, document, addresses)
        if picture is None or picture.url == t.row.remote_url:
            tried.add(source, "no_picture" if picture is None else "same_address")
            return failed
        answer: Answer = yield Ask(
            picture.url, self._max_bytes(t), accept=documents.ACCEPT if picture.is_document else None
        )
        url = picture.url
        if picture.is_document and isinstance(answer, Fetched):
            inner = documents.parse(answer.data, answer.content_type, None)
            if isinstance(inner, documents.Document):
                found = documents.address(inner)
                if found is None:
                    tried.add(source, "no_picture")
                    return failed
                url, answer = found, (yield Ask(found, self._max_bytes(t)))
        ended = self._take(case, answer, source, url)
        if isinstance(ended, _Failed):
            tried.add(source, ended.outcome.reason)
            return ended.outcome
        return ended

    def _document(self, url: str, wanted_id: str) -> Generator[Ask, Answer, documents.Document | NotFetched | str]:
        answer = yield Ask(url, documents.MAX_BYTES, accept=documents.ACCEPT, signed=True)
        if isinstance(answer, NotFetched):
            return answer
        return documents.parse(answer.data, answer.content_type, wanted_id)

    def _from_page(self, case: Case, tried: Tried) -> Way:
        """A preview card's picture, from its page (facts §6.5)."""
        t = case.target
        url = read_addresses(self._database, t.kind, t.row.record.id).page or ""
        if refused := self._refused_host(t, url):
            return refused
        answer = yield Ask(url, page.MAX_BYTES, accept=page.ACCEPT, truncate=True, crawler=True)
        if isinstance(answer, NotFetched):
            return _failure(t, Source.PAGE, answer)
        nothing = replace(undecided(t), outcome=Outcome.GONE, source=Source.PAGE, reason="no_picture")
        if answer.content_type.partition(";")[0].strip().lower() != "text/html":
            return replace(nothing, detail=f"the page is now {answer.content_type or 'of no type'}")
        images = page.parse(answer.data, answer.content_type, answer.url)
        candidates = []
        if images.oembed is not None:
            oembed = yield Ask(images.oembed, page.MAX_OEMBED_BYTES, truncate=True, crawler=True)
            if isinstance(oembed, Fetched):
                candidates.append(page.parse_oembed(oembed.data, oembed.url))
        candidates.append(images.image)
        last: RecordOutcome = replace(nothing, detail="the page names no picture any more")
        for candidate in dict.fromkeys(found for found in candidates if found):
            ended = self._take(case, (yield Ask(candidate, self._max_bytes(t), crawler=True)), Source.PAGE)
            if not isinstance(ended, _Failed):
                return ended
            tried.add(Source.PAGE, ended.outcome.reason)
            last = ended.outcome
        return last

    def _refused_host(self, t: Target, url: str) -> RecordOutcome | None:
        """Moderation for what belongs to no account and no server, such as a page: its host decides."""
        host = origin_host(url)
        reason = (
            "own_domain" if host in self._own_domains else self._current_moderation().refusal(host, suspended=False)
        )
        if reason is None:
            return None
        base = replace(undecided(t), source=Source.PAGE)
        return changed(base, Outcome.REFUSED, reason, f"{host} is not to be asked")

    def _max_bytes(self, t: Target) -> int:
        """What may be large is asked for as such, so that not many large bodies are held at once."""
        rules = self._rules[t.kind.name]
        assert rules is not None
        large = t.kind is MEDIA_FILES and t.row.media_type not in (None, IMAGE)
        return max(rules.max_bytes, self._moving.max_bytes) if large else rules.max_bytes

    def _take(
        self, case: Case, answer: Answer, source: Source, url: str | None = None
    ) -> RecordOutcome | _Failed | None:
        """Install what came; `_Failed` says what it was instead, and whether the address is dead."""
        if isinstance(answer, NotFetched):
            return _Failed(_failure(case.target, source, answer), answer.failure in _DEAD)
        try:
            return self._install(case, answer.data, source, url)
        except UnusableImage as error:
            base = replace(undecided(case.target), source=source)
            outcome = changed(base, outcome_of_image(error), error.reason, str(error))
            return _Failed(outcome, error.reason in _NO_PICTURE)

    # --- changing ---------------------------------------------------------------------------------------------------

    def _from_storage(self, case: Case) -> RecordOutcome | None:
        """Restore from what is stored somewhere; what is broken and was not found is made from the original."""
        t = case.target
        with tempfile.TemporaryDirectory(prefix="mastomend-") as name:
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
                writing[style] = _copying(copy, key, t, self._store, Path(name))
            missing = bad - writing.keys()
            if ORIGINAL in missing:
                return changed(undecided(t), Outcome.DEFERRED, ROW_CHANGED, "the files changed meanwhile")
            if missing:
                try:
                    made = self._derive(case, Path(name))
                except UnusableImage:
                    if not writing:
                        raise
                    made = None  # what was found is restored all the same; the record then stays deferred
                if made is not None:
                    writing |= {
                        f.style: put(t.kind, f, made) for f in t.files if f.style in missing & made.files.keys()
                    }
                if not writing:
                    return changed(undecided(t), Outcome.DEFERRED, ROW_CHANGED, "the original is gone meanwhile")
            plan = plan_stored(t, case.source, writing, self.present(t), self._naming())
            return self._execute(plan, t, case)

    def _examine(self, kind: Kind, copy: StoredCopy) -> None:
        """A copy has the right size; an image must also decode."""
        extension = copy.key.rpartition(".")[2].lower()
        if kind.is_image and extension in _DECODED:
            data = copy.store.read(copy.key)
            if data is None:
                raise UnusableImage("not_an_image", f"{copy.key} is gone meanwhile")
            try:
                verify(data)
            except UnusableImage as error:
                if error.reason != "too_many_pixels":  # it was stored once: whether it may be made is not asked here
                    raise

    def _derive(self, case: Case, folder: Path) -> NewFiles | None:
        """Everything the surviving (or copied) original gives; None if it is gone."""
        t = case.target
        copy = case.copies.get(ORIGINAL)
        key, store = (copy.key, copy.store) if copy else (t.files[0].key, self._store)
        data = store.read(key)
        if data is None:
            return None
        if self._needs_ffmpeg(t):
            if self._ffmpeg is None:
                raise UnusableImage("needs_ffmpeg", "ffmpeg was not found")
            source = folder / "stored"
            source.write_bytes(data)
            small = self._ffmpeg.poster(source, folder)
            return NewFiles(
                t.row.record.content_type or "video/mp4", {ORIGINAL: data, "small": small}, {}, None, len(data)
            )
        rules = self._rules[t.kind.name]
        if rules is None:
            raise UnusableImage("not_an_image", "nothing is made from files of this kind")
        return _images(t.kind, rules, data, case.source, None)

    def _install(self, case: Case, data: bytes, source: Source, url: str | None) -> RecordOutcome | None:
        """Make the files from what the origin sent, look again, change, verify. None if the record is whole by now.

        Raises:
            UnusableImage: what came is not what the record needs.
        """
        with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
            made = self._make(case.target, data, source, url, Path(folder))
            with self._locked(case.target) as held:
                if not held:
                    base = replace(undecided(case.target), source=source)
                    return changed(base, Outcome.DEFERRED, "in_flight", "Mastodon is downloading it right now")
                fresh = self.look_again(case)
                if not isinstance(fresh, Fresh):
                    return fresh
                situation = Situation(self.present(fresh.target), self.columns(fresh.target))
                plan = plan_record(fresh.target, fresh.broken, made, situation, self._naming())
                return self._execute(plan, fresh.target, case)

    def _locked(self, t: Target) -> contextlib.AbstractContextManager[bool]:
        """The lock Mastodon's media proxy takes, so that nothing is downloaded twice (facts §10)."""
        if t.kind not in (MEDIA_FILES, MEDIA_THUMBNAILS) or not self._tools.caches:
            return contextlib.nullcontext(True)
        return self._parts.caches.lock(media_lock(t.row.record.id))

    def _make(self, t: Target, data: bytes, source: Source, url: str | None, folder: Path) -> NewFiles:
        kind, rules = t.kind, self._rules[t.kind.name]
        assert rules is not None
        try:
            return _images(kind, rules, data, source, url)
        except UnusableImage as error:
            if kind is not MEDIA_FILES or self._ffmpeg is None or error.reason not in ("needs_ffmpeg", "not_an_image"):
                raise
            moving = self._move(self._ffmpeg, data, folder, error)
        files: dict[str, Content] = dict(moving.files)
        size = moving.files[ORIGINAL].stat().st_size
        if size > self._moving.max_bytes:
            raise UnusableImage("too_big", f"{size} bytes are more than {self._moving.max_bytes}")
        return NewFiles(
            moving.content_type, files, moving.meta, moving.blurhash, size,
            media_type=moving.media_type, source=source, url=url,
        )  # fmt: skip

    def _move(self, ffmpeg: Ffmpeg, data: bytes, folder: Path, no_image: UnusableImage) -> Moving:
        """What is no picture may be a film or a sound; if it is neither, it is what it was before."""
        path = folder / "fetched"
        path.write_bytes(data)
        try:
            return ffmpeg.make(path, self._moving, folder)
        except UnusableImage as error:
            raise no_image if error.reason == "not_media" else error from None

    def look_again(self, case: Case) -> RecordOutcome | Fresh | None:
        """The record as it is now; an outcome if it must be left alone, None if it is whole or gone."""
        old = case.target
        row = read_rows(self._database, old.kind, [old.row.record.id]).get(old.row.record.id)
        if row is None:
            return None
        t = target(old.kind, row, self._key_prefix)
        base = replace(undecided(old), source=case.source)
        if row.in_flight or row.record != old.row.record:
            return changed(base, Outcome.DEFERRED, ROW_CHANGED, "Mastodon changed the record meanwhile")
        (broken,) = broken_files([t], self._store, self._deep, {(row.record.id, s) for s in case.corrupt})
        if not broken:
            return None
        if refused := untouchable(t, broken):
            return refused
        asked = case.source in (Source.ORIGIN, Source.PAGE)
        if asked and (refused := undownloadable(t, self._current_moderation(), self._own_domains)):
            return refused
        return Fresh(t, broken)

    def _naming(self) -> Naming:
        return Naming(self._run, self._key_prefix, secrets.token_hex(8), datetime.now(UTC))

    def present(self, t: Target) -> dict[str, int]:
        """The record's keys that hold something, with their sizes."""
        sizes = self._store.sizes([f.key for f in t.files])
        return {str(f.key): n for f, n in zip(t.files, sizes, strict=True) if n >= 0}

    def columns(self, t: Target) -> dict[str, str | None]:
        """The row's columns a repair may change, as text."""
        kind = t.kind
        wanted = [kind.column(s) for s in ("file_name", "content_type", "file_size", "updated_at")]
        wanted += [kind.version_column, "updated_at", "file_meta", "blurhash", "type", "width", "height"]
        wanted += [kind.remote_url] if kind.remote_url else []
        names = [n for n in wanted if n in self._database.columns(kind.table)]
        selected = sql.SQL(", ").join(sql.SQL("{0}::text AS {0}").format(sql.Identifier(n)) for n in names)
        statement = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(selected, sql.Identifier(kind.table))
        try:
            with self._parts.pool.connection() as connection:
                row: dict[str, Any] | None = connection.execute(statement, [t.row.record.id]).fetchone()
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None
        return row or {}

    def _execute(self, plan: RecordPlan, t: Target, case: Case) -> RecordOutcome:
        assert self._executor is not None, "a dry run changes nothing"
        try:
            self._executor.apply(plan.outcome, (*plan.actions, *self._told(plan, t)))
        except Conflict as conflict:
            return changed(plan.outcome, Outcome.DEFERRED, ROW_CHANGED, str(conflict))
        row = read_rows(self._database, t.kind, [t.row.record.id]).get(t.row.record.id)
        if row is not None:
            styles = {(row.record.id, style) for style in case.corrupt}
            (still,) = broken_files([target(t.kind, row, self._key_prefix)], self._store, self._deep, styles)
            if still:
                return changed(plan.outcome, Outcome.DEFERRED, "verify_failed", f"{still[0].key} is {still[0].state}")
        return plan.outcome

    def _told(self, plan: RecordPlan, t: Target) -> list[Action]:
        """What Mastodon's caches and the CDN must hear about a change (facts §10)."""
        if not self._tools.caches:
            return []
        actions: list[Action] = []
        if any(isinstance(action, SetColumns) for action in plan.actions):
            keys = read_cached_under(self._database, t.kind, t.row.record.id)
            actions += [ForgetCached(keys)] if keys else []
        variables, configuration = self._parts.instance.variables, self._parts.instance.configuration
        if variables.get("CACHE_BUSTER_ENABLED") == "true":
            for action in plan.actions:
                if isinstance(action, PutFile | CopyFile):
                    url = public_url(action.key, configuration, variables)
                    address = busted_address(action.key, url, configuration.storage, self._database.version)
                    actions.append(EnqueueJob(cache_buster_job(address, self._run)))
        return actions


@dataclass(frozen=True, slots=True)
class Fresh:
    """A record looked at again just before it is changed."""

    target: Target
    broken: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class _Failed:
    """A source that did not help; `is_dead` if the address leads nowhere rather than the host having trouble."""

    outcome: RecordOutcome
    is_dead: bool


_DECODED = frozenset({"jpeg", "jpg", "png", "gif", "webp"})


def _is_enough(copied: Mapping[str, StoredCopy], broken: set[str]) -> bool:
    """Whether those copies mend the record: its original is there or among them."""
    return bool(copied) and (ORIGINAL in copied or ORIGINAL not in broken)


def _copying(copy: StoredCopy, key: Key, t: Target, store: Store, folder: Path) -> PutFile | CopyFile:
    if copy.store is store:
        digest = store.digest(copy.key)
        if digest is None:
            raise UnusableImage("not_an_image", f"{copy.key} is gone meanwhile")
        return CopyFile(key, copy.key, copy.size, digest)
    content = copy.store.fetch(copy.key, folder / f"copy-{copy.style}")
    return PutFile.of(key, content, _content_type(content, t))


def _content_type(content: Content, t: Target) -> str:
    """What the bytes are, as Mastodon would find (facts §4.2); what the row says where they are no image."""
    data = content if isinstance(content, bytes) else content.read_bytes() if t.kind.is_image else b""
    try:
        return header(data).content_type
    except UnusableImage:
        return t.row.record.content_type or "application/octet-stream"


def _images(kind: Kind, rules: ImageRules, data: bytes, source: Source, url: str | None) -> NewFiles:
    made = produce(kind, rules, data)
    meta = {style: size.meta() for style, size in made.sizes.items()}
    return NewFiles(
        made.content_type, dict(made.files), meta, made.blurhash, len(made.original),
        unchanged=made.original is data or made.original == data,
        media_type=IMAGE if kind is MEDIA_FILES else None, source=source, url=url,
    )  # fmt: skip


def _picture(kind: Kind, document: documents.Document, addresses: Addresses) -> documents.Picture | None:
    if kind not in (MEDIA_FILES, MEDIA_THUMBNAILS):
        return current_picture(kind, document)
    if addresses.place is None:
        return None
    found = find_attachment(documents.attachments(document), addresses.place)
    if found is None:
        return None
    url = found.url if kind is MEDIA_FILES else found.icon
    return documents.Picture(url) if url else None


def _failure(t: Target, source: Source, answer: NotFetched) -> RecordOutcome:
    base = replace(undecided(t), source=source)
    return changed(base, outcome_of_failure(answer), answer.failure.value, answer.detail)
