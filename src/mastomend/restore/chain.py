"""One record's way back: its sources are asked in order, what they offer is installed, and if that does not help the next one
is asked.

A scan's findings are only a hint: each record is looked at again before anything is asked for it, and once more before it
is changed (`change`). What storages can tell of many records at once they are asked then. The order is `order`'s business;
what must be asked of strangers is `yield`ed and comes back as an answer, while the `desk` decides when.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from mastomend.actions.trouble import is_everybody_s, trouble
from mastomend.database.rows import read_addresses, read_rows
from mastomend.errors import UnreadableError
from mastomend.images.decode import UnusableImage
from mastomend.inventory.inspect import broken_files, target
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Lost, Refused, Verdict
from mastomend.outcomes import Source as Name
from mastomend.plans.repair import STILL_THERE, subject, untouchable
from mastomend.reasons import Reason
from mastomend.remote.asking import Ask
from mastomend.restore.answers import NO_PICTURE, verdict_of_image
from mastomend.restore.case import (
    Answer,
    Broken,
    Case,
    Means,
    NoOffer,
    Offer,
    Offers,
    Received,
    Source,
    Step,
    Stored,
    Wait,
    Way,
)
from mastomend.restore.change import Changes
from mastomend.restore.closing import Closing
from mastomend.restore.order import Sources
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import look_up
from mastomend.storage.ports import Mounts
from mastomend.vocabulary import Addresses, Done, Finding, RowOf, State, Target


@dataclass(frozen=True, slots=True)
class Intended:
    """What would be tried first for a record, as a sentence; what will be done is decided when bytes have come."""

    source: Name
    said: str


class Chain:
    """Takes records through their sources; used from several threads."""

    def __init__(
        self,
        means: Means,
        policy: Policy,
        changes: Changes,
        sources: Sources,
        resting: Callable[[str, Mapping[int, str | None]], Mapping[int, str]] = lambda kind, files: {},
        *,
        writes: bool = True,
    ) -> None:
        """`resting` tells for which records of a kind no stranger is asked yet; `rested` counts those that were left so.
        `writes`: what comes is written by us, so that nothing is asked for that could not be.
        """
        self._writes = writes
        self.rested = 0
        self._resting = resting
        self._counting = threading.Lock()
        self._policy = policy
        self._changes = changes
        self._database, self._store = means.database, means.store
        self._key_prefix = means.key_prefix
        self._sources = sources

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self, batch: Sequence[Broken]) -> list[Done | Case]:
        """What is still broken of a batch: records to restore, and records that must be left alone.

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
            answer += self._cases(kind, broken, wanted)
        return answer

    def _unwritable(self, found: Sequence[Finding]) -> Verdict | None:
        if not self._writes or not isinstance(self._store, Mounts):
            return None
        folders = {finding.key.rpartition("/")[0] for finding in found}
        why = next((said for one in sorted(folders) if (said := self._store.unwritable(one))), None)
        return None if why is None else Refused(Reason.UNWRITABLE, why)

    def _cases(
        self, kind: Kind, broken: Sequence[tuple[Target, Sequence[Finding]]], hints: Mapping[int, Broken]
    ) -> list[Done | Case]:
        """What can be asked for all of them at once is asked: the storages, then the database for where else to ask."""
        decided: list[Done | Case] = []
        left = []
        for t, found in broken:
            case = Case(t, found, hints[t.row.record.id].corrupt)
            if refused := untouchable(t, found) or self._unwritable(found):
                decided.append(Done(subject(t), refused))
            elif self._sources.original.has(case):
                decided.append(case)
            else:
                left.append(case)
        cases = look_up(self._sources.copies, left)
        remote = {
            c.target.row.record.id: c.target.row.record.file_name
            for c in cases
            if not any(f.mends(c.bad) for f in c.looked.values())
        }
        known = read_addresses(self._database, kind, list(remote))
        rest = self._resting(kind.name, remote) if remote else {}
        nowhere = Addresses()
        return decided + [
            replace(c, addresses=known.get(id_, nowhere), rests=_rests(c, rest.get(id_)))
            if (id_ := c.target.row.record.id) in known or id_ in rest
            else c
            for c in cases
        ]

    def preview(self, case: Case) -> Intended | Verdict | None:
        """What would be tried first; a verdict if nothing would, None if its origin is left alone for now."""
        for source in self._sources.of(case.target.kind):
            if source.asks_others and case.rests:
                self._rest()
                return None
            if source.asks_others and (refused := self._refused(case)):
                return refused
            offers = source.offers(case)
            try:
                step: Step | Offer | NoOffer = next(offers)
            except StopIteration as end:
                step = end.value
            if not isinstance(step, NoOffer):
                return Intended(source.name, _intention(step, case))
            case.tried.add(source.name, step.said, step.verdict)
            if step.is_last:
                break
        return self._nothing_left(case)

    # --- the chain of sources -----------------------------------------------------------------------------------------

    def ways(self, batch: Sequence[Broken], closing: Closing) -> list[Way]:
        """A way for each record of a batch, looked at now. A record that needs none has one without a step."""
        items: dict[tuple[str, int], Done | Case] = {}
        for item in self.look(batch):
            about = item.subject if isinstance(item, Done) else subject(item.target)
            assert isinstance(about, RowOf)
            items[about.kind, about.id] = item
        names = [(one.kind.name, one.id) for one in batch]
        return [Way(name, self._steps(items.get(name), closing)) for name in names]

    def _steps(self, item: Done | Case | None, closing: Closing) -> Generator[Step, Answer, Done | None]:
        """One record's way through its sources, up to its outcome, which is recorded.

        Whatever goes wrong with the record is its verdict.

        Raises:
            MastomendError: the disk, the database, the journal or Redis is lost: the run cannot go on.
        """
        if not isinstance(item, Case):
            yield from ()
            return closing.close(item)
        try:
            verdict = yield from self.restore(item)
        except Exception as error:
            if is_everybody_s(error):
                raise
            verdict = item.tried.on(trouble(error, item.tried.source))
        return closing.close(None if verdict is None else Done(subject(item.target), verdict))

    def restore(self, case: Case) -> Generator[Step, Answer, Verdict | None]:
        """The chain itself: what became of the record, None if it turned out to be whole, or gone, or its origin rests."""
        tried = case.tried
        for source in self._sources.of(case.target.kind):
            if source.asks_others and case.rests:
                self._rest()
                return None
            if source.asks_others and (refused := self._refused(case)):
                return tried.on(refused)
            tried.source = source.name
            ended = yield from self._try(source, case)
            if isinstance(ended, _Spoiled):
                case = case.spoiled(read_addresses(self._database, case.target.kind, [case.target.row.record.id]))
                continue
            if not isinstance(ended, NoOffer):
                return tried.on(ended)
            tried.add(source.name, ended.said, ended.verdict)
            if ended.is_last:
                break
        return tried.on(self._nothing_left(case))

    def _try(self, source: Source, case: Case) -> Generator[Step, Answer, Verdict | NoOffer | _Spoiled | None]:
        """One source: what it offers is installed; should that not help, what it offers otherwise."""
        offers: Offers | None = source.offers(case)
        ended: Verdict | NoOffer | _Spoiled | None = NoOffer()
        while offers is not None:  # nothing of the offer before is kept while the next one is asked for
            ended, offers = self._install(source, case, (yield from offers))
        return ended

    def _install(
        self, source: Source, case: Case, offer: Offer | NoOffer
    ) -> tuple[Verdict | NoOffer | _Spoiled | None, Offers | None]:
        """What became of an offer, and what the source offers otherwise."""
        if isinstance(offer, NoOffer):
            return offer, None
        try:
            return self._changes.install(case, offer, source.name), None
        except UnusableImage as error:
            if isinstance(offer, Stored):
                case.tried.add(source.name, f"{error.reason} ({error})")
                return _Spoiled(), None
            case.tried.add(source.name, error.reason, verdict_of_image(error, source.name))
            otherwise = offer.otherwise if isinstance(offer, Received) else None
            return NoOffer(is_last=otherwise is None and error.reason not in NO_PICTURE), otherwise

    def _rest(self) -> None:
        with self._counting:
            self.rested += 1

    def _refused(self, case: Case) -> Verdict | None:
        """Why nobody may be asked for that record; of a local one what is known besides."""
        refused = self._policy.undownloadable(case.target)
        if not isinstance(refused, Lost):
            return refused
        told = dict.fromkeys(one for found in case.looked.values() for one in found.told)
        detail = f"a local file; {'; '.join(told)}" if told else refused.detail
        is_picture = (case.target.row.record.content_type or "").startswith("image/")
        if is_picture and (left := [file.style for file in case.target.files if file.style not in case.bad]):
            detail += f"; {STILL_THERE}: {', '.join(left)}"
        hidden = any(found.may_have_more for found in case.looked.values())
        return Refused(UnreadableError.reason, detail) if hidden else replace(refused, detail=detail)

    def _nothing_left(self, case: Case) -> Verdict:
        return (
            case.tried.verdict
            or self._refused(case)
            or Lost(Reason.NO_URL, "the database knows no address it came from")
        )


@dataclass(frozen=True, slots=True)
class _Spoiled:
    """What was stored is useless: its original must come from somewhere else."""


def _intention(step: Step | Offer, case: Case) -> str:
    match step:
        case Ask():
            return f"ask for {step.url}"
        case Wait():
            return "hand it to Mastodon's workers, when their queue has room"
        case Received():
            return f"make it from {len(step.data):,} bytes"
        case Stored(copies) if copies:
            return "; ".join(f"copy {copy.size:,} bytes from {copy.key}" for copy in copies.values())
        case Stored():
            return f"make it from its original, {case.target.files[0].key}"
        case _:
            return "empty its columns, so that Mastodon fetches it on its next occasion"


def _rests(case: Case, reason: str | None) -> bool:
    """Whether its origin is left alone, as of no use for that reason a short while ago; what was in the way may be gone."""
    if reason == Reason.IN_THE_WAY:
        return any(finding.state is State.MISSING and finding.detail for finding in case.broken)
    return reason is not None
