"""`undo RUN`: take a run back, newest change first. Itself a journaled run, so it can be taken back too.

Rows go back only if they still are as the run left them; files come back from the quarantine only where nothing is by
now. Whatever was changed since is a conflict: reported, left alone. What nothing takes back (a file that was deleted for
good) is said before anything is done. The dry run makes the same plans and looks at the same things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mastomend.actions.actions import (
    IRREVERSIBLE,
    Action,
    Irreversible,
    PreserveFile,
    QuarantineFile,
    RestoreFile,
    SetColumns,
    Writing,
    inverse,
)
from mastomend.actions.journal import Journal, JournaledRun, Kept
from mastomend.actions.owners import owned
from mastomend.actions.perform import happened, holds, same_bytes
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.run import BATCH, preview, record_name, run
from mastomend.actions.trouble import Conflict, is_everybody_s, trouble
from mastomend.actions.world import World
from mastomend.commands.instance import Instance
from mastomend.commands.parts import changing_parts, ground
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.ids import new_id
from mastomend.outcomes import Refused, Restored, Verdict
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.storage.ports import MISSING
from mastomend.vocabulary import Done, Owned

#: How many plans a dry run shows in words.
_SHOWN = 10


@dataclass(slots=True)
class UndoReport:
    """The result: records taken back, records that had changed since, changes that nothing takes back.

    `plans` are a dry run's first plans, in words.
    """

    run: str
    undoes: str
    applied: bool
    reverted: int = 0
    conflicts: int = 0
    irreversible: int = 0
    details: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)

    def count(self, done: Done) -> None:
        """Add one record."""
        reason = done.verdict.reason
        self.reverted += reason is Reason.UNDONE
        self.conflicts += reason not in (Reason.UNDONE, Reason.IRREVERSIBLE)
        if reason is not Reason.UNDONE or done.verdict.detail:
            self.details.append(f"{done.subject}: {done.verdict.detail}")

    def show(self, plan: Plan) -> None:
        """A plan of a dry run."""
        if plan.actions and len(self.plans) < _SHOWN:
            self.plans.append(str(plan))


def undo(instance: Instance, run_id: str, *, apply: bool, progress: Progress = Silent()) -> UndoReport:
    """Take a run back, or show what would be taken back.

    Raises:
        ConfigurationError: there is no such run, or it was taken back already.
        SafetyStop: another changing run is under way, this one itself perhaps, or the storage is empty.
    """
    new = new_id(datetime.now(UTC))
    with ground(instance, new, progress.note) as here, ExitStack() as stack:
        journal = here.journal
        undone = _find(journal, run_id)
        report = UndoReport(new, undone.id, apply)
        if not apply:
            parts = stack.enter_context(changing_parts(instance))
            progress.start(f"undo {undone.id}", _left(journal, undone))
            planner = _Planner(parts.world(), new, report)
            for kept in _unreversed(journal, undone, progress):
                report.count(*preview([planner.foreseen(kept)], report.show))
            return report
        with run(here, "undo", undone.id, new) as current:
            if not stack.enter_context(owned(instance.state, undone.id)):
                raise SafetyStop(f"Run {undone.id} is still under way.", hint="Wait for it to end, then take it back.")
            parts = stack.enter_context(changing_parts(instance))
            left = _left(journal, undone)
            progress.start(f"undo {undone.id}", left)
            if left and not parts.store.probe():
                raise SafetyStop(
                    f"{instance.configuration.storage} is empty: this looks like a disk that is not mounted. "
                    "Nothing was changed.",
                    hint="Mount it, then run the same command again.",
                )
            current.begin(parts.world(), undoes=undone.id, resumed_within_s=None)
            report.run = current.id
            if undone.finished_at is None:  # it must not go on after it was taken back
                journal.finish(undone.id, {"cut_off": True})
            planner = _Planner(parts.world(), current.id, report)
            if final := sum(journal.actions_done(undone.id)[name] for name in IRREVERSIBLE):
                progress.note(
                    f"{final:,} of its changes nothing takes back: files that were deleted, or copied elsewhere."
                )
            for some in _of_different_rows(_unreversed(journal, undone, progress)):
                for _ in current.execute([planner.plan(kept) for kept in some]):
                    pass
            for done in journal.outcomes(current.id):  # what an earlier try of this undo did counts, too
                report.count(done)
            current.summary = {"reverted": report.reverted, "conflicts": report.conflicts}
    return report


def _left(journal: Journal, undone: JournaledRun) -> int:
    return journal.changed(undone.id) - journal.taken_back(undone.id)


def _unreversed(journal: Journal, undone: JournaledRun, progress: Progress) -> Iterator[Kept]:
    """What is left to be taken back, newest first. Read some at a time: the journal grows meanwhile."""
    for kept in journal.plans(undone.id, newest_first=True, but_taken_back=True):
        yield kept
        progress.advance(1)


def _of_different_rows(plans: Iterable[Kept]) -> Iterator[list[Kept]]:
    """Batches in which no row comes twice: an older change of a row is looked at when the newer ones are taken back."""
    some: list[Kept] = []
    rows: set[str] = set()
    for kept in plans:
        name = record_name(kept.plan.subject)
        if name in rows or len(some) == BATCH:
            yield some
            some, rows = [], set()
        some.append(kept)
        rows.add(name)
    if some:
        yield some


@dataclass(frozen=True, slots=True)
class _Planner:
    """Makes the plans that take a run's plans back."""

    world: World
    run: str
    report: UndoReport
    refused: set[str] = field(default_factory=set)

    def foreseen(self, kept: Kept) -> Plan:
        """A dry run's plan: what came after it is still there, and would be gone by then, unless it is refused."""
        name = record_name(kept.plan.subject)
        if kept.is_followed and name in self.refused:
            verdict = Refused(Reason.CONFLICT, "a later change of the same row stays")
            return Plan(kept.plan.subject, verdict, (), Rule.TAKE_BACK, kept.number)
        plan = self.plan(kept, trusting=kept.is_followed)
        if isinstance(plan.verdict, Refused):
            self.refused.add(name)
        return plan

    def plan(self, kept: Kept, *, trusting: bool = False) -> Plan:
        """The plan that takes that one back. `trusting`: its rows and files are not looked at."""
        verdict: Verdict = Restored(Reason.UNDONE)
        actions: Sequence[Action] = ()
        try:
            found = [inverse(action, self.run, self.world.key_prefix) for action in kept.performed[::-1]]
            final = [one for one in found if isinstance(one, Irreversible)]
            self.report.irreversible += bool(final)
            actions = [one for one in found if not isinstance(one, Irreversible)]
            actions = actions if trusting else self._still_possible(kept, actions)
            if final:
                told = "; ".join(str(one) for one in final)
                verdict = replace(verdict, detail=told) if actions else Refused(Reason.IRREVERSIBLE, told)
        except Conflict as conflict:
            verdict = Refused(Reason.CONFLICT, str(conflict))
        except Exception as error:
            if is_everybody_s(error):
                raise
            met = trouble(error)
            verdict = Refused(met.reason, met.detail)
        return Plan(kept.plan.subject, verdict, tuple(actions), Rule.TAKE_BACK, kept.number)

    def _still_possible(self, kept: Kept, actions: Sequence[Action]) -> Sequence[Action]:
        """The inverse actions. Where an earlier undo has set the row back and no more, what is left of it.

        Raises:
            Conflict: the row was changed since, a file is no longer the one that was written, or what should come back
                is not in the quarantine. Known before anything is touched, so that a conflict leaves a record whole.
        """
        done = kept.performed[::-1]
        rows = [action for action in done if isinstance(action, SetColumns)]
        if rows and all(self.world.rows.are(row.table, row.id, row.before) for row in rows):
            return [action for action in actions if self._is_left(kept, action)]
        for action in done:
            if isinstance(action, SetColumns) and not self.world.rows.are(action.table, action.id, action.after):
                raise Conflict(f"{action.table} {action.id} was changed by somebody else meanwhile")
            if isinstance(action, Writing) and not holds(self.world, action):
                raise Conflict(f"{action.key} is no longer the file that was written")
        self._look(actions)
        return actions

    def _is_left(self, kept: Kept, action: Action) -> bool:
        """Whether an undo that stopped half way, after the row, still has that to do.

        Raises:
            Conflict: what lies there is neither what the run wrote nor what it kept.
        """
        if not isinstance(action, QuarantineFile):
            return not happened(self.world, action)
        store = self.world.store(action.place)
        if store.sizes([action.key])[0] == MISSING:
            return False
        for done in kept.performed:
            if isinstance(done, Writing) and done.key == action.key and not holds(self.world, done):
                older = [a.quarantine for a in kept.performed if isinstance(a, PreserveFile) and a.key == action.key]
                if older and store.sizes(older)[0] == MISSING:
                    return False  # it is back already
                raise Conflict(f"{action.key} is no longer the file that was written")
        return True

    def _look(self, actions: Iterable[Action]) -> None:
        moving = [action.key for action in actions if isinstance(action, QuarantineFile)]
        for key, owner in zip(moving, self.world.owners.of(moving) if moving else (), strict=True):
            if isinstance(owner, Owned) and owner.is_local:
                raise Conflict(f"{key} belongs to a local record")
        moved_away = set(moving)
        for restored in actions:
            if isinstance(restored, RestoreFile):
                store = self.world.store(restored.place)
                at_key, at_quarantine = store.sizes([restored.key, restored.quarantine])
                if at_quarantine == MISSING:
                    raise Conflict(f"{restored.key} is no longer in the quarantine")
                is_there = at_key != MISSING and restored.key not in moved_away
                if is_there and not same_bytes(store, restored.key, restored.quarantine):
                    raise Conflict(f"there is a file at {restored.key} again")


def _find(journal: Journal, run_id: str) -> JournaledRun:
    runs = journal.runs()
    found = next((r for r in runs if r.id == run_id), None)
    if found is None:
        raise ConfigurationError(f"There is no run {run_id!r}.", hint="See them with: mastomend history")
    whole = [r for r in runs if r.undoes and r.finished_at and not r.summary.get("conflicts")]
    holding = [r for r in whole if r.id not in {undo.undoes for undo in whole}]  # was that undo itself taken back?
    taken_back = next((r for r in holding if r.undoes == found.id), None)
    if taken_back is not None:
        raise ConfigurationError(
            f"Run {run_id} was taken back already, by {taken_back.id}.",
            hint=f"To take that back: mastomend undo {taken_back.id} --apply",
        )
    return found
