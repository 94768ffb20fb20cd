"""`history`: every run with what it did. Reads the journal, nothing else."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mastomend.actions.journal import Journal, JournaledRun
from mastomend.actions.ledger import Entry, Ledger
from mastomend.actions.lineage import Lineage
from mastomend.actions.owners import is_alive
from mastomend.commands.instance import Instance
from mastomend.commands.names import names_of, read
from mastomend.ids import chosen
from mastomend.outcomes import Outcome
from mastomend.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run, what became of its records, and how many changes of each sort it made. `files_served` are handed out otherwise
    since (permission, type, headers). `taken_back` is the run that took it back; `half_done` plans the next changing command
    settles first; `is_alive`: it is running; `partly` the undo that took back some of it, of which `standing` records are
    left; `purged_by` the cleanup that removed files it had set aside; `has_report` tells whether `show` has more of it.
    """

    run: JournaledRun
    outcomes: Counter[Outcome]
    rows_changed: int
    files_written: int
    files_moved: int
    files_deleted: int = 0
    files_served: int = 0
    posts_deleted: int = 0
    posts_restored: int = 0
    jobs: int = 0
    taken_back: str | None = None
    has_report: bool = True
    half_done: int = 0
    is_alive: bool = False
    partly: str | None = None
    standing: int = 0
    purged_by: str | None = None

    @property
    def has_changed(self) -> bool:
        """Whether it changed anything that an undo would look at, and take back some of it."""
        return self.run.summary.get("reversible") != 0 and bool(
            self.rows_changed + self.files_written + self.files_moved + self.files_served
            + self.posts_deleted + self.posts_restored
        )  # fmt: skip

    @property
    def reports_removed(self) -> int:
        """How many scans and reports of runs a cleanup has removed."""
        return int(self.run.summary.get("reports", 0))

    @property
    def did_nothing(self) -> bool:
        """Whether it ended, and there was nothing to do: a timer's usual run."""
        changed = self.outcomes.total() or self.has_changed or self.reports_removed
        was_begun = self.run.command == "migrate" and self.run.summary.get("cut_off")
        return self.run.finished_at is not None and not changed and not was_begun

    @property
    def state(self) -> str:
        """`finished`, `running`, or `cut off` for a run that did not end by itself."""
        if self.is_alive:
            return "running"
        return "finished" if self.run.finished_at and not self.run.summary.get("cut_off") else "cut off"


def history(instance: Instance) -> list[PastRun]:
    """All runs, newest first. An instance that was never changed has none; what looked and found nothing to do is none."""
    return [one for one in _all(instance) if not one.did_nothing]


def _all(instance: Instance) -> list[PastRun]:
    if not (instance.state / "journal.sqlite3").exists():
        return []
    with contextlib.closing(Journal(instance.state)) as journal:
        runs = journal.runs()
        lineage = Lineage(runs)
        return [_past(journal, instance, run, lineage) for run in runs]


def one(instance: Instance, name: str) -> tuple[PastRun, Counter[tuple[Outcome, str]]]:
    """One run, and what became of its records for which reasons; also one that found nothing to do, if it is named.

    Raises:
        ConfigurationError: there is none of that name.
    """
    runs = {past.run.id: past for past in _all(instance)}
    listed = [run for run, past in runs.items() if not past.did_nothing]
    where = "See them with: mastomend history" if runs else "Nothing was changed here. What is broken: mastomend check"
    found = runs[chosen(name, listed if name == "latest" else runs, "run", where)]
    with contextlib.closing(Journal(instance.state)) as journal:
        return found, journal.reason_counts(found.run.id)


def refused(instance: Instance) -> int:
    """How many records are known to have been refused."""
    if not (instance.state / "journal.sqlite3").exists():
        return 0
    with contextlib.closing(Journal(instance.state)) as journal:
        return Ledger(journal, instance.settings.deferral).number(Outcome.REFUSED)


def named(instance: Instance, entries: Sequence[Entry], progress: Progress = Silent()) -> dict[tuple[str, int], str]:
    """What those records are called, where the database says it."""
    names: dict[tuple[str, int], str] = {}
    with names_of(instance, progress) as database:
        if database is None:
            return names
        for start in range(0, len(entries), 1_000):
            some = [(entry.kind, entry.id) for entry in entries[start : start + 1_000]]
            names |= {record: name for record, (name, _) in read(database, some).items()}
    return names


def _past(journal: Journal, instance: Instance, run: JournaledRun, lineage: Lineage) -> PastRun:
    later, changed = lineage.overtaken_by(run.id), journal.changed(run.id)
    purged = lineage.purged_by(run.id)
    left = changed if later is None else journal.standing(run.id)
    done = journal.actions_done(run.id)
    outcomes = journal.outcome_counts(run.id)
    if outcomes[Outcome.COPIED]:  # one plan for all of its files
        outcomes[Outcome.COPIED] = int(run.summary.get("copied") or outcomes[Outcome.COPIED])
    has_report = os.access(instance.state / "runs" / run.id / "outcomes.parquet", os.R_OK)
    moved = done["quarantine"] + done["restore"] + done["preserve"]
    alive = run.finished_at is None and is_alive(instance.state, run.id)
    written, half_done = done["put"] + done["copy"], 0 if alive else len(journal.open_plans(run.id))
    by = later.id if later is not None and left < changed and not half_done else None
    return PastRun(
        run, outcomes, done["set"], written, moved, done["delete"], done["serve"], done["delete_post"],
        done["restore_post"], done["enqueue"], None if left else by, has_report, half_done, alive, by if left else None,
        left, purged.id if purged else None,
    )  # fmt: skip
