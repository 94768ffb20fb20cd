"""`undo RUN`: take a run back, newest change first. Itself a journaled run, so it can be taken back too.

Rows go back only if they still are as the run left them; files come back from the quarantine only where nothing is by
now. Whatever was changed since is a conflict: reported, left alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mastomend.actions.actions import Action, QuarantineFile, RestoreFile, SetColumns, inverse
from mastomend.actions.executor import Conflict, Executor, Writing
from mastomend.actions.journal import UNDONE, Journal, Plan, Run
from mastomend.actions.lock import application_name, changing_run
from mastomend.actions.trouble import is_everybody_s, trouble
from mastomend.commands.check import new_id
from mastomend.commands.instance import Instance
from mastomend.commands.parts import changing_parts
from mastomend.commands.progress import Progress, Silent
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.inventory.database import connect, is_pooled
from mastomend.outcomes import Outcome, RecordOutcome
from mastomend.storage.ports import MISSING, Lookup

_CONFLICT = "conflict"


@dataclass(slots=True)
class UndoReport:
    """The result: records taken back, records that had changed since."""

    run: str
    undoes: str
    applied: bool
    reverted: int = 0
    conflicts: int = 0
    details: list[str] = field(default_factory=list)

    def count(self, outcome: RecordOutcome) -> None:
        """Add one record."""
        if outcome.reason != UNDONE:
            self.conflicts += 1
            self.details.append(f"{outcome.kind} {outcome.id}: {outcome.detail}")
        else:
            self.reverted += 1
            if outcome.detail:
                self.details.append(f"{outcome.kind} {outcome.id}: {outcome.detail}")


def undo(instance: Instance, run_id: str, *, apply: bool, progress: Progress = Silent()) -> UndoReport:
    """Take a run back, or count what would be taken back.

    Raises:
        ConfigurationError: there is no such run, or it was taken back already.
        SafetyStop: another changing run holds the lock.
    """
    with contextlib.closing(Journal(instance.state)) as journal:
        run = _find(journal, run_id)
        cut_off = next((r for r in journal.runs() if r.undoes == run.id and not r.finished_at), None)
        new = cut_off.id if cut_off else new_id(datetime.now(UTC))
        report = UndoReport(new, run.id, apply)
        taken_back = journal.taken_back(run.id)
        changed = journal.changed(run.id) - taken_back
        progress.start(f"undo {run.id}", changed)
        if not apply:
            for _ in journal.plans(run.id, newest_first=True):  # what cannot be read is not promised
                pass
            report.reverted = changed
            return report
        connection = connect(instance.configuration.database, application_name(new), read_only=False)
        with (
            contextlib.closing(connection),
            changing_run(
                connection, instance.state, new, pooled=is_pooled(instance.configuration.database, connection)
            ),
            changing_parts(instance) as parts,
        ):
            if changed and not parts.store.probe():
                raise SafetyStop(
                    f"{instance.configuration.storage} is empty: this looks like a disk that is not mounted. "
                    "Nothing was changed.",
                    hint="Mount it, then run the same command again.",
                )
            for unsettled in (run.id, new):  # half-done changes are settled before they are taken back
                settler = parts.executor(unsettled, journal)
                for left in journal.open_plans(unsettled):
                    if (settled := settler.recover(left)) is not None:
                        settler.close(settled)
            if cut_off is None:
                journal.begin(new, "undo", run.id, scan=None, undoes=run.id)
            if run.finished_at is None:  # it must not go on after it was taken back
                journal.finish(run.id, {"cut_off": True})
            executor = parts.executor(new, journal)
            for plan in journal.plans(run.id, newest_first=True):
                is_decided = cut_off is not None and journal.is_decided(new, plan.kind, plan.id)
                if not is_decided and not (taken_back and journal.is_taken_back(run.id, plan.kind, plan.id)):
                    _take_back(executor, parts.store, plan, new, instance.key_prefix)
                progress.advance(1)
            for outcome in journal.outcomes(new):
                report.count(outcome)
            journal.finish(new, {"reverted": report.reverted, "conflicts": report.conflicts})
    return report


def _take_back(executor: Executor, store: Lookup, plan: Plan, run: str, key_prefix: str) -> None:
    outcome = replace(plan.outcome, outcome=Outcome.RESTORED, source=None, reason=UNDONE, detail="", files=0, bytes=0)
    try:
        outcome = replace(outcome, detail=executor.apply(outcome, _inverses(executor, store, plan, run, key_prefix)))
    except Conflict as conflict:
        outcome = replace(outcome, outcome=Outcome.REFUSED, reason=_CONFLICT, detail=str(conflict))
    except Exception as error:
        if is_everybody_s(error):
            raise
        told = trouble(outcome, error)
        outcome = replace(outcome, outcome=Outcome.REFUSED, reason=told.reason, detail=told.detail)
    executor.close(outcome)


def _inverses(executor: Executor, store: Lookup, plan: Plan, run: str, key_prefix: str) -> list[Action]:
    """Newest first. Where an earlier undo has set the row back and no more, what is left of it.

    Raises:
        Conflict: the row was changed since, a file is no longer the one that was written, or what should come back is not
            in the quarantine. Known before anything is touched, so that a conflict leaves a record whole.
    """
    done = [step.action for step in reversed(plan.steps) if step.done]
    rows = [action for action in done if isinstance(action, SetColumns)]
    began = bool(rows) and all(executor.row_is(row.table, row.id, row.before) for row in rows)
    if began:
        return [a for a in (inverse(action, run, key_prefix) for action in done) if not executor.happened(a)]
    actions = [inverse(action, run, key_prefix) for action in done]
    for action in done:
        if isinstance(action, SetColumns) and not executor.row_is(action.table, action.id, action.after):
            raise Conflict(f"{action.table} {action.id} was changed by somebody else meanwhile")
        if isinstance(action, Writing) and not executor.holds(action):
            raise Conflict(f"{action.key} is no longer the file that was written")
    moved_away = {action.key for action in actions if isinstance(action, QuarantineFile)}
    for restored in actions:
        if isinstance(restored, RestoreFile):
            at_key, at_quarantine = store.sizes([restored.key, restored.quarantine])
            if at_quarantine == MISSING:
                raise Conflict(f"{restored.key} is no longer in the quarantine")
            if at_key != MISSING and restored.key not in moved_away:
                raise Conflict(f"there is a file at {restored.key} again")
    return actions


def _find(journal: Journal, run_id: str) -> Run:
    runs = journal.runs()
    run = next((r for r in runs if r.id == run_id), None)
    if run is None:
        raise ConfigurationError(f"There is no run {run_id!r}.", hint="See them with: mastomend history")
    whole = [r for r in runs if r.undoes and r.finished_at and not r.summary.get("conflicts")]
    holding = [r for r in whole if r.id not in {undo.undoes for undo in whole}]  # was that undo itself taken back?
    taken_back = next((r for r in holding if r.undoes == run.id), None)
    if taken_back is not None:
        raise ConfigurationError(
            f"Run {run_id} was taken back already, by {taken_back.id}.",
            hint=f"To take that back: mastomend undo {taken_back.id} --apply",
        )
    return run
