"""Runs actions: journal first, then act, then tick off. The only code that changes anything outside the state directory.

Order within a record is the caller's: new files before the row, the row before old files leave. So a crash between any
two actions leaves the old truth or the new truth, and `recover` finishes or abandons what it finds half done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, assert_never

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from mastomend.actions.actions import (
    Action,
    CancelJob,
    CopyFile,
    EnqueueJob,
    ForgetCached,
    PreserveFile,
    PutFile,
    QuarantineFile,
    RestoreFile,
    SetColumns,
    quarantine_key,
)
from mastomend.actions.journal import Journal, Plan
from mastomend.actions.trouble import changed, is_everybody_s, trouble
from mastomend.errors import DatabaseError, ObjectError
from mastomend.mastodon.jobs import Job
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Outcome, RecordOutcome
from mastomend.storage import ports
from mastomend.storage.ports import MISSING

ROW_CHANGED = "row_changed"

#: The actions that put bytes under a record's key.
Writing = PutFile | CopyFile


Pool = ConnectionPool[psycopg.Connection[dict[str, Any]]]


class ChangingStore(ports.Lookup, ports.Reading, ports.Writing, Protocol):
    """What the executor needs of a storage."""


class Expectations(Protocol):
    """Which records need a key now; the executor asks before it moves anything away."""

    def expected_by(self, key: Key) -> tuple[bool, bool]:
        """(some local record expects it, some remote record expects it)."""
        ...


class Jobs(Protocol):
    """Mastodon's job queue, as far as actions need it."""

    def hand_over(self, job: Job, now: float, at: float | None = None) -> bool:
        """Each job once; False if it was handed over before."""
        ...

    def take_back(self, job: Job) -> bool:
        """False if a worker has it already."""
        ...

    def was_handed_over(self, job: Job) -> bool:
        """Whether this very job was handed over."""
        ...


class Cached(Protocol):
    """Mastodon's cache."""

    def forget(self, keys: Sequence[str]) -> None:
        """Delete entries."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """Everything actions change, and who is asked before they do."""

    store: ChangingStore
    pool: Pool
    expectations: Expectations
    jobs: Jobs
    caches: Cached


class Conflict(Exception):
    """The world is no longer as the plan assumed. An outcome, not an error: nothing was overwritten."""


class Executor:
    """Executes the plans of one run."""

    def __init__(
        self,
        run: str,
        journal: Journal,
        world: World,
        key_prefix: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run = run
        self._journal = journal
        self._store = world.store
        self._pool = world.pool
        self._expectations = world.expectations
        self._jobs = world.jobs
        self._caches = world.caches
        self._clock = clock
        self._key_prefix = key_prefix

    def apply(self, outcome: RecordOutcome, actions: Sequence[Action]) -> str:
        """Journal the whole plan, then do it in order. The outcome is not yet recorded: verify first.

        What was old when the row has changed is only in the way of nobody: where it cannot be put aside, that is told.

        Raises:
            Conflict: an action found the world changed. ObjectError: a file could not be written, read or moved. Either
                is this record's trouble; files put before the row was changed are taken back.
            StorageError, DatabaseError, JournalError: the run cannot go on; `recover` will finish this plan.
        """
        self._journal.plan(self.run, outcome, actions)
        left: list[str] = []
        for position, action in enumerate(actions):
            try:
                self._perform(action)
            except (Conflict, ObjectError) as error:
                if _is_left_over(actions, position):
                    left.append(f"{action.key} stays: {error}")  # type: ignore[union-attr]
                    continue
                self._roll_back(outcome.kind, outcome.id, actions, actions[:position])
                raise
            self._journal.done(self.run, outcome.kind, outcome.id, position)
        return "; ".join(left)

    def close(self, outcome: RecordOutcome) -> None:
        """Record what became of the record."""
        self._journal.outcome(self.run, outcome)

    def _roll_back(self, kind: str, record_id: int, actions: Sequence[Action], done: Sequence[Action]) -> None:
        """Back to the old truth: what was overwritten comes back, what was not there before goes to the quarantine.

        Once the row is changed the new truth holds and nothing is taken back. Where no row was to be changed, every file
        written is what its row already expects: it stays. May be repeated after a crash.
        """
        if any(isinstance(action, SetColumns) for action in done):
            return
        if not any(isinstance(action, SetColumns) for action in actions):
            return
        if not any(isinstance(action, Writing) for action in actions):
            return  # nothing was written: what was moved stays journaled as moved
        preserved = {a.key: a.quarantine for a in actions if isinstance(a, PreserveFile)}
        for action in reversed(actions):
            if not isinstance(action, Writing) or not self.holds(action):
                continue
            kept = preserved.get(action.key)
            if kept is not None and self._store.sizes([kept])[0] != MISSING:
                self._store.move(kept, action.key, private=False)
            elif kept is None and not self._expectations.expected_by(action.key)[0]:
                target = quarantine_key(self.run, action.key, self._key_prefix)
                self._store.move(action.key, target, private=True)
        self._journal.rolled_back(self.run, kind, record_id)

    def recover(self, plan: Plan) -> RecordOutcome | None:
        """Finish a plan a crash left, or abandon it. The outcome if it is finished, None if the record is to be redone.

        If every file is written the rest is done (the row, then old files); otherwise what was written is taken back,
        and the record is broken as it was before. What can be neither finished nor taken back is an outcome, too: it
        must not stop every later run.
        """
        try:
            return self._recover(plan)
        except Exception as error:
            if is_everybody_s(error):
                raise
            told = trouble(plan.outcome, error)
            return replace(told, detail=f"a change that was cut off cannot be settled: {told.detail}")

    def _recover(self, plan: Plan) -> RecordOutcome | None:
        for step in plan.steps:
            match step.action:
                case PutFile(key=key) | CopyFile(key=key) | PreserveFile(quarantine=key):
                    self._store.clear(key)
        written = all(self.holds(s.action) for s in plan.steps if isinstance(s.action, Writing))
        if not written:
            done: list[Action] = []
            for step in plan.steps:
                if not step.done and isinstance(step.action, SetColumns) and self.happened(step.action):
                    self._journal.done(self.run, plan.kind, plan.id, step.position)  # its tick was lost
                    done.append(step.action)
                elif step.done:
                    done.append(step.action)
            self._roll_back(plan.kind, plan.id, [s.action for s in plan.steps], done)
            self._journal.abandon(self.run, plan.kind, plan.id)
            return None
        actions = [step.action for step in plan.steps]
        try:
            for step in plan.steps:
                try:
                    if not step.done and not self.happened(step.action):
                        self._perform(step.action)
                except (Conflict, ObjectError):
                    if _is_left_over(actions, step.position):
                        continue
                    raise
                if not step.done:
                    self._journal.done(self.run, plan.kind, plan.id, step.position)
        except Conflict as conflict:
            done = [s.action for s in plan.steps if s.done or self.happened(s.action)]
            self._roll_back(plan.kind, plan.id, [s.action for s in plan.steps], done)
            return changed(plan.outcome, Outcome.DEFERRED, ROW_CHANGED, str(conflict))
        return plan.outcome

    # --- the actions ----------------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case PutFile(key=key, data=data, content_type=content_type):
                if data is None:
                    raise Conflict(f"{key} is not there as journaled")
                self._store.put(key, data, content_type)
            case CopyFile(key=key, source=source, digest=digest):
                if self._store.digest(source) != digest:
                    raise Conflict(f"{source} is no longer the file that was to be copied")
                self._store.copy(source, key, private=False)
            case PreserveFile(key=key, quarantine=quarantine):
                if self._store.sizes([quarantine])[0] == MISSING:  # never over an older copy
                    self._store.copy(key, quarantine, private=True)
            case QuarantineFile():
                self._quarantine(action)
            case RestoreFile(key=key, quarantine=quarantine):
                at_key, at_quarantine = self._store.sizes([key, quarantine])
                if at_quarantine == MISSING:
                    raise Conflict(f"{quarantine} is no longer in the quarantine")
                if at_key != MISSING:
                    raise Conflict(f"there is a file at {key} again")
                self._store.move(quarantine, key, private=False)
            case SetColumns():
                self._set_columns(action)
            case EnqueueJob(job=job, at=at):
                self._jobs.hand_over(job, self._clock(), at or None)
            case CancelJob(job=job):
                self._jobs.take_back(
                    job
                )  # one that was begun is left to it: whether the row is still ours is asked there
            case ForgetCached(keys=keys):
                self._caches.forget(keys)
            case _:
                assert_never(action)

    def _quarantine(self, action: QuarantineFile) -> None:
        local, remote = self._expectations.expected_by(action.key)
        if local:
            raise Conflict(f"{action.key} belongs to a local record")
        if remote and not action.even_if_expected:
            raise Conflict(f"{action.key} is expected by a record")
        if self._store.sizes([action.key])[0] == MISSING:
            return  # whoever removed it did our work
        self._store.move(action.key, action.quarantine, private=True)

    def _set_columns(self, action: SetColumns) -> None:
        assigned = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in action.after)
        guards: list[sql.Composable] = [sql.SQL("id = %s")]
        guards += [sql.SQL("{}::text IS NOT DISTINCT FROM %s").format(sql.Identifier(name)) for name in action.before]
        statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            sql.Identifier(action.table), assigned, sql.SQL(" AND ").join(guards)
        )
        try:
            with self._pool.connection() as connection:
                done = connection.execute(statement, [*action.after.values(), action.id, *action.before.values()])
                changed_rows = done.rowcount
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
            raise Conflict(
                f"{action.table} {action.id} does not take it: {' '.join(str(error).split())[:200]}"
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            names = ", ".join(action.after)
            raise DatabaseError(
                f"PostgreSQL: this user may not change {action.table}.",
                hint=f"As its owner: GRANT UPDATE ({names}) ON {action.table} TO …; or use the user Mastodon uses.",
            ) from None
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None
        if changed_rows != 1:
            raise Conflict(f"{action.table} {action.id} was changed by somebody else meanwhile")

    # --- looking at the world ---------------------------------------------------------------------------------------

    def holds(self, action: Action) -> bool:
        """Whether exactly the bytes that action writes are under its key."""
        if not isinstance(action, Writing) or self._store.sizes([action.key])[0] != action.size:
            return False
        return self._store.digest(action.key) == action.digest

    def happened(self, action: Action) -> bool:
        """Whether the world is as that action makes it."""
        match action:
            case PutFile() | CopyFile():
                return self.holds(action)
            case PreserveFile(quarantine=quarantine):
                return self._store.sizes([quarantine])[0] != MISSING
            case QuarantineFile(key=key) | RestoreFile(quarantine=key):
                return self._store.sizes([key])[0] == MISSING
            case EnqueueJob(job=job):
                return self._jobs.was_handed_over(job)
            case CancelJob(job=job):
                return not self._jobs.was_handed_over(job)
            case ForgetCached():
                return False  # forgetting twice is forgetting
            case SetColumns(table=table, id=record_id, after=after):
                return self.row_is(table, record_id, after)
            case _:
                assert_never(action)

    def row_is(self, table: str, record_id: int, values: Mapping[str, str | None]) -> bool:
        """Whether the row's columns have those values."""
        columns = sql.SQL(", ").join(sql.SQL("{0}::text AS {0}").format(sql.Identifier(name)) for name in values)
        statement = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(columns, sql.Identifier(table))
        try:
            with self._pool.connection() as connection:
                row = connection.execute(statement, [record_id]).fetchone()
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None
        return row is not None and all(row[name] == value for name, value in values.items())


def _is_left_over(actions: Sequence[Action], position: int) -> bool:
    """Whether that action only puts aside what no row means any more."""
    return isinstance(actions[position], QuarantineFile) and any(isinstance(a, SetColumns) for a in actions[:position])
