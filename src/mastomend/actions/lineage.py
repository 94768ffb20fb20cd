"""Runs and the undos that are about them: a run, what took it back, what took that back. Pure.

Which plans of a run still stand, the journal says (`standing`); this says whom to name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mastomend.actions.journal import JournaledRun


class Lineage:
    """All runs of a journal."""

    def __init__(self, runs: Iterable[JournaledRun]) -> None:
        self._runs = {run.id: run for run in runs}

    def first(self, run: str) -> str:
        """The run that is no undo, which that one is in the end about."""
        while run in self._runs and (undone := self._runs[run].undoes):
            run = undone
        return run

    def family(self, run: str) -> Iterator[JournaledRun]:
        """That run's undos, theirs, and what they are about; without itself."""
        first = self.first(run)
        return (one for one in self._runs.values() if one.id != run and self.first(one.id) == first)

    def overtaken_by(self, run: str) -> JournaledRun | None:
        """The newest undo about the same that came after it and has done something, or may have; None if there is none."""
        asked = self._runs[run]
        later = (one for one in self.family(run) if (one.started_at, one.id) > (asked.started_at, run))
        did = (one for one in later if one.undoes and (one.summary.get("reverted") or self._is_cut_off(one)))
        return max(did, key=lambda one: (one.started_at, one.id), default=None)

    def purged_by(self, run: str) -> JournaledRun | None:
        """The cleanup that removed files that run had put into the quarantine."""
        return next((one for one in self._runs.values() if run in one.summary.get("of", ())), None)

    @staticmethod
    def _is_cut_off(run: JournaledRun) -> bool:
        return run.finished_at is None or bool(run.summary.get("cut_off"))
