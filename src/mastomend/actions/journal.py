"""The record of every change, written and synced before the change is made (SQLite, WAL, `synchronous=FULL`).

A *run* is one changing command. For every record it plans to change the journal first holds the actions, all of them,
and the outcome they lead to; then each action is ticked off when it is done. What a crash leaves is therefore always a
plan with some ticks missing, and looking at the world tells which of those happened (`executor.recover`).

Many threads write; one thread commits: whatever has been handed in meanwhile goes into one transaction and one sync.
Only what must be durable before something is done is waited for: plans. Ticks and outcomes are written in their order
behind them; a crash that takes the last of them leaves a plan that `recover` finds to be done.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from mastomend.actions.actions import ACTION_NAMES, Action, from_json, to_json
from mastomend.errors import JournalError
from mastomend.outcomes import Outcome, RecordOutcome, Source
from mastomend.state_files import make_private_file, private_folder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, command TEXT NOT NULL, scope TEXT NOT NULL, scan TEXT, started_at TEXT NOT NULL,
  finished_at TEXT, summary TEXT, undoes TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS plans (
  run TEXT NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, outcome TEXT NOT NULL, closed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
  run TEXT NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, position INTEGER NOT NULL, action TEXT NOT NULL,
  done_at TEXT, PRIMARY KEY (run, kind, id, position)
) STRICT;
CREATE TABLE IF NOT EXISTS outcomes (
  run TEXT NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, outcome TEXT NOT NULL, PRIMARY KEY (run, kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS open_plans ON plans (run) WHERE closed = 0;
"""

#: What `PRAGMA user_version` says. Raise it with every action or column an older Mastomend would not understand.
_VERSION = 1

#: The reason of a record that an undo has taken back.
UNDONE = "undone"
_TAKEN_BACK = """
FROM outcomes o JOIN runs u ON u.id = o.run
WHERE u.undoes = ? AND json_extract(o.outcome, '$.reason') = ?
  AND NOT EXISTS (SELECT 1 FROM outcomes w JOIN runs v ON v.id = w.run
                  WHERE v.undoes = u.id AND w.kind = o.kind AND w.id = o.id AND json_extract(w.outcome, '$.reason') = ?)
"""

_Statement = tuple[str, Sequence[object]]
#: Rows that are read together where there may be millions.
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """One changing command. `finished_at` None means it is running or was cut off."""

    id: str
    command: str
    scope: str
    scan: str | None
    started_at: str
    finished_at: str | None
    summary: dict[str, Any]
    undoes: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One journaled action of a plan."""

    position: int
    action: Action
    done: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run meant to do to one record, and the outcome if it is done."""

    kind: str
    id: int
    outcome: RecordOutcome
    steps: tuple[Step, ...]


class Journal:
    """The journal in a state directory. Safe to use from many threads; close it."""

    def __init__(self, state: Path) -> None:
        """Open it, or begin one.

        Raises:
            JournalError: it cannot be opened, is damaged, or was written by a newer Mastomend; in words.
        """
        self._path = journal_path(state)
        try:
            private_folder(state)
            make_private_file(self._path)
        except OSError as error:
            raise JournalError(
                f"The journal in {state} cannot be opened: {error.strerror}.",
                hint="Nothing was changed. Run as the user that ran it before, or use --state DIR.",
            ) from None
        try:
            self._db = self._connect()
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self.written = 0  # how many of those handed in are in the file: see `note`
        self._handed_in = 0
        self._handing_in = threading.Lock()
        self._inbox: queue.SimpleQueue[tuple[Sequence[_Statement], Future[None] | None] | None] = queue.SimpleQueue()
        self._failure: JournalError | None = None
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def _open(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise JournalError(
                f"The journal {self._path} was written by a newer Mastomend (version {version}; this one knows {_VERSION}).",
                hint="Update Mastomend. Nothing was changed.",
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        if version != _VERSION:
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """Finish what was handed in and close the file."""
        self._inbox.put(None)
        self._writer.join()
        if self._reader is not None:
            self._reader.close()
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    # --- writing --------------------------------------------------------------------------------------------------

    def commit(self, *statements: _Statement) -> None:
        """Durable when it returns.

        Raises:
            JournalError: it is not written; nothing that depends on it may be done.
        """
        done: Future[None] = Future()
        self._hand_in(statements, done)
        done.result()

    def note(self, *statements: _Statement) -> int:
        """Written in order, durable with the next `commit`. If it cannot be written, everything after it fails.

        Returns its number: it is in the file once `written` is not below that.
        """
        return self._hand_in(statements, None)

    def _hand_in(self, statements: Sequence[_Statement], done: Future[None] | None) -> int:
        with self._handing_in:
            self._handed_in += 1
            self._inbox.put((statements, done))
            return self._handed_in

    def _write(self) -> None:
        stop = False
        while not stop:
            item = self._inbox.get()
            batch = []
            while item is not None:
                batch.append(item)
                if self._inbox.empty():
                    break
                item = self._inbox.get()
            stop = item is None
            if not batch:
                continue
            try:
                if self._failure is not None:
                    raise self._failure
                with self._lock:
                    self._db.execute("BEGIN IMMEDIATE")
                    try:
                        for statements, _ in batch:
                            for sql, parameters in statements:
                                self._db.execute(sql, tuple(parameters))
                        self._db.execute("COMMIT")
                    except BaseException:
                        if self._db.in_transaction:
                            self._db.execute("ROLLBACK")
                        raise
            except BaseException as error:
                failure = self._failure or trouble(self._path, error)
                if any(done is None for _, done in batch):
                    self._failure = failure  # nobody waits for these: whoever comes next must hear of it
                for _, done in batch:
                    if done is not None:
                        done.set_exception(failure)
            else:
                self.written += len(batch)
                for _, done in batch:
                    if done is not None:
                        done.set_result(None)

    def begin(self, run: str, command: str, scope: str, *, scan: str | None, undoes: str | None = None) -> None:
        """A run starts."""
        self.commit(
            (
                "INSERT INTO runs (id, command, scope, scan, started_at, undoes) VALUES (?, ?, ?, ?, ?, ?)",
                (run, command, scope, scan, _now(), undoes),
            )
        )

    def finish(self, run: str, summary: dict[str, Any]) -> None:
        """A run is over: everything it planned is done or has an outcome."""
        self.commit(
            ("UPDATE runs SET finished_at = ?, summary = ? WHERE id = ?", (_now(), json.dumps(summary), run)),
        )

    def plan(self, run: str, outcome: RecordOutcome, actions: Sequence[Action]) -> None:
        """All actions for one record, before the first of them. A plan that an earlier try left is replaced."""
        key = (run, outcome.kind, outcome.id)
        self.commit(
            ("DELETE FROM steps WHERE run = ? AND kind = ? AND id = ?", key),
            (
                "INSERT OR REPLACE INTO plans (run, kind, id, outcome) VALUES (?, ?, ?, ?)",
                (*key, json.dumps(_outcome_json(outcome))),
            ),
            *(
                (
                    "INSERT INTO steps (run, kind, id, position, action) VALUES (?, ?, ?, ?, ?)",
                    (*key, position, json.dumps(to_json(action))),
                )
                for position, action in enumerate(actions)
            ),
        )

    def done(self, run: str, kind: str, record_id: int, position: int) -> None:
        """One action has been done."""
        self.note(
            (
                "UPDATE steps SET done_at = ? WHERE run = ? AND kind = ? AND id = ? AND position = ?",
                (_now(), run, kind, record_id, position),
            )
        )

    def outcome(self, run: str, outcome: RecordOutcome) -> None:
        """What became of a record; its plan, if it had one, is closed."""
        key = (run, outcome.kind, outcome.id)
        self.note(
            (
                "INSERT OR REPLACE INTO outcomes (run, kind, id, outcome) VALUES (?, ?, ?, ?)",
                (*key, json.dumps(_outcome_json(outcome))),
            ),
            ("UPDATE plans SET closed = 1 WHERE run = ? AND kind = ? AND id = ?", key),
        )

    def rolled_back(self, run: str, kind: str, record_id: int) -> None:
        """What the plan had done is taken back: none of its actions count any more."""
        self.commit(("UPDATE steps SET done_at = NULL WHERE run = ? AND kind = ? AND id = ?", (run, kind, record_id)))

    def abandon(self, run: str, kind: str, record_id: int) -> None:
        """A plan that will not be finished; the record has no outcome and may be planned again."""
        self.commit(("UPDATE plans SET closed = 1 WHERE run = ? AND kind = ? AND id = ?", (run, kind, record_id)))

    # --- reading --------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """All rows of a question, with everything that was written before it.

        Raises:
            JournalError: it cannot be read, or something written before it was not.
        """
        self.commit()
        try:
            with self._lock:
                return self._db.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None

    def glance(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """As `query`, but of what is in the file by now: waits for nobody.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            with self._reading:
                if self._reader is None:
                    self._reader = self._connect()
                return self._reader.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[sqlite3.Row]:
        """As `query`, a few rows at a time, all from the moment of the first; be quick, the file grows meanwhile.

        Raises:
            JournalError: it cannot be read, or something written before it was not.
        """
        self.commit()
        try:
            with contextlib.closing(self._connect()) as connection:
                cursor = connection.execute(sql, tuple(parameters))
                while rows := cursor.fetchmany(_PAGE):
                    yield from rows
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        return [
            Run(
                row["id"],
                row["command"],
                row["scope"],
                row["scan"],
                row["started_at"],
                row["finished_at"],
                json.loads(row["summary"] or "{}"),
                row["undoes"],
            )
            for row in self.query("SELECT * FROM runs ORDER BY started_at DESC, id DESC")
        ]

    def open_plans(self, run: str) -> list[Plan]:
        """Plans that were begun and not closed: what a crash left."""
        return self._plans(run, "run = ? AND closed = 0")

    def plans(self, run: str, *, newest_first: bool = False) -> Iterator[Plan]:
        """All plans of a run with at least one action done, in the order they were made, or the other way round.

        Some at a time, so that others may write for as long as this takes.
        """
        (span,) = self.query("SELECT min(rowid) AS first, max(rowid) AS last FROM plans WHERE run = ?", (run,))
        if span["first"] is None:
            return
        pages = range(span["first"], span["last"] + 1, _PAGE)
        for start in reversed(pages) if newest_first else pages:
            page = self._plans(run, f"+run = ? AND plans.rowid BETWEEN {start} AND {start + _PAGE - 1}")
            changed = [plan for plan in page if any(step.done for step in plan.steps)]
            yield from reversed(changed) if newest_first else changed

    def changed(self, run: str) -> int:
        """How many plans of a run have at least one action done."""
        sql = "SELECT count(*) AS n FROM (SELECT DISTINCT kind, id FROM steps WHERE run = ? AND done_at IS NOT NULL)"
        return int(self.query(sql, (run,))[0]["n"])

    def taken_back(self, run: str) -> int:
        """How many records of a run were taken back by undos that ended or are under way, and hold."""
        sql = f"SELECT count(*) AS n FROM (SELECT DISTINCT o.kind, o.id {_TAKEN_BACK})"  # noqa: S608 - our own words
        rows = self.query(sql, (run, UNDONE, UNDONE))
        return int(rows[0]["n"])

    def is_taken_back(self, run: str, kind: str, record_id: int) -> bool:
        """Whether that record's change in that run was taken back."""
        sql = f"SELECT 1 {_TAKEN_BACK} AND o.kind = ? AND o.id = ? LIMIT 1"
        return bool(self.query(sql, (run, UNDONE, UNDONE, kind, record_id)))

    def actions_done(self, run: str) -> Counter[str]:
        """How many actions of each type a run has done; their names as in `actions.to_json`."""
        rows = self.query(
            "SELECT json_extract(action, '$.action') AS name, count(*) AS n FROM steps "
            "WHERE run = ? AND done_at IS NOT NULL GROUP BY name",
            (run,),
        )
        for row in rows:
            if row["name"] not in ACTION_NAMES:
                _action(json.dumps({"action": row["name"]}))
        return Counter({row["name"]: row["n"] for row in rows})

    def _plans(self, run: str, condition: str) -> list[Plan]:
        """Those plans of a run, in the order they were made, with all their steps."""
        columns = "plans.rowid AS number, kind, id, outcome, position, action, done_at"
        tables = "plans LEFT JOIN steps USING (run, kind, id)"
        sql = f"SELECT {columns} FROM {tables} WHERE {condition} ORDER BY number, position"  # noqa: S608 - our own words
        rows = self.query(sql, (run,))
        return [_plan(list(of_one)) for _, of_one in groupby(rows, key=lambda row: row["number"])]

    def decided(self, run: str) -> Iterator[tuple[str, int]]:
        """Records that already have an outcome in that run."""
        for row in self.stream("SELECT kind, id FROM outcomes WHERE run = ?", (run,)):
            yield row["kind"], row["id"]

    def is_decided(self, run: str, kind: str, record_id: int) -> bool:
        """Whether a record already has an outcome in that run."""
        return bool(self.query("SELECT 1 FROM outcomes WHERE run = ? AND kind = ? AND id = ?", (run, kind, record_id)))

    def outcomes(self, run: str) -> Iterator[RecordOutcome]:
        """Everything that became of records in a run."""
        for row in self.stream("SELECT kind, id, outcome FROM outcomes WHERE run = ? ORDER BY kind, id", (run,)):
            yield _outcome(row["kind"], row["id"], row["outcome"])

    def outcome_counts(self, run: str) -> Counter[Outcome]:
        """How many records of a run came to which outcome."""
        rows = self.query(
            "SELECT json_extract(outcome, '$.outcome') AS name, count(*) AS n FROM outcomes WHERE run = ? GROUP BY name",
            (run,),
        )
        return Counter({Outcome(row["name"]): row["n"] for row in rows if row["name"] is not None})


def _plan(rows: Sequence[sqlite3.Row]) -> Plan:
    first = rows[0]
    return Plan(
        first["kind"],
        first["id"],
        _outcome(first["kind"], first["id"], first["outcome"]),
        tuple(
            Step(row["position"], _action(row["action"]), row["done_at"] is not None)
            for row in rows
            if row["position"] is not None
        ),
    )


def journal_path(state: Path) -> Path:
    """The journal's file in a state directory."""
    return state / "journal.sqlite3"


def trouble(path: Path, error: BaseException) -> JournalError:
    """What is wrong with a journal, and what to do: a full disk, a damaged file and missing rights are three things."""
    if isinstance(error, JournalError):
        return error
    name = str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_")
    what = f"The journal {path} cannot be used: {error}."
    if name.startswith(("CORRUPT", "NOTADB", "IOERR_SHORT_READ")):
        return JournalError(
            f"The journal {path} is damaged ({error}).",
            hint=f"Look at what can be read with `sqlite3 {path} .recover`, then move the file away: "
            "a new one is begun, and runs of the old one can no longer be taken back.",
        )
    if name.startswith("FULL"):
        return JournalError(what, hint="The disk of the state directory is full: free some space, then run it again.")
    if name.startswith(("READONLY", "CANTOPEN", "PERM", "AUTH")):
        return JournalError(what, hint="Run as the user that owns the state directory, or use --state DIR.")
    if name.startswith(("BUSY", "LOCKED")):
        return JournalError(what, hint="Another program holds it open; wait for it to end.")
    if name.startswith("IOERR"):
        return JournalError(what, hint="The disk of the state directory answers with errors: see `dmesg`.")
    return JournalError(what, hint="Check the disk of the state directory, or use --state DIR.")


def _action(text: str) -> Action:
    try:
        return from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        raise JournalError(
            f"The journal holds a change this Mastomend does not understand: {text[:120]}",
            hint="Was it written by a newer Mastomend? Update this one. Nothing was changed.",
        ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _outcome_json(outcome: RecordOutcome) -> dict[str, Any]:
    return {
        "is_local": outcome.is_local,
        "domain": outcome.domain,
        "remote_url": outcome.remote_url,
        "outcome": outcome.outcome,
        "source": outcome.source,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "files": outcome.files,
        "bytes": outcome.bytes,
        "tried": outcome.tried,
    }


def _outcome(kind: str, record_id: int, text: str) -> RecordOutcome:
    d = json.loads(text)
    return RecordOutcome(
        kind,
        record_id,
        d["is_local"],
        d["domain"],
        d["remote_url"],
        None if d["outcome"] is None else Outcome(d["outcome"]),
        None if d["source"] is None else Source(d["source"]),
        d["reason"],
        d["detail"],
        d["files"],
        d["bytes"],
        d["tried"],
    )
