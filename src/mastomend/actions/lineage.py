"""Runs and the undos that are about them: a run, what took it back, what took that back. Which of them still stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mastomend.actions.journal import JournaledRun


class Lineage:
    """All runs of a journal. An undo counts once it has ended and met no conflict: until then it may be asked for again. What
    undid or redid something else of its family meanwhile is in its way all the same.
    """

    def __init__(self, runs: Iterable[JournaledRun]) -> None:
        self._runs = {run.id: run for run in runs}

    def first(self, run: str) -> str:
        """The run that is no undo, which that one is in the end about."""
        while run in self._runs and (undone := self._runs[run].undoes):
            run = undone
        return run

    def overtaken_by(self, run: str) -> JournaledRun | None:
        """The later undo because of which nothing is any more as that run left it; None if it stands.

        A run stands as well when the undo of it was taken back.
        """
        family = [
            one for one in self._runs.values() if one.undoes and one.id != run and self.first(one.id) == self.first(run)
        ]
        later = [one for one in family if self._is_whole(one) or self._has_passed(one, run)]
        newest = max(later, key=lambda one: (one.started_at, one.id), default=None)
        if newest is None or (newest.started_at, newest.id) < (self._runs[run].started_at, run):
            return None
        stands_again = self._runs[run].undoes is None and self._depth(newest.id) % 2 == 0
        return None if stands_again else newest

    def partly_taken_back(self, run: str) -> JournaledRun | None:
        """The newest undo of that run that did something, and left something, if it has not been taken back whole."""
        ended = [one for one in self._runs.values() if one.undoes == run and one.finished_at]
        some = [one for one in ended if one.summary.get("conflicts") and one.summary.get("reverted")]
        newest = max(some, key=lambda one: (one.started_at, one.id), default=None)
        return newest if newest is not None and self.overtaken_by(newest.id) is None else None

    def purged_by(self, run: str) -> JournaledRun | None:
        """The cleanup that removed files that run had put into the quarantine."""
        return next((one for one in self._runs.values() if run in one.summary.get("of", ())), None)

    def _has_passed(self, later: JournaledRun, run: str) -> bool:
        """Whether an undo that left something nevertheless went over what that undo did: it was about another of its family."""
        has_begun = later.finished_at is None or bool(later.summary.get("reverted"))
        return has_begun and self._runs[run].undoes is not None and later.undoes != run

    @staticmethod
    def _is_whole(run: JournaledRun) -> bool:
        return run.finished_at is not None and not run.summary.get("conflicts")

    def _depth(self, run: str) -> int:
        undone = self._runs[run].undoes if run in self._runs else None
        return 0 if undone is None else 1 + self._depth(undone)
