"""A run: one changing command from its lock to its end. The only way anything outside the state directory changes.

`run` takes the hold, settles what dead runs left half done, and gives a `Run`. `begin` goes on with a run of the same kind
that was cut off, or begins a new one. Plans are then carried out a batch at a time: locks, one journal commit, the actions
stage by stage (all first actions, all second ones, …) so that what can be asked or done together is, ticks, outcomes. When
the block ends well the run is finished; when it does not, the next run settles what is left.

Order within a plan is the planner's: new files before the row, the row before old files leave. So a crash between any two
actions leaves the old truth or the new one.

A dry run carries out nothing: `preview` gives for the same plans what `execute` would give.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from mastomend.actions.actions import Delete
from mastomend.actions.journal import Journal, JournaledRun, Kept
from mastomend.actions.owners import alone, owned
from mastomend.actions.perform import perform
from mastomend.actions.plan import Plan
from mastomend.actions.recovery import achieved, failed, is_left_over, recover, roll_back
from mastomend.actions.trouble import Conflict, is_everybody_s
from mastomend.actions.world import RecordLocks, World
from mastomend.errors import ObjectError
from mastomend.outcomes import Deferred, Refused, Verdict
from mastomend.reasons import Reason
from mastomend.vocabulary import Done, RowOf, Subject

#: Plans that are carried out together.
BATCH = 500
#: So long PostgreSQL may take to see that who held a lock has died.
_DYING_S = 2.0
#: A run that was cut off longer ago is not gone on with.
RESUMED_WITHIN_S = 24 * 3600.0


class Hold(Enum):
    """What a run keeps others from. One lock a record comes on top, for every run."""

    EXCLUSIVE = "one run on the whole instance at a time"
    SHARED = "any number, beside each other and beside an exclusive one"


#: Nobody waits for a record that somebody else is at.
BUSY = Deferred(Reason.IN_FLIGHT, "another Mastomend is changing it right now")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where runs happen. `open_world` gives what is changed, for settling; `note` hears what a person should
    know, `settled` what became of a dead run's records."""

    state: Path
    journal: Journal
    locks: RecordLocks
    open_world: Callable[[], AbstractContextManager[World]]
    note: Callable[[str], None] = lambda text: None
    settled: Callable[[Done], None] = lambda done: None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def run(ground: Ground, command: str, scope: str, new: str, *, hold: Hold = Hold.EXCLUSIVE) -> Iterator[Run]:
    """A run of that command. `scope` is what makes two runs the same work, `new` the id it gets if it is a new one.

    Raises:
        SafetyStop: an exclusive run is under way already.
        MastomendError: what dead runs left cannot be settled.
    """
    with ExitStack() as stack:
        if hold is Hold.EXCLUSIVE:
            stack.enter_context(alone(ground.state, new))
            stack.enter_context(ground.locks.whole())
        made = Run(ground, command, scope, new, stack, _settle(ground))
        yield made
        if made.has_begun:
            ground.journal.finish(made.id, made.summary)


def preview(plans: Iterable[Plan], tell: Callable[[Plan], None] = lambda plan: None) -> Iterator[Done]:
    """What `Run.execute` gives for those plans when all goes well; nothing is done. `tell` hears the plans themselves."""
    for plan in plans:
        tell(plan)
        yield Done(plan.subject, plan.verdict, plan.part)


#: The runs this process has begun or gone on with.
BEGUN: list[str] = []


class Run:
    """One run. `settled` counts half-done plans of dead runs; `summary` is what the journal keeps of it at its end."""

    def __init__(self, ground: Ground, command: str, scope: str, new: str, stack: ExitStack, settled: int) -> None:
        self.id = new
        self.settled = settled
        self.resumed = False
        self.has_begun = False
        self.summary: dict[str, Any] = {}
        self._ground = ground
        self._command = command
        self._scope = scope
        self._stack = stack
        self._numbers = itertools.count(1)
        self._open: dict[Subject, list[int]] = {}
        self._opening = threading.Lock()
        self._locked = threading.local()

    def begin(
        self,
        world: World,
        *,
        scan: str | None = None,
        undoes: str | None = None,
        resumed_within_s: float | None = RESUMED_WITHIN_S,
    ) -> None:
        """Go on with the newest run of the same command and scope that was cut off; otherwise a new one begins.

        Cut-off ones that are too old are closed. One that was taken back never goes on, nor one whose owner lives.
        """
        self._world = world
        journal = self._ground.journal
        if (earlier := self._cut_off(resumed_within_s)) is not None:
            self.id, self.resumed = earlier.id, True
            self._numbers = itertools.count(journal.highest(self.id) + 1)
        else:
            self._stack.enter_context(owned(self._ground.state, self.id))
            journal.begin(self.id, self._command, self._scope, scan=scan, undoes=undoes)
        self.has_begun = True
        BEGUN.append(self.id)

    def _cut_off(self, within_s: float | None) -> JournaledRun | None:
        runs = self._ground.journal.runs()
        taken_back = {one.undoes for one in runs}
        for one in runs:
            is_ours = (one.command, one.scope) == (self._command, self._scope)
            if not is_ours or one.finished_at is not None or one.id in taken_back:
                continue
            age = self._ground.clock() - datetime.fromisoformat(one.started_at).astimezone(UTC).timestamp()
            with ExitStack() as stack:
                if not stack.enter_context(owned(self._ground.state, one.id)):
                    continue
                if within_s is None or age < within_s:
                    self._stack.push(stack.pop_all())
                    return one
                self._ground.journal.finish(one.id, {"cut_off": True})
        return None

    def execute(self, plans: Iterable[Plan]) -> Iterator[Done]:
        """Carry out plans, a batch at a time, and close them. What became of each, in order within a batch.

        Raises:
            StorageError, DatabaseError, JournalError: everybody's trouble; what is open is settled by the next run.
        """
        rest = iter(plans)
        while some := list(itertools.islice(rest, BATCH)):
            with self._ground.locks.records([record_name(plan.subject) for plan in some]) as free:
                going = [
                    _Going(self._number(plan), plan) if is_free else None
                    for plan, is_free in zip(some, free, strict=True)
                ]
                self._carry_out([one for one in going if one is not None and one.plan.actions])
                results = [
                    (Done(plan.subject, one.verdict(), plan.part), [one.number])
                    if one is not None
                    else (Done(plan.subject, BUSY, plan.part), [])
                    for plan, one in zip(some, going, strict=True)
                ]
                self._ground.journal.outcome(self.id, *results)
            yield from (done for done, _ in results)

    @contextmanager
    def locked(self, subject: Subject) -> Iterator[bool]:
        """Whether that record is ours to change until the block ends: nobody else, in no process, changes it then."""
        name, mine = record_name(subject), self._names()
        if name in mine:  # by this very thread
            yield True
            return
        with self._ground.locks.records([name]) as (free,):
            if free:
                mine.add(name)
            try:
                yield free
            finally:
                mine.discard(name)

    def _names(self) -> set[str]:
        """What this thread has locked."""
        if not hasattr(self._locked, "names"):
            self._locked.names = set[str]()
        names: set[str] = self._locked.names
        return names

    def change(self, plan: Plan) -> Done:
        """Carry out one plan, under its record's lock. It stays open until `close`: look first whether it helped.

        Raises:
            StorageError, DatabaseError, JournalError: everybody's trouble; the next run settles this plan.
        """
        if record_name(plan.subject) not in self._names():
            with self.locked(plan.subject) as free:
                return self.change(plan) if free else Done(plan.subject, BUSY, plan.part)
        going = _Going(self._number(plan), plan)
        with self._opening:
            self._open.setdefault(plan.subject, []).append(going.number)
        self._carry_out([going])
        return Done(plan.subject, going.verdict(), plan.part)

    def close(self, done: Done) -> None:
        """Record what became of a subject; the plans it had are closed."""
        with self._opening:
            numbers = self._open.pop(done.subject, [])
        self._ground.journal.outcome(self.id, (done, numbers))

    def _number(self, plan: Plan) -> int:
        """An undo's plan has the number of the plan it takes back."""
        return plan.part or next(self._numbers)

    def _carry_out(self, going: Sequence[_Going]) -> None:
        journal, world = self._ground.journal, self._world
        if not going:
            return
        journal.plan(self.id, [(one.number, one.plan) for one in going])
        while stage := [(one, position) for one in going for position in one.stage()]:
            actions = [one.plan.actions[position] for one, position in stage]
            for (one, position), answer in zip(stage, perform(world, actions, self._ground.clock()), strict=True):
                one.take(position, answer)
            journal.done(self.id, [(one.number, position) for one, position in stage if position in one.done])
        for one in going:
            if one.error is not None:
                try:
                    roll_back(world, journal, self.id, Kept(one.number, one.plan, frozenset(one.done)))
                except Exception as error:
                    if is_everybody_s(error):
                        raise
                    one.error = error


@dataclass(slots=True)
class _Going:
    """A plan that is being carried out: what is done, what failed, what is left over."""

    number: int
    plan: Plan
    done: set[int] = field(default_factory=set)
    left: list[str] = field(default_factory=list)
    error: Exception | None = None
    first: Exception | None = None
    begun: int = 0

    def stage(self) -> range:
        """The positions of what is done next: one action, or all files that are deleted one after another."""
        if self.error is not None or self.begun == len(self.plan.actions):
            return range(0)
        start, actions = self.begun, self.plan.actions
        self.begun += 1
        while (
            isinstance(actions[start], Delete) and self.begun < len(actions) and isinstance(actions[self.begun], Delete)
        ):
            self.begun += 1
        return range(start, self.begun)

    def take(self, position: int, answer: Exception | None) -> None:
        """What came of the action at that position."""
        if answer is None:
            self.done.add(position)
            return
        is_own = isinstance(answer, Conflict | ObjectError)
        if not self.plan.rule.is_whole or (is_own and is_left_over(self.plan, position)):
            self.first = self.first or answer
            self.left.append(f"{getattr(self.plan.actions[position], 'key', self.plan.subject)} stays: {answer}")
        else:
            self.error = answer

    def verdict(self) -> Verdict:
        """What became of its subject."""
        if self.error is not None:
            return failed(self.plan, self.error)
        if self.first is not None and not self.done:
            return failed(self.plan, self.first)
        return achieved(self.plan, sorted(self.done), "; ".join(self.left)) if self.plan.actions else self.plan.verdict


def record_name(subject: Subject) -> str:
    """What two plans share that may not be carried out at once: the row, whatever of it they are about, or the object."""
    return f"{subject.table} {subject.id}" if isinstance(subject, RowOf) else str(subject)


def _settle(ground: Ground) -> int:
    """Finish or take back what dead runs left half done. How many plans there were."""
    with ExitStack() as stack:
        dead = [run for run in ground.journal.unsettled() if stack.enter_context(owned(ground.state, run))]
        plans = [(run, kept) for run in dead for kept in ground.journal.open_plans(run)]
        if not plans:
            return 0
        world = stack.enter_context(ground.open_world())
        reachable = [(run, kept) for run, kept in plans if world.has(kept.plan.actions)]
        settled = sum(_settle_one(ground, world, run, kept) for run, kept in reachable)
    if away := len(plans) - len(reachable):
        ground.note(f"{away} change(s) half done in another storage; the command that did them settles them.")
    if settled:
        ground.note(f"{settled} half-done record(s) of a run that was cut off have been settled.")
    return settled


def _settle_one(ground: Ground, world: World, run: str, kept: Kept) -> bool:
    """Whether it could be: not while somebody changes its record."""
    patience = ground.clock() + _DYING_S
    while True:
        with ground.locks.records([record_name(kept.plan.subject)]) as (free,):
            if free:
                done = recover(world, ground.journal, run, kept, ground.clock())
                break
        if ground.clock() > patience:
            return False
        ground.sleep(_DYING_S / 10)
    if done is not None:
        ground.journal.outcome(run, (done, [kept.number]))
        ground.settled(done)
        if isinstance(done.verdict, Refused):
            ground.note(f"{done.subject}: {done.verdict.detail}")
    return True
