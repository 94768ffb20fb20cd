"""What became of a record is recorded here: in the run's journal, and in the ledger of what is still broken."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from mastomend.actions.ledger import Ledger
from mastomend.actions.run import Run
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_emptied
from mastomend.inventory.work_list import WorkList
from mastomend.mastodon.kinds import KIND_BY_NAME
from mastomend.reasons import Reason
from mastomend.vocabulary import Done, RowOf

#: Records that are asked about together.
_TOGETHER = 250


class Closing:
    """Closes records; used from several threads. `later` hears of each that was handed to Mastodon and is decided now.

    What was handed over is known to journal and ledger at once; its outcome is still to come.
    """

    def __init__(
        self, run: Run, ledger: Ledger, now: Callable[[], datetime], later: Callable[[int], None] = lambda _: None
    ) -> None:
        self.run = run
        self._handed: dict[RowOf, Done] = {}
        self._ledger = ledger
        self._now = now
        self._later = later
        self._lock = threading.Lock()

    def close(self, done: Done | None) -> Done | None:
        """Record an outcome. A record that is whole by now, or gone from the database, needs none (None)."""
        if done is None:
            return None
        closed = self._record(done)
        if done.verdict.reason is Reason.HANDED_OVER:
            self.take_up([done])
        return closed

    def take_up(self, handed: Iterable[Done]) -> None:
        """Records that were handed over, by this process or by one that was cut off: they have no outcome yet."""
        with self._lock:
            self._handed |= {one.subject: one for one in handed if isinstance(one.subject, RowOf)}

    def settle(self, done: Done) -> None:
        """Record what became of a record that was handed over."""
        self._record(done)
        self._later(1)

    def _record(self, done: Done) -> Done:
        assert isinstance(done.subject, RowOf)
        settled = replace(done, verdict=self._ledger.settle(done.subject, done.verdict, self._now()))
        self.run.close(settled)
        return settled

    def waiting(self) -> list[RowOf]:
        """The records that were handed over and have no outcome yet."""
        with self._lock:
            return list(self._handed)

    def take_handed(self, row: RowOf | None = None) -> list[Done]:
        """That one of them, or all: it is the caller's to settle them."""
        with self._lock:
            rows = list(self._handed) if row is None else [row]
            return [self._handed.pop(one) for one in rows if one in self._handed]


def forget_whole(records: WorkList, ledger: Ledger, database: MastodonDatabase) -> None:
    """After a check: what it no longer found broken is whole, or gone from the database, and leaves the ledger.

    But for records that were handed to Mastodon and that it has not filled: a check cannot see them.
    """
    ledger.forget(records.sound(ledger.records(handed_over=False)))
    for kind, group in itertools.groupby(records.sound(ledger.records(handed_over=True)), key=lambda record: record[0]):
        while ids := [record_id for _, record_id in itertools.islice(group, _TOGETHER)]:
            filled = set(ids).difference(read_emptied(database, KIND_BY_NAME[kind], ids))
            ledger.forget((kind, record_id) for record_id in filled)
