"""`undo RUN`: take a run back, newest change first. Itself a journaled run, so it can be taken back too.

Rows go back only if they still are as the run left them; files come back from the quarantine only where nothing is by
now. Whatever was changed since is a conflict: reported, left alone. What nothing takes back (a file that was deleted for
good) is said before anything is done. The dry run makes the same plans and looks at the same things.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import takewhile
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
from mastomend.commands.undo_report import SHOWN, UndoReport
from mastomend.database.rows import barred_from, kinds_of
from mastomend.errors import ConfigurationError, DatabaseError, SafetyStop
from mastomend.ids import chosen, new_id
from mastomend.mastodon.rows_sql import must_see
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf

#: What removes for good: there is nothing to take back.
_FOR_GOOD = ("cleanup",)


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
        undone = _find(journal, instance.state, run_id, apply=apply, progress=progress)
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


def _latest(journal: Journal, runs: Sequence[JournaledRun], *, apply: bool, progress: Progress) -> str:
    """The newest run that is no undo, or it would take back itself, and that changed something an undo takes back. With
    `apply` none newer that changed something is passed over: whoever means that one would take back another.
    """
    begun = set(journal.unsettled())  # cut off before it could be written down what was done: it is settled first
    some = [run for run in runs if not run.undoes and run.command not in _FOR_GOOD]
    passed = list(takewhile(lambda run: run.summary.get("reversible") == 0, _changing(journal, some, begun)))
    latest = next((r.id for r in _changing(journal, some, begun) if r.summary.get("reversible") != 0), None)
    stays = "What was brought back for your own users stays."
    if latest is None:
        own = f" {stays}" if passed else ""
        raise ConfigurationError(f"No run has changed anything here that could be taken back.{own}")
    if passed:
        said = f"Nothing is taken back of {passed[0].id}, the newest run that changed something. {stays}"
        if apply:
            raise ConfigurationError(said, hint=f"The one before, if you mean that: mastomend undo {latest} --apply")
        progress.note(f"{said} This is the one before.")
    return latest


def _changing(journal: Journal, runs: Iterable[JournaledRun], begun: Set[str]) -> Iterator[JournaledRun]:
    return (run for run in runs if run.id in begun or journal.changed(run.id))


def _find(journal: Journal, state: Path, run_id: str, *, apply: bool, progress: Progress) -> JournaledRun:
    runs = journal.runs()
    if run_id == "latest":
        run_id = _latest(journal, runs, apply=apply, progress=progress)
    if run_id not in {r.id for r in runs} and any((state / kept / run_id).exists() for kept in ("scans", "runs")):
        raise ConfigurationError(f"{run_id} changed nothing: it was a check, or a run without --apply.")
    run_id = chosen(run_id, (r.id for r in runs), "run", "See them with: mastomend history")
    found = next(r for r in runs if r.id == run_id)
    lineage = Lineage(runs)
    later = lineage.overtaken_by(found.id)
    goes_on = later is not None and later.finished_at is None and later.undoes == found.id
    goes_on |= found.id in journal.unsettled()  # what it has done is known once that is settled
    if later is not None and not goes_on and journal.changed(found.id) and not journal.standing(found.id):
        how = "taken back already, by" if later.undoes == found.id else "overtaken by a later undo,"
        back = f"To take that one back: mastomend undo {later.id} --apply"
        if (purged := lineage.purged_by(later.id)) is not None:
            back = f"The files that one took away, cleanup {purged.id} has removed: they come back by a repair."
        raise ConfigurationError(
            f"Run {run_id} was {how} {later.id}.", hint=f"Older runs that still stand are in history. {back}"
        )
    return found
