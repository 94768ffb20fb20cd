"""One record's way back: which sources are asked in which order, and what becomes of what they give.

A scan's findings are only a hint: each record is looked at again before anything is asked for it, and once more before it
is changed (`change`).

The order is kindness (product.md): what the storage or a backup still has costs nobody anything; then the address in
the row; when that does not help, whatever the reason, the origin's own word on where the picture is now. An address is
given up only when there is no other source left: a host that is gone says nothing about the actor, who lives elsewhere.
What must be asked of strangers is `yield`ed as an `Ask` and comes back as an answer, so the order reads from top to
bottom while the `desk` decides when.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mastomend.actions.deferral import UNREACHABLE
from mastomend.actions.trouble import is_everybody_s, trouble
from mastomend.database.rows import read_addresses, read_rows
from mastomend.errors import UnreadableError
from mastomend.images.decode import UnusableImage
from mastomend.inventory.inspect import broken_files, target
from mastomend.mastodon.configuration import origin_host
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind, is_blank
from mastomend.mastodon.media_types import AUDIO
from mastomend.outcomes import Deferred, Gone, Lost, Refused, Source, Verdict
from mastomend.plans.repair import (
    derivable,
    subject,
    untouchable,
)
from mastomend.reasons import Reason
from mastomend.remote import documents
from mastomend.remote.client import Ask, Failure, Fetched, NotFetched
from mastomend.restore.case import Answer, Broken, Case, Means, Tried, Way
from mastomend.restore.change import Changes
from mastomend.restore.policy import Policy
from mastomend.restore.sources import page
from mastomend.restore.sources.actor import current_picture
from mastomend.restore.sources.copies import CopySource, Found, StoredCopy, find, find_beside
from mastomend.restore.sources.note import find_attachment
from mastomend.restore.sources.origin import verdict_of_failure, verdict_of_image
from mastomend.vocabulary import Addresses, Done, Finding, RowOf, Target

#: The origin's own way of saying that what was asked for is gone.
_DEAD = frozenset({Failure.NOT_FOUND, Failure.GONE})
#: Another address may have another picture.
_NO_PICTURE = frozenset({Reason.NOT_AN_IMAGE, Reason.NOT_MEDIA, Reason.BAD_TYPE, Reason.BROKEN_IMAGE})

_T = TypeVar("_T")


class Chain:
    """Takes records through their sources; used from several threads."""

    def __init__(
        self, means: Means, policy: Policy, changes: Changes, sources: Sequence[CopySource], *, others_convert: bool
    ) -> None:
        """`sources` are storages to copy from; `others_convert`: Mastodon's workers are to fetch, and they have ffmpeg."""
        self._policy = policy
        self._changes = changes
        self._database, self._store = means.database, means.store
        self._key_prefix = means.key_prefix
        self._sources = sources
        self._ffmpeg = means.ffmpeg
        self._others_convert = others_convert

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self, batch: Sequence[Broken]) -> list[Done | Case]:
        """What is still broken of a batch: records to restore, and records decided without asking anybody.

        A defect met on the way is that record's trouble: the others are looked at one by one.
        """
        try:
            return self._look(batch)
        except Exception as error:
            if is_everybody_s(error):
                raise
            if len(batch) > 1:
                return [item for one in batch for item in self.look([one])]
            (one,) = batch
            return [Done(RowOf(one.kind.name, one.id), trouble(error))]

    def _look(self, batch: Sequence[Broken]) -> list[Done | Case]:
        answer: list[Done | Case] = []
        for kind in {b.kind.name: b.kind for b in batch}.values():
            wanted = {b.id: b for b in batch if b.kind is kind}
            rows = read_rows(self._database, kind, list(wanted))
            targets = [target(kind, row, self._key_prefix) for row in rows.values()]
            corrupt = {(id_, style) for id_, hint in wanted.items() for style in hint.corrupt}
            looked = broken_files(targets, self._store, self._changes.deep if corrupt else None, corrupt)
            broken = [(t, found) for t, found in zip(targets, looked, strict=True) if found]
            hints = {id_: hint.corrupt for id_, hint in wanted.items()}
            answer += self._decide(broken, hints)
        return answer

    def _decide(
        self, broken: Sequence[tuple[Target, list[Finding]]], hints: Mapping[int, frozenset[str]]
    ) -> Iterator[Done | Case]:
        """Storage first, for all of them together; what is left is asked of its origin, or refused."""
        left = []
        told: dict[int, list[str]] = {}
        for t, found in broken:
            if refused := untouchable(t, found):
                yield Done(subject(t), refused)
            elif derivable(t, found, self._policy.rules[t.kind.name], video=self._ffmpeg is not None):
                yield Case(t, hints[t.row.record.id], Source.ORIGINAL)
            else:
                left.append((t, found))
        found_in: dict[tuple[int, int], Found] = {}
        for look_beside in (False, True):  # last and seldom: a folder is a request for each
            for number, source in enumerate(self._sources):
                asked = [(t, {f.style for f in found}) for t, found in left]
                if not asked:
                    break
                if look_beside:
                    so_far = [found_in[number, t.row.record.id] for t, _ in asked]
                    answers = find_beside(source, [(*one, found) for one, found in zip(asked, so_far, strict=True)])
                else:
                    answers = find(source, asked)
                still = []
                for (t, found), answer in zip(left, answers, strict=True):
                    if _is_enough(answer.copies, {f.style for f in found}):
                        yield Case(t, hints[t.row.record.id], source.source, answer.copies)
                    else:
                        found_in[number, t.row.record.id] = answer
                        still.append((t, found))
                left = still
        hidden = set()
        for (_, id_), answer in found_in.items():
            told.setdefault(id_, []).extend(answer.told)
            if answer.may_have_more:
                hidden.add(id_)
        for t, _ in left:
            remote = self._remote(t, hints[t.row.record.id], told.get(t.row.record.id, ()))
            if isinstance(remote, Case):
                yield remote
                continue
            if isinstance(remote, Lost) and t.row.record.id in hidden:
                remote = Refused(UnreadableError.reason, remote.detail)
            yield Done(subject(t), remote)

    def _remote(self, t: Target, corrupt: frozenset[str], told: Sequence[str] = ()) -> Verdict | Case:
        refused = self._policy.undownloadable(t)
        if isinstance(refused, Lost) and told:
            refused = replace(refused, detail=f"a local file; {'; '.join(told)}")
        able = self._ffmpeg is not None or self._others_convert
        if refused is None and self._policy.needs_ffmpeg(t) and not able:
            detail = "ffmpeg was not found; Mastodon's own workers have it: --engine sidekiq"
            refused = Deferred(Reason.NEEDS_FFMPEG, detail)
        return refused or Case(t, corrupt, Source.PAGE if t.kind is PREVIEW_CARDS else Source.ORIGIN)

    def attempt(self, case: Case, work: Callable[[], _T]) -> _T | Verdict:
        """Do something for a record. Whatever goes wrong with it is its verdict; who runs it does not matter.

        Raises:
            MastomendError: the disk, the database, the journal or Redis is lost: the run cannot go on.
        """
        try:
            return work()
        except Exception as error:
            if is_everybody_s(error):
                raise
            return trouble(error, case.source)

    # --- the chain of sources ---------------------------------------------------------------------------------------

    def restore(self, case: Case) -> Way:
        """The record's way through its sources. Returns its verdict, None if it turned out to be whole, or gone."""
        tried = Tried()
        if case.source in (Source.ORIGINAL, Source.ELSEWHERE, Source.BACKUP):
            for stored in self._stored(case):
                try:
                    return tried.on(self._changes.from_storage(stored))
                except UnusableImage as error:
                    tried.add(stored.source, f"{error.reason} ({error})")
            corrupt = case.corrupt | ({ORIGINAL} if case.source is Source.ORIGINAL else set())
            remote = self._remote(case.target, corrupt)
            if not isinstance(remote, Case):
                return tried.on(remote)
            case = remote
        if case.source is Source.PAGE:
            return tried.on((yield from self._from_page(case, tried)))
        return tried.on((yield from self._from_origin(case, tried)))

    def _stored(self, case: Case) -> Iterator[Case]:
        """The case, then the same with each further storage, should what the first one holds be useless."""
        yield case
        corrupt = case.corrupt | {ORIGINAL}
        used = {id(copy.store) for copy in case.copies.values()}
        after = [source for source in self._sources if id(source.store) not in used]
        files = case.target.files
        sizes = self._store.sizes([f.key for f in files])
        bad = corrupt | {f.style for f, size in zip(files, sizes, strict=True) if size <= 0}
        for source in after:
            (found,) = find(source, [(case.target, bad)])
            (found,) = find_beside(source, [(case.target, bad, found)])
            if ORIGINAL in found.copies:
                yield Case(case.target, corrupt, source.source, found.copies)

    def _from_origin(self, case: Case, tried: Tried) -> Way:
        t = case.target
        url = t.row.remote_url or ""
        failed: Verdict = Lost(Reason.NO_URL, "the database knows no address it came from")
        if is_blank(url) and t.kind is MEDIA_THUMBNAILS:
            return (yield from self._from_sound(case, failed, tried))
        if not is_blank(url):
            answer: Answer = NotFetched(Failure.BAD_URL, "the address in the database cannot be asked for")
            if documents.usable_url(url) is not None:
                answer = yield Ask(url, self._policy.max_bytes(t))
            ended = self._take(case, answer, Source.ORIGIN)
            if not isinstance(ended, _Failed):
                return ended
            tried.add(Source.ORIGIN, ended.verdict.reason)
            if not ended.elsewhere:
                return ended.verdict
            failed = ended.verdict
        return (yield from self._from_document(case, failed, tried))

    def _from_sound(self, case: Case, failed: Verdict, tried: Tried) -> Way:
        """A thumbnail without an address of its own was the cover embedded in a sound (facts §3.3)."""
        t = case.target
        place = read_addresses(self._database, t.kind, t.row.record.id).place
        if self._ffmpeg is None or t.row.media_type != AUDIO or place is None or is_blank(place.remote_url):
            return failed
        answer = yield Ask(place.remote_url, self._policy.moving.max_bytes)
        if isinstance(answer, Fetched):
            try:
                cover = self._cover(answer.data)
            except UnusableImage as error:
                tried.add(Source.ORIGIN, error.reason)
                return Refused(error.reason, str(error), Source.ORIGIN)
            if cover is None:
                tried.add(Source.ORIGIN, Reason.NO_PICTURE)
                return Gone(Reason.NO_PICTURE, "no cover in it", Source.ORIGIN)
            answer = replace(answer, data=cover)
        ended = self._take(case, answer, Source.ORIGIN)
        return ended.verdict if isinstance(ended, _Failed) else ended

    def _cover(self, sound: bytes) -> bytes | None:
        assert self._ffmpeg is not None
        with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
            source = Path(folder) / "sound"
            source.write_bytes(sound)
            cover = self._ffmpeg.cover(source, Path(folder))
            return None if cover is None else cover.read_bytes()

    def _from_document(self, case: Case, failed: Verdict, tried: Tried) -> Way:
        """Ask the origin for the actor, emoji or note, and restore from the address it names now."""
        t = case.target
        addresses = read_addresses(self._database, t.kind, t.row.record.id)
        if not (addresses.document or "").startswith(("https://", "http://")):
            return failed
        is_medium = t.kind in (MEDIA_FILES, MEDIA_THUMBNAILS)
        source, gone = (Source.NOTE, Reason.NOTE_GONE) if is_medium else (Source.ACTOR, Reason.ACTOR_GONE)
        assert addresses.document is not None
        is_silent = isinstance(failed, Deferred) and failed.reason in UNREACHABLE
        if is_silent and origin_host(addresses.document) == origin_host(t.row.remote_url or ""):
            return failed  # it is that very host which does not answer
        document = yield from self._document(addresses.document, addresses.document)
        match document:
            case NotFetched() if document.failure in _DEAD:
                tried.add(source, document.failure.value)
                detail = f"the origin says that the {source.value} itself is gone ({document.detail})"
                return Gone(gone, detail, source)
            case NotFetched():
                tried.add(source, document.failure.value)
                if not isinstance(failed, Deferred) and document.failure.host_in_trouble:
                    return verdict_of_failure(document, source)  # it may know more when it answers again
                return failed
            case str():
                tried.add(source, document)
                return failed
            case documents.Document() if document.deleted:
                tried.add(source, Reason.GONE)
                detail = f"the origin says that the {source.value} itself is gone"
                return Gone(gone, detail, source)
        picture = _picture(t.kind, document, addresses)
        if picture is None or picture.url == t.row.remote_url:
            tried.add(source, Reason.NO_PICTURE if picture is None else Reason.SAME_ADDRESS)
            return failed
        answer: Answer = yield Ask(
            picture.url, self._policy.max_bytes(t), accept=documents.ACCEPT if picture.is_document else None
        )
        url = picture.url
        if picture.is_document and isinstance(answer, Fetched):
            inner = documents.parse(answer.data, answer.content_type, None)
            if isinstance(inner, documents.Document):
                found = documents.address(inner)
                if found is None:
                    tried.add(source, Reason.NO_PICTURE)
                    return failed
                url, answer = found, (yield Ask(found, self._policy.max_bytes(t)))
        ended = self._take(case, answer, source, url)
        if isinstance(ended, _Failed):
            tried.add(source, ended.verdict.reason)
            return ended.verdict
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
        if refused := self._policy.refused_host(url):
            return refused
        answer = yield Ask(url, page.MAX_BYTES, accept=page.ACCEPT, truncate=True, crawler=True)
        if isinstance(answer, NotFetched):
            return verdict_of_failure(answer, Source.PAGE)
        nothing = Gone(Reason.NO_PICTURE, source=Source.PAGE)
        if answer.content_type.partition(";")[0].strip().lower() != "text/html":
            return replace(nothing, detail=f"the page is now {answer.content_type or 'of no type'}")
        images = page.parse(answer.data, answer.content_type, answer.url)
        candidates = []
        if (endpoint := images.oembed or images.oembed_xml) is not None:
            oembed = yield Ask(endpoint, page.MAX_OEMBED_BYTES, truncate=True, crawler=True)
            if isinstance(oembed, Fetched):
                candidates.append(page.parse_oembed(oembed.data, oembed.url))
        candidates.append(images.image)
        last: Verdict = replace(nothing, detail="the page names no picture any more")
        for candidate in dict.fromkeys(found for found in candidates if found):
            ended = self._take(case, (yield Ask(candidate, self._policy.max_bytes(t), crawler=True)), Source.PAGE)
            if not isinstance(ended, _Failed):
                return ended
            tried.add(Source.PAGE, ended.verdict.reason)
            last = ended.verdict
        return last

    def _take(self, case: Case, answer: Answer, source: Source, url: str | None = None) -> Verdict | _Failed | None:
        """Install what came; `_Failed` says what it was instead, and whether the address is dead."""
        if isinstance(answer, NotFetched):
            elsewhere = answer.failure is not Failure.RATE_LIMITED and answer.failure is not Failure.TOO_BIG
            return _Failed(verdict_of_failure(answer, source), elsewhere)
        try:
            return self._changes.install(case, answer.data, source, url)
        except UnusableImage as error:
            return _Failed(verdict_of_image(error, source), error.reason in _NO_PICTURE)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A source that did not help. `elsewhere`: another address may; a host that asks for a pause is simply waited for."""

    verdict: Verdict
    elsewhere: bool


def _is_enough(copied: Mapping[str, StoredCopy], broken: set[str]) -> bool:
    """Whether those copies mend the record: its original is there or among them."""
    return bool(copied) and (ORIGINAL in copied or ORIGINAL not in broken)


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
