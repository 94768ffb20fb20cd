"""Runs and the undos that are about them: a run, what took it back, what took that back. Which of them still stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mastomend.actions.journal import JournaledRun


class Lineage:
    """All runs of a journal. An undo counts once it has ended and met no conflict: until then it may be asked for again."""

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
        family = [run for run in self._runs.values() if self._is_whole(run)]
        later = [one for one in family if one.undoes and self.first(one.id) == self.first(run) and one.id != run]
        newest = max(later, key=lambda one: (one.started_at, one.id), default=None)
        if newest is None or (newest.started_at, newest.id) < (self._runs[run].started_at, run):
            return None
        stands_again = self._runs[run].undoes is None and self._depth(newest.id) % 2 == 0
        return None if stands_again else newest

    @staticmethod
    def _is_whole(run: JournaledRun) -> bool:
        return run.finished_at is not None and not run.summary.get("conflicts")

    def _depth(self, run: str) -> int:
        undone = self._runs[run].undoes if run in self._runs else None
        return 0 if undone is None else 1 + self._depth(undone)
