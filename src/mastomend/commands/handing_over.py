"""The engines that let Mastodon do the fetching: its Sidekiq cluster, or its next occasion.

`sidekiq` is how a repair runs on many machines: every worker process Mastodon has takes part. We keep what its workers
do not: moderation is checked, origins are asked at their own pace (jobs for one host are spread over the schedule), and
the queue never holds more than it may, counting also what is scheduled and has not come due.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mastomend.actions.executor import ROW_CHANGED, Conflict, Executor
from mastomend.actions.trouble import changed, is_everybody_s, trouble
from mastomend.commands.mending import Case, Fresh, Mender
from mastomend.commands.parts import Parts
from mastomend.inventory.inspect import broken_files, target
from mastomend.inventory.rows import read_rows
from mastomend.mastodon.configuration import origin_host
from mastomend.mastodon.jobs import redownload_job
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.outcomes import Engine, Outcome, RecordOutcome, Source
from mastomend.plans.repair import undecided
from mastomend.plans.reset import OCCASIONS, plan_reset
from mastomend.vocabulary import Finding, Target

_POLL_S = 1.0
#: Sidekiq looks at its schedule every few seconds: so long a due job still counts as scheduled.
_POLLER_S = 15.0
_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class HandOverLimits:
    """How many jobs may wait, how long is waited for the last of them, and how many a second go to one host."""

    max_queue: int = 500
    wait_s: float = 900.0
    rate: float = 2.0


def resettable(item: object) -> bool:
    """Whether something in Mastodon would ever fetch that record once it is emptied; true of what is not fetched at all."""
    if not isinstance(item, Case) or item.source not in (Source.ORIGIN, Source.PAGE):
        return True
    return item.target.kind.name in OCCASIONS


class HandingOver:
    """Hands records over one by one, then watches their rows until they are filled or time is up."""

    def __init__(
        self,
        engine: Engine,
        run: str,
        parts: Parts,
        mender: Mender,
        executor: Executor,
        limits: HandOverLimits,
        close: Callable[[RecordOutcome | None], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._run = run
        self._parts = parts
        self._mender = mender
        self._executor = executor
        self._limits = limits
        self._close = close
        self._clock = clock
        self._sleep = sleep
        self._next: dict[str, float] = {}
        self._scheduled: list[float] = []
        self._watched: dict[Kind, dict[int, RecordOutcome]] = {}
        self._last_start = clock()

    @staticmethod
    def takes(engine: Engine, kind: Kind) -> bool:
        """Whether that engine works on that kind; the others are repaired directly."""
        return engine is Engine.RESET or (engine is Engine.SIDEKIQ and redownload_job(kind, 0, "") is not None)

    def take(self, case: Case) -> bool:
        """Empty the record's columns and hand it over; waits while the queue is full.

        False if it is better repaired directly: there is no address a worker could use, or the worker, which downloads a
        medium's file and thumbnail together, could lose the one that is sound (facts §0.6, §6.2).

        Raises:
            SourceError: Redis does not answer. DatabaseError, StorageError, JournalError: as everywhere.
        """
        t = case.target
        if self._engine is Engine.RESET and not resettable(case):
            detail = f"nothing in Mastodon would ever fetch {t.kind.name} again; use the engine direct"
            self._close(replace(undecided(t), outcome=Outcome.REFUSED, reason="nothing_fetches", detail=detail))
            return True
        if t.kind is not PREVIEW_CARDS and not (t.row.remote_url or "").startswith(("https://", "http://")):
            return False
        if self._engine is Engine.SIDEKIQ and self._has_sound_sibling(t):
            return False
        job, at = None, 0.0
        if self._engine is Engine.SIDEKIQ:
            job = redownload_job(t.kind, t.row.record.id, self._run)
            if not self._wait_for_room():
                detail = f"the queue held {self._limits.max_queue} jobs or more for {self._limits.wait_s:g} s"
                self._close(replace(undecided(t), outcome=Outcome.DEFERRED, reason="queue_full", detail=detail))
                return True
            at = self._moment(origin_host(t.row.remote_url or ""))
        fresh = self._mender.look_again(case)
        if not isinstance(fresh, Fresh):
            self._close(fresh)
            return True
        t = fresh.target
        columns, present = self._mender.columns(t), self._mender.present(t)
        plan = plan_reset(t, columns, present, job, at, self._run, self._parts.instance.key_prefix)
        try:
            self._executor.apply(plan.outcome, plan.actions)
        except Conflict as conflict:
            self._close(changed(plan.outcome, Outcome.DEFERRED, ROW_CHANGED, str(conflict)))
            return True
        if job is None:
            self._close(plan.outcome)
            return True
        self._executor.close(plan.outcome)  # should we be cut off while watching, this is what is known
        self._last_start = max(self._last_start, at, self._clock())
        self._watched.setdefault(t.kind, {})[t.row.record.id] = plan.outcome
        return True

    def _has_sound_sibling(self, t: Target) -> bool:
        sibling = {MEDIA_FILES: MEDIA_THUMBNAILS, MEDIA_THUMBNAILS: MEDIA_FILES}.get(t.kind)
        if sibling is None:
            return False
        prefix = self._parts.instance.key_prefix
        rows = read_rows(self._parts.database, sibling, [t.row.record.id]).values()
        return any(not found for found in broken_files([target(sibling, r, prefix) for r in rows], self._parts.store))

    def watch(self) -> None:
        """Until every record handed over is filled, or has had its time."""
        while any(self._watched.values()):
            for kind, waiting in self._watched.items():
                self._look(kind, waiting)
            if self._clock() > self._last_start + self._limits.wait_s:
                break
            if any(self._watched.values()):
                self._sleep(_POLL_S)
        for waiting in self._watched.values():
            for outcome in waiting.values():
                self._close(
                    replace(outcome, detail=f"{outcome.detail}; it was not done within {self._limits.wait_s:g} s")
                )
            waiting.clear()

    def _look(self, kind: Kind, waiting: dict[int, RecordOutcome]) -> None:
        ids = list(waiting)
        for start in range(0, len(ids), _ROWS):
            rows = read_rows(self._parts.database, kind, ids[start : start + _ROWS])
            targets = [target(kind, row, self._parts.instance.key_prefix) for row in rows.values() if not row.in_flight]
            for t, broken in self._judged(targets):
                outcome = waiting.pop(t.row.record.id)
                if isinstance(broken, RecordOutcome):
                    self._close(replace(broken, source=outcome.source))
                elif broken:
                    detail = f"Mastodon filled the row, but {broken[0].key} is {broken[0].state}"
                    self._close(changed(outcome, Outcome.DEFERRED, "verify_failed", detail))
                else:
                    done = changed(outcome, Outcome.REFRESHED, "by_mastodon", "")
                    size = t.row.record.file_size or 0
                    self._close(replace(done, source=Source.ORIGIN, files=len(t.files), bytes=size))

    def _judged(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Sequence[Finding] | RecordOutcome]]:
        """What is broken of each; all at once, or one by one where that meets a defect, which is then that record's."""
        try:
            yield from zip(targets, broken_files(targets, self._parts.store), strict=True)
        except Exception as error:
            if is_everybody_s(error):
                raise
            if len(targets) == 1:
                yield targets[0], trouble(undecided(targets[0]), error)
                return
            for one in targets:
                yield from self._judged([one])

    def _wait_for_room(self) -> bool:
        """While queue and schedule hold as much as they may; False if that does not end."""
        patience = self._clock() + self._limits.wait_s
        while True:
            while self._scheduled and self._scheduled[0] < self._clock() - _POLLER_S:
                heapq.heappop(self._scheduled)
            if self._parts.sidekiq.waiting() + len(self._scheduled) < self._limits.max_queue:
                return True
            if self._clock() > patience:
                return False
            for kind, waiting in self._watched.items():
                self._look(kind, waiting)
            self._sleep(_POLL_S)

    def _moment(self, host: str) -> float:
        """When the next job for that host may begin; 0 is at once."""
        now = self._clock()
        at = max(now, self._next.get(host, 0.0))
        self._next[host] = at + (1 / self._limits.rate if self._limits.rate else 0)
        if at <= now:
            return 0.0
        heapq.heappush(self._scheduled, at)
        return at
