"""`undo RUN`: take a run back, newest change first. Itself a journaled run, so it can be taken back too.

Rows go back only if they still are as the run left them; files come back from the quarantine only where nothing is by
now. Whatever was changed since is a conflict: reported, left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mastomend.actions.actions import Action, PutFile, inverse
from mastomend.actions.executor import Conflict, Executor
from mastomend.actions.journal import Journal, Plan, Run
from mastomend.actions.lock import application_name, changing_run
from mastomend.commands.check import new_id
from mastomend.commands.instance import Instance
from mastomend.commands.progress import Progress, Silent
from mastomend.commands.repair import changing_parts
from mastomend.errors import ConfigurationError
from mastomend.inventory.database import connect
from mastomend.inventory.expectations import DatabaseExpectations
from mastomend.outcomes import Outcome


@dataclass(slots=True)
class UndoReport:
    """The result: records taken back, records that had changed since."""

    run: str
    undoes: str
    applied: bool
    reverted: int = 0
    conflicts: int = 0
    details: tuple[str, ...] = ()


def undo(instance: Instance, run_id: str, *, apply: bool, progress: Progress = Silent()) -> UndoReport:
    """Take a run back, or count what would be taken back.

    Raises:
        ConfigurationError: there is no such run, or it was taken back already.
        SafetyStop: another changing run holds the lock.
    """
    with contextlib.closing(Journal(instance.state)) as journal:
        run = _find(journal, run_id)
        new = new_id(datetime.now(UTC))
        report = UndoReport(new, run.id, apply)
        plans = list(journal.plans(run.id))
        progress.start(f"undo {run.id}", len(plans))
        if not apply:
            report.reverted = len(plans)
            return report
        connection = connect(instance.configuration.database, application_name(new), read_only=False)
        with (
            contextlib.closing(connection),
            changing_run(connection, instance.state, new),
            changing_parts(instance) as (database, store, pool),
        ):
            expectations = DatabaseExpectations(database, instance.key_prefix)
            for left in journal.open_plans(run.id):  # half-done changes are settled before they are taken back
                settled = Executor(run.id, journal, store, pool, expectations, instance.key_prefix).recover(left)
                if settled is not None:
                    journal.outcome(run.id, settled)
            journal.begin(new, "undo", run.id, scan=None, undoes=run.id)
            executor = Executor(new, journal, store, pool, expectations, instance.key_prefix)
            for plan in reversed(list(journal.plans(run.id))):
                _take_back(executor, plan, report, instance.key_prefix)
                progress.advance(1)
            journal.finish(new, {"reverted": report.reverted, "conflicts": report.conflicts})
    return report


def _take_back(executor: Executor, plan: Plan, report: UndoReport, key_prefix: str) -> None:
    outcome = replace(plan.outcome, outcome=Outcome.RESTORED, source=None, reason="undone", files=0, bytes=0)
    try:
        executor.apply(outcome, list(_inverses(executor, plan, report.run, key_prefix)))
        report.reverted += 1
    except Conflict as conflict:
        report.conflicts += 1
        report.details = (*report.details, f"{plan.kind} {plan.id}: {conflict}")
        outcome = replace(outcome, outcome=Outcome.REFUSED, reason="conflict", detail=str(conflict))
    executor.close(outcome)


def _inverses(executor: Executor, plan: Plan, run: str, key_prefix: str) -> Iterator[Action]:
    """Newest first. A file that is no longer the one we wrote is a conflict before anything is touched."""
    for step in reversed(plan.steps):
        if not step.done:
            continue
        if isinstance(step.action, PutFile) and not executor.holds(step.action):
            raise Conflict(f"{step.action.key} is no longer the file that was written")
        yield inverse(step.action, run, key_prefix)


def _find(journal: Journal, run_id: str) -> Run:
    runs = journal.runs()
    run = next((r for r in runs if r.id == run_id), None)
    if run is None:
        raise ConfigurationError(f"There is no run {run_id!r}.", hint="See them with: mastomend history")
    taken_back = next((r for r in runs if r.undoes == run.id and r.finished_at), None)
    if taken_back is not None:
        raise ConfigurationError(
            f"Run {run_id} was taken back already, by {taken_back.id}.",
            hint=f"To take that back: mastomend undo {taken_back.id} --apply",
        )
    return run
