"""What became of a record is recorded here: in the run's journal, and in the ledger of what is still broken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from mastomend.actions.ledger import Ledger
from mastomend.actions.run import Run
from mastomend.reasons import Reason
from mastomend.vocabulary import Done, RowOf


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
