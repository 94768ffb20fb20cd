"""What became of a record is recorded here: in the run's journal, and in the ledger of what is still broken."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
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
    """Closes records; used from several threads. `advance` hears of each that is decided.

    Of those that Mastodon was asked for the run's journal knows; their outcome is still to come.
    """

    def __init__(
        self, run: Run, ledger: Ledger, now: Callable[[], datetime], advance: Callable[[int], None] = lambda _: None
    ) -> None:
        self.run = run
        self._handed: dict[RowOf, Done] = {}
        self._ledger = ledger
        self._now = now
        self._advance = advance
        self._lock = threading.Lock()

    def close(self, done: Done | None) -> Done | None:
        """Record an outcome, or that a record needs none (None): it is whole by now, or gone from the database."""
        if done is None:
            self._advance(1)
            return None
        if done.verdict.reason is not Reason.HANDED_OVER:
            return self.settle(done)
        assert isinstance(done.subject, RowOf)
        self.run.close(done)  # should we be cut off while Mastodon is at it, this is what is known
        with self._lock:
            self._handed[done.subject] = done
        return done

    def settle(self, done: Done) -> Done:
        """Record what is not going to change any more."""
        assert isinstance(done.subject, RowOf)
        settled = replace(done, verdict=self._ledger.settle(done.subject, done.verdict, self._now()))
        self.run.close(settled)
        self._advance(1)
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
