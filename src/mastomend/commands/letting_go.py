"""Letting cached records go: each is looked at again right before, the row, its files, and who has come to care for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path

from mastomend.actions.plan import Plan
from mastomend.actions.run import BATCH
from mastomend.commands.parts import Parts
from mastomend.database.evictable import Cached, read_evictable
from mastomend.database.ties import Tie, card_posts, places_here, ties_of
from mastomend.errors import SafetyStop
from mastomend.inventory.cached import TIED, UNITS
from mastomend.inventory.evictions import EVICTIONS, Eviction
from mastomend.inventory.keeping import Policy
from mastomend.mastodon.keys import Key, expected_files, is_safe_name
from mastomend.mastodon.relationships import Of
from mastomend.outcomes import Deferred, Refused, Verdict
from mastomend.plans.prune import evict, spare, untouchable
from mastomend.reasons import Reason
from mastomend.storage.ports import MISSING
from mastomend.vocabulary import RowOf

#: Of so few records that have lost their files nothing is concluded.
_FEW = 10
_WHY = {"age": Reason.AGED, "budget": Reason.OVER_BUDGET}


def batches(path: Path) -> Iterator[list[Eviction]]:
    """In their order, one unit at a time."""
    for _, same in groupby(EVICTIONS.load(path), key=lambda one: one.unit):
        while some := list(islice(same, BATCH)):
            yield some


@dataclass(frozen=True, slots=True)
class Letting:
    """Makes plans by what is true now, some hundred records at a time."""

    parts: Parts
    policy: Policy
    key_prefix: str
    now: Callable[[], datetime]
    forgets: bool

    def ahead(self, each: Iterable[Sequence[Eviction]]) -> Iterator[list[Plan]]:
        """The plans of each batch; those of the next one are made while it is carried out."""
        with ThreadPoolExecutor(1, thread_name_prefix="plans") as thread:
            waiting: tuple[Sequence[Eviction], Future[list[Plan]]] | None = None
            for some in each:
                following = thread.submit(self._plans, some)
                if waiting is not None:
                    yield self._again(*waiting)
                waiting = some, following
            if waiting is not None:
                yield self._again(*waiting)

    def _again(self, some: Sequence[Eviction], made: Future[list[Plan]]) -> list[Plan]:
        """What was made ahead, without what somebody has come to care for since."""
        plans = self._unlocked(some, made.result())
        ties, moment = self._ties(some[0].unit, some), int(self.now().timestamp())
        used = {one.id: one.used for one in some}
        return [
            plan
            if not plan.actions or (why := self._kept(ties.get(_id(plan), []), used[_id(plan)], moment)) is None
            else spare(_row(plan), why)
            for plan in plans
        ]

    def _unlocked(self, some: Sequence[Eviction], plans: list[Plan]) -> list[Plan]:
        """What the batch before was changing when they were made is looked at again: an account has two pictures."""
        busy = {_id(plan) for plan in plans if plan.verdict.reason is Reason.IN_FLIGHT}
        if not busy:
            return plans
        again = {_id(plan): plan for plan in self._plans([one for one in some if one.id in busy])}
        return [again.get(_id(plan), plan) for plan in plans]

    def _plans(self, some: Sequence[Eviction]) -> list[Plan]:
        """One for each record that still names a file."""
        unit, database = some[0].unit, self.parts.database
        kinds = [kind for kind in UNITS[unit] if kind.column("file_name") in database.columns(kind.table)]
        rows = read_evictable(database, kinds, [one.id for one in some])
        ties = self._ties(unit, some)
        keys = {
            record_id: [
                file.key
                for kind, record in row.records.items()
                if is_safe_name(record.file_name)
                for file in expected_files(kind, record, self.key_prefix)
            ]
            for record_id, row in rows.items()
        }
        sizes = iter(self.parts.store.sizes([key for found in keys.values() for key in found]))
        held = {record_id: [(key, next(sizes)) for key in found] for record_id, found in keys.items()}
        self._refuse_hole(some, held)
        moment = int(self.now().timestamp())
        return [
            self._plan(one, row, ties.get(one.id, []), held[one.id], moment)
            for one in some
            if (row := rows.get(one.id)) is not None
        ]

    def _refuse_hole(self, some: Sequence[Eviction], held: Mapping[int, Sequence[tuple[Key, int]]]) -> None:
        """Where most of what was there is not there now, it is the disk that is gone.

        Raises:
            SafetyStop: it looks like that.
        """
        there = [one for one in some if one.files and one.id in held]
        gone = [one for one in there if all(size < 0 for _, size in held[one.id])]
        if len(gone) > _FEW and 2 * len(gone) > len(there):
            raise SafetyStop(
                f"{len(gone):,} of {len(there):,} records whose files were there a while ago have none now. This looks like a "
                "disk that was unmounted meanwhile. Nothing of these was changed.",
                hint="Mount it, then run the same command again.",
            )

    def _plan(
        self, one: Eviction, row: Cached, ties: Sequence[Tie], held: Sequence[tuple[Key, int]], moment: int
    ) -> Plan:
        kinds = UNITS[one.unit]
        name = kinds[0].table if len(kinds) > 1 else kinds[0].name
        subject = RowOf(name, one.id, row.is_local, row.domain, row.remote_url)
        why = untouchable(
            is_local=row.is_local, in_flight=row.in_flight, suspended=row.suspended, used=row.used, planned=one.used
        ) or self._kept(ties, one.used, moment)
        if why is not None:
            return spare(subject, why)
        if any(size < MISSING for _, size in held):
            return spare(subject, Deferred(Reason.UNREADABLE, "a file of it may not be looked at"))
        files = [(key, size) for key, size in held if size >= 0]
        if one.files and not files:  # it was there a while ago: is the disk still mounted?
            return spare(
                subject, Deferred(Reason.ROW_CHANGED, "its files were there when it was chosen, and are not now")
            )
        chosen = [kind for kind in kinds if kind.column("file_name") in row.columns]
        return evict(subject, chosen, row.columns, files, _WHY[one.why], row.forget if self.forgets else ())

    def _kept(self, ties: Sequence[Tie], used: int, moment: int) -> Verdict | None:
        for tie in ties:
            if self.policy.keeps_until(tie.relationship, tie.at, used) > moment:
                return Refused(Reason.KEPT, f"somebody here has come to care for it: {tie.relationship}")
        return None

    def _ties(self, unit: str, some: Sequence[Eviction]) -> dict[int, list[Tie]]:
        """What ties each of them to people here, by its id."""
        database, found = self.parts.database, dict[int, list[Tie]]()

        def add(ids: dict[int, list[int]], of: Of) -> None:
            for tie in ties_of(database, places_here(database, of), list(ids)):
                for record_id in ids[tie.id]:
                    found.setdefault(record_id, []).append(tie)

        def by(pairs: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
            ids: dict[int, list[int]] = {}
            for other, record_id in pairs:
                ids.setdefault(other, []).append(record_id)
            return ids

        if unit == "attachments":
            add(by([(one.post, one.id) for one in some if one.post is not None]), Of.POST)
        else:
            add(by([(one.id, one.id) for one in some]), TIED[unit])
        if unit == "preview_cards":
            add(by([(post, card) for card, post in card_posts(database, [one.id for one in some])]), Of.POST)
        return found


def _row(plan: Plan) -> RowOf:
    assert isinstance(plan.subject, RowOf)
    return plan.subject


def _id(plan: Plan) -> int:
    return _row(plan).id
