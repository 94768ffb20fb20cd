"""The engines as a source that offers "Mastodon will": its Sidekiq cluster, or its next occasion.

`sidekiq` is how a repair runs on many machines: every worker process Mastodon has takes part. We keep what its workers
do not: moderation is checked, origins are asked at their own pace (jobs for one host are spread over the schedule), and
the queue never holds more than it may, counting also what is scheduled and has not come due. Of a record that is better
repaired directly nothing is offered.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mastomend.actions.trouble import is_everybody_s, trouble
from mastomend.database.rows import read_rows
from mastomend.inventory.inspect import broken_files, target
from mastomend.mastodon.clearing import OCCASIONS
from mastomend.mastodon.jobs import redownload_job
from mastomend.mastodon.kinds import KIND_BY_NAME, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.mastodon.urls import origin_host
from mastomend.outcomes import Deferred, Engine, Refreshed, Refused, Source, Verdict
from mastomend.reasons import Reason
from mastomend.restore.case import Case, Handed, Means, NoOffer, Offers, Wait
from mastomend.restore.closing import Closing
from mastomend.vocabulary import Finding, Row, RowOf, Target

_POLL_S = 1.0
#: So often it is looked, while others still are handed over, whether rows have been filled.
_LOOK_S = 15.0
#: Sidekiq looks at its schedule every few seconds: so long a due job still counts as scheduled.
_POLLER_S = 15.0
_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class HandOverLimits:
    """How many jobs may wait, how long is waited for the last of them, and how many a second go to one host."""

    max_queue: int = 500
    wait_s: float = 900.0
    rate: float = 2.0


class Mastodon:
    """Offers what Mastodon's own workers will do; `watch` then waits for them. It is the gate to its queue."""

    name = Source.ORIGIN
    asks_others = True
    poll_s = _POLL_S

    def __init__(
        self,
        engine: Engine,
        means: Means,
        limits: HandOverLimits,
        closing: Closing | None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Without `closing` nothing can be handed over, as in a dry run."""
        self._engine = engine
        self._means = means
        self._limits = limits
        self._may_close = closing
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._under_way = 0
        self._next: dict[str, float] = {}
        self._scheduled: list[float] = []
        self._last_start = clock()
        self._look_at = 0.0

    @property
    def _closing(self) -> Closing:
        assert self._may_close is not None, "a dry run hands nothing over"
        return self._may_close

    @property
    def patience_s(self) -> float:
        """How long is waited for a place when the queue does not move."""
        return self._limits.wait_s

    def serves(self, kind: Kind) -> bool:
        """What the engine works on; the others are repaired directly."""
        return self._engine is Engine.RESET or redownload_job(kind, 0, "") is not None

    def offers(self, case: Case) -> Offers:
        """That Mastodon will. Nothing where there is no address a worker could use, or where the worker, which downloads a
        medium's file and thumbnail together, could lose the one that is sound (facts §0.6, §6.2).

        Raises:
            SourceError: Redis does not answer. DatabaseError, StorageError: as everywhere.
        """
        t = case.target
        if self._engine is Engine.RESET and t.kind.name not in OCCASIONS:
            detail = f"nothing in Mastodon would ever fetch {t.kind.name} again; use the engine direct"
            return NoOffer(verdict=Refused(Reason.NOTHING_FETCHES, detail), is_last=True)
        if t.kind is not PREVIEW_CARDS and not (t.row.remote_url or "").startswith(("https://", "http://")):
            return NoOffer()
        if self._engine is Engine.RESET:
            return Handed(None)
        if self._may_close is not None and self._has_sound_sibling(t):  # a dry run asks no question a record
            return NoOffer()
        if not (yield Wait(self)):
            detail = f"the queue held {self._limits.max_queue} jobs or more for {self._limits.wait_s:g} s"
            return NoOffer(verdict=Deferred(Reason.QUEUE_FULL, detail), is_last=True)
        job = redownload_job(t.kind, t.row.record.id, self._closing.run.id)
        return Handed(job, self._moment(origin_host(t.row.remote_url or "")), self._leave)

    def _has_sound_sibling(self, t: Target) -> bool:
        sibling = {MEDIA_FILES: MEDIA_THUMBNAILS, MEDIA_THUMBNAILS: MEDIA_FILES}.get(t.kind)
        if sibling is None:
            return False
        prefix = self._means.key_prefix
        rows = read_rows(self._means.database, sibling, [t.row.record.id]).values()
        return any(not found for found in broken_files([target(sibling, r, prefix) for r in rows], self._means.store))

    # --- room in the queue --------------------------------------------------------------------------------------------

    def open_for(self, wanted: int) -> int:
        """How many places there are: queue, schedule and what is on its way there hold less than they may."""
        if self._clock() >= self._look_at and self._closing.waiting():
            self._look_at = self._clock() + _LOOK_S
            self._look()
        with self._lock:
            while self._scheduled and self._scheduled[0] < self._clock() - _POLLER_S:
                heapq.heappop(self._scheduled)
            taken = self._means.sidekiq.waiting() + len(self._scheduled) + self._under_way
            places = min(wanted, max(0, self._limits.max_queue - taken))
            self._under_way += places
            return places

    def _leave(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _moment(self, host: str) -> float:
        """When the next job for that host may begin; 0 is at once."""
        with self._lock:
            now = self._clock()
            at = max(now, self._next.get(host, 0.0))
            self._next[host] = at + (1 / self._limits.rate if self._limits.rate else 0)
            self._last_start = max(self._last_start, at)
            if at <= now:
                return 0.0
            heapq.heappush(self._scheduled, at)
            return at

    # --- what became of it --------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Until every record handed over is filled, or has had its time; each then has its outcome."""
        while self._closing.waiting():
            self._look()
            if self._clock() > self._last_start + self._limits.wait_s:
                break
            if self._closing.waiting():
                self._sleep(_POLL_S)
        for done in self._closing.take_handed():
            said = f"{done.verdict.detail}; it was not done within {self._limits.wait_s:g} s"
            self._closing.settle(replace(done, verdict=replace(done.verdict, detail=said)))

    def _look(self) -> None:
        waiting = self._closing.waiting()
        for name in {row.kind for row in waiting}:
            kind, rows_of = KIND_BY_NAME[name], [row for row in waiting if row.kind == name]
            for start in range(0, len(rows_of), _ROWS):
                some = {row.id: row for row in rows_of[start : start + _ROWS]}
                rows = self._rows(kind, list(some))
                targets = [target(kind, row, self._means.key_prefix) for row in rows.values() if not row.in_flight]
                for t, broken in self._judged(targets):
                    self._close(some[t.row.record.id], t, broken)

    def _rows(self, kind: Kind, ids: Sequence[int]) -> Mapping[int, Row]:
        """Those that Mastodon has filled; where one row cannot be read for a defect of ours, the others."""
        try:
            return read_rows(self._means.database, kind, ids)
        except Exception as error:
            if is_everybody_s(error):
                raise
            return {} if len(ids) == 1 else {k: v for one in ids for k, v in self._rows(kind, [one]).items()}

    def _close(self, row: RowOf, t: Target, broken: Sequence[Finding] | Verdict) -> None:
        for done in self._closing.take_handed(row):
            self._closing.settle(replace(done, verdict=_filled(t, broken, done.verdict.source)))

    def _judged(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Sequence[Finding] | Verdict]]:
        """What is broken of each; all at once, or one by one where that meets a defect, which is then that record's."""
        try:
            yield from zip(targets, broken_files(targets, self._means.store), strict=True)
        except Exception as error:
            if is_everybody_s(error):
                raise
            if len(targets) == 1:
                yield targets[0], trouble(error)
                return
            for one in targets:
                yield from self._judged([one])


def _filled(t: Target, broken: Sequence[Finding] | Verdict, source: Source | None) -> Verdict:
    """What became of a record whose row Mastodon has filled."""
    if not isinstance(broken, Sequence):
        return replace(broken, source=source)
    if broken:
        said = f"Mastodon filled the row, but {broken[0].key} is {broken[0].state}"
        return Deferred(Reason.VERIFY_FAILED, said, source)
    return Refreshed(Reason.BY_MASTODON, Source.ORIGIN, len(t.files), t.row.record.file_size or 0)
