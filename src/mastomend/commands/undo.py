"""`undo RUN`: take a run back, newest change first. Itself a journaled run, so it can be taken back too.

Rows go back only if they still are as the run left them; files come back from the quarantine only where nothing is by
now. Whatever was changed since is a conflict: reported, left alone. What nothing takes back (a file that was deleted for
good) is said before anything is done. The dry run makes the same plans and looks at the same things.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.journal import Journal, JournaledRun, Kept
from mastomend.actions.lineage import Lineage
from mastomend.actions.owners import is_alive, owned
from mastomend.actions.run import preview, run
from mastomend.actions.taking_back import TakingBack, of_different_rows
from mastomend.commands.instance import Instance
from mastomend.commands.names import who
from mastomend.commands.parts import Parts, changing_parts, ground
from mastomend.commands.restoration import said_barred
from mastomend.commands.undo_choice import find
from mastomend.commands.undo_report import SHOWN, UndoReport
from mastomend.database.rows import barred_from, kinds_of
from mastomend.errors import DatabaseError, SafetyStop
from mastomend.ids import new_id
from mastomend.mastodon.rows_sql import must_see
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf


def undo(
    instance: Instance, run_id: str, *, apply: bool, progress: Progress = Silent(), shown: int | None = SHOWN
) -> UndoReport:
    """Take a run back, or show what would be taken back: `shown` plans of it in words, None all of them.

    Raises:
        ConfigurationError: there is no such run, or it was taken back already.
        SafetyStop: another changing run is under way, this one itself perhaps, or the storage is empty.
    """
    new = new_id(datetime.now(UTC))
    with ground(instance, new, progress.note) as here, ExitStack() as stack:
        journal = here.journal
        undone = find(journal, instance.state, run_id, apply=apply, progress=progress)
        report = UndoReport(
            new, undone.id, undone.command, apply, irreversible=journal.irreversible(undone.id), shown=shown
        )
        if not apply:
            _foresee(journal, undone, stack.enter_context(changing_parts(instance)), report, progress, instance.state)
            return report
        with run(here, "undo", undone.id, new) as current:
            if not stack.enter_context(owned(instance.state, undone.id)):
                raise SafetyStop(f"Run {undone.id} is still under way.", hint="Wait for it to end, then take it back.")
            parts = stack.enter_context(changing_parts(instance))
            if (barred := _barred(parts, journal, undone)) is not None:
                raise barred
            left = journal.standing(undone.id)
            progress.start(f"undo {undone.id}", left)
            if left and not parts.store.probe():
                raise SafetyStop(
                    f"{instance.configuration.storage} is empty: this looks like a disk that is not mounted. "
                    "Nothing was changed.",
                    hint="Mount it, then run the same command again.",
                )
            current.begin(parts.world(), undoes=undone.id, resumed_within_s=None)
            report.run = current.id
            _end_cut_off(journal, undone, current.id)
            planner = TakingBack(parts.world(), current.id)
            if report.irreversible:
                progress.note(
                    f"{report.irreversible:,} of its records have changes that nothing takes back: files that were deleted, or "
                    "copied elsewhere."
                )
            for some in of_different_rows(_unreversed(journal, undone, progress)):
                for _ in current.execute([planner.plan(kept) for kept in some]):
                    pass
            for done in journal.outcomes(current.id):  # what an earlier try of this undo did counts, too
                report.count(done)
            current.summary = {"reverted": report.reverted, "conflicts": report.conflicts}
            report.names = dict(zip(report.left, who(parts.database, report.left), strict=True))
    return report


def _foresee(
    journal: Journal,
    undone: JournaledRun,
    parts: Parts,
    report: UndoReport,
    progress: Progress,
    state: Path,
) -> None:
    """What would be taken back, and what would keep it from being."""
    if (barred := _barred(parts, journal, undone)) is not None:
        said_barred(barred, progress)
        report.is_barred = True
    if begun := len(journal.open_plans(undone.id)):
        report.unsettled = True
        progress.note(f"{begun:,} of its records are half done, as it was cut off: --apply settles them first.")
    for one in Lineage(journal.runs()).family(undone.id):
        if one.finished_at is None and one.undoes != undone.id and not is_alive(state, one.id):
            report.unsettled |= bool(journal.open_plans(one.id))
            progress.note(f"{one.id}, an undo about the same records, was cut off: --apply ends it where it stopped.")
    if undone.finished_at is None:
        with contextlib.suppress(OSError), owned(state, undone.id) as has_ended:
            if not has_ended:
                progress.note("That run is still under way: --apply stops until it has ended.")
    progress.start(f"undo {undone.id}", journal.standing(undone.id))
    planner = TakingBack(parts.world(), report.run)
    cut_off = [one.id for one in journal.runs() if one.undoes == undone.id and one.finished_at is None]
    settled = {plan.plan.part for one in cut_off for plan in journal.open_plans(one)}
    for done in (done for one in cut_off for done in journal.outcomes(one)):
        report.count(done)
    report.goes_on = bool(cut_off)
    if cut_off:
        progress.note("An undo of it was cut off: --apply goes on with that.")
    for kept in _unreversed(journal, undone, progress):
        if kept.number not in settled:
            report.count(*preview([planner.foreseen(kept)], report.show))
    report.reverted += len(settled)
    rows = [(s.kind, s.id) for s in (plan.subject for plan in report.plans) if isinstance(s, RowOf)] + report.left
    report.names = dict(zip(rows, who(parts.database, rows), strict=True))


def _barred(parts: Parts, journal: Journal, undone: JournaledRun) -> DatabaseError | None:
    """Why this user could not take it back.

    Raises:
        DatabaseError: it may not even read what has to be looked at; with every right that is missing.
    """
    barred = barred_from(parts.database, journal.columns_set(undone.id))
    try:
        parts.database.require(must_see(kinds_of(parts.database)))
    except DatabaseError as unseen:
        if barred is not None:
            unseen.statements += barred.statements
        raise
    return barred


def _end_cut_off(journal: Journal, undone: JournaledRun, current: str) -> None:
    """What was cut off must not go on after it was taken back, nor beside what is done to the same records now."""
    runs = journal.runs()
    for one in [undone, *Lineage(runs).family(undone.id)]:
        if one.finished_at is None and one.id != current:
            done = journal.reason_counts(one.id)
            reverted = sum(n for (_, reason), n in done.items() if reason == Reason.UNDONE)
            journal.finish(one.id, {"cut_off": True, **({"reverted": reverted} if one.undoes else {})})


def _unreversed(journal: Journal, undone: JournaledRun, progress: Progress) -> Iterator[Kept]:
    """What is left to be taken back, newest first. Read some at a time: the journal grows meanwhile."""
    for kept in journal.plans(undone.id, newest_first=True, but_taken_back=True):
        yield kept
        progress.advance(1)
