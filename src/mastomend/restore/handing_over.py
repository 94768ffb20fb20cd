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
from functools import partial

from mastomend.actions.run import Run
from mastomend.actions.trouble import is_everybody_s, trouble
from mastomend.database.rows import read_rows
from mastomend.inventory.inspect import broken_files, target
from mastomend.mastodon.clearing import OCCASIONS
from mastomend.mastodon.configuration import origin_host
from mastomend.mastodon.jobs import Job, redownload_job
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.outcomes import Deferred, Engine, Refreshed, Refused, Source, Verdict
from mastomend.plans.repair import subject
from mastomend.plans.reset import plan_reset
from mastomend.reasons import Reason
from mastomend.restore.case import Broken, Case, Fresh, Means
from mastomend.restore.chain import Chain
from mastomend.restore.change import BUSY, Changes
from mastomend.vocabulary import Done, Finding, Target

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
        run: Run,
        means: Means,
        changes: Changes,
        limits: HandOverLimits,
        close: Callable[[Done | None], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._run = run
        self._means = means
        self._changes = changes
        self._limits = limits
        self._close = close
        self._clock = clock
        self._sleep = sleep
        self._next: dict[str, float] = {}
        self._scheduled: list[float] = []
        self._watched: dict[Kind, dict[int, Done]] = {}
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
            self._close(Done(subject(t), Refused(Reason.NOTHING_FETCHES, detail)))
            return True
        if t.kind is not PREVIEW_CARDS and not (t.row.remote_url or "").startswith(("https://", "http://")):
            return False
        if self._engine is Engine.SIDEKIQ and self._has_sound_sibling(t):
            return False
        job, at = None, 0.0
        if self._engine is Engine.SIDEKIQ:
            job = redownload_job(t.kind, t.row.record.id, self._run.id)
            if not self._wait_for_room():
                detail = f"the queue held {self._limits.max_queue} jobs or more for {self._limits.wait_s:g} s"
                self._close(Done(subject(t), Deferred(Reason.QUEUE_FULL, detail)))
                return True
            at = self._moment(origin_host(t.row.remote_url or ""))
        with self._changes.alone(t) as free:
            done = self._emptied(case, job, at) if free else Done(subject(t), BUSY)
        if done is None or job is None or done.verdict.reason is not Reason.HANDED_OVER:
            self._close(done)
            return True
        self._run.close(done)  # should we be cut off while watching, this is what is known
        self._last_start = max(self._last_start, at, self._clock())
        self._watched.setdefault(t.kind, {})[t.row.record.id] = done
        return True

    def _emptied(self, case: Case, job: Job | None, at: float) -> Done | None:
        """The record's columns emptied and the job handed over; None if it is whole by now, or gone."""
        fresh = self._changes.look_again(case)
        if not isinstance(fresh, Fresh):
            return None if fresh is None else Done(subject(case.target), fresh)
        t = fresh.target
        columns, present = t.row.columns, self._changes.present(t)
        prefix = self._means.key_prefix
        return self._run.change(plan_reset(t, columns, present, job, at, self._run.id, prefix))

    def _has_sound_sibling(self, t: Target) -> bool:
        sibling = {MEDIA_FILES: MEDIA_THUMBNAILS, MEDIA_THUMBNAILS: MEDIA_FILES}.get(t.kind)
        if sibling is None:
            return False
        prefix = self._means.key_prefix
        rows = read_rows(self._means.database, sibling, [t.row.record.id]).values()
        return any(not found for found in broken_files([target(sibling, r, prefix) for r in rows], self._means.store))

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
            for done in waiting.values():
                said = f"{done.verdict.detail}; it was not done within {self._limits.wait_s:g} s"
                self._close(replace(done, verdict=replace(done.verdict, detail=said)))
            waiting.clear()

    def _look(self, kind: Kind, waiting: dict[int, Done]) -> None:
        ids = list(waiting)
        for start in range(0, len(ids), _ROWS):
            rows = read_rows(self._means.database, kind, ids[start : start + _ROWS])
            targets = [target(kind, row, self._means.key_prefix) for row in rows.values() if not row.in_flight]
            for t, broken in self._judged(targets):
                done = waiting.pop(t.row.record.id)
                self._close(replace(done, verdict=self._filled(t, broken, done.verdict.source)))

    def _filled(self, t: Target, broken: Sequence[Finding] | Verdict, source: Source | None) -> Verdict:
        """What became of a record whose row Mastodon has filled."""
        if not isinstance(broken, Sequence):
            return replace(broken, source=source)
        if broken:
            said = f"Mastodon filled the row, but {broken[0].key} is {broken[0].state}"
            return Deferred(Reason.VERIFY_FAILED, said, source)
        return Refreshed(Reason.BY_MASTODON, Source.ORIGIN, len(t.files), t.row.record.file_size or 0)

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

    def _wait_for_room(self) -> bool:
        """While queue and schedule hold as much as they may; False if that does not end."""
        patience = self._clock() + self._limits.wait_s
        while True:
            while self._scheduled and self._scheduled[0] < self._clock() - _POLLER_S:
                heapq.heappop(self._scheduled)
            if self._means.sidekiq.waiting() + len(self._scheduled) < self._limits.max_queue:
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


def hand_over(
    chain: Chain, handing: HandingOver, batches: Iterator[list[Broken]], close: Callable[[Done | None], None]
) -> list[Broken]:
    """What the storage or a backup has is restored here; for the rest Mastodon is asked to fetch.

    Returns the records that are better repaired directly.
    """
    returned: list[Broken] = []

    def hand(case: Case) -> None:
        taken = chain.attempt(case, lambda: handing.take(case))
        if not isinstance(taken, bool):
            close(Done(subject(case.target), taken))
        elif not taken:
            returned.append(Broken(case.target.kind, case.target.row.record.id, case.corrupt))

    def restore_stored(case: Case) -> Verdict | bool | None:
        """The verdict; False if what was stored turned out to be useless."""
        way = chain.restore(case)
        try:
            next(way)
        except StopIteration as end:
            verdict: Verdict | None = end.value
            return verdict
        way.close()
        return False

    for batch in batches:
        items = chain.look(batch)
        for _ in range(len(batch) - len(items)):
            close(None)
        for item in items:
            if isinstance(item, Done):
                close(item)
            elif item.source in (Source.ORIGIN, Source.PAGE):
                hand(item)
            else:
                verdict = chain.attempt(item, partial(restore_stored, item))
                if isinstance(verdict, bool):
                    hand(replace(item, source=Source.ORIGIN, copies={}))
                else:
                    close(None if verdict is None else Done(subject(item.target), verdict))
    handing.watch()
    return returned
