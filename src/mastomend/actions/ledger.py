"""What is still broken, across runs: since when, how often it was tried, when it is due again.

A record enters the ledger with its first outcome that is not a success and leaves it when it is whole. It lives in the
journal's file; an entry is written with the outcome it comes from. It is about the file the record had then: what is known
of it says nothing of a new one.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from arro3.core import Array, DataType, Table

from mastomend.actions.deferral import AT_ONCE, Deferral, counts, is_dead, rests
from mastomend.actions.journal import Journal
from mastomend.database.visibility import printable
from mastomend.outcomes import Deferred, Lost, Outcome, Refreshed, Restored, Verdict
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
  kind TEXT NOT NULL, id INTEGER NOT NULL, is_local INTEGER NOT NULL, domain TEXT, remote_url TEXT,
  outcome TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, tries INTEGER NOT NULL, first_seen TEXT NOT NULL,
  last_tried TEXT NOT NULL, next_try TEXT, dead_since TEXT, PRIMARY KEY (kind, id)
) STRICT
"""
#: Beside it, as earlier versions of the same journal have no such column.
_FILES = (
    "CREATE TABLE IF NOT EXISTS ledger_files (kind TEXT, id INTEGER, file_name TEXT, PRIMARY KEY (kind, id)) STRICT"
)
_ENTRIES = "SELECT l.*, f.file_name FROM ledger l LEFT JOIN ledger_files f ON f.kind = l.kind AND f.id = l.id"
_DELETE = tuple(f"DELETE FROM {table} WHERE kind = ? AND id = ?" for table in ("ledger", "ledger_files"))  # noqa: S608
#: Entries that are dropped in one transaction.
_TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that is still broken. Times in UTC; `next_try` None: it is not tried again by itself. `file_name` is that of
    the file it is about, None if that is not known.
    """

    kind: str
    id: int
    is_local: bool
    domain: str | None
    remote_url: str | None
    outcome: Outcome
    reason: str
    detail: str
    tries: int
    first_seen: datetime
    last_tried: datetime
    next_try: datetime | None
    dead_since: datetime | None
    file_name: str | None = None

    def is_about(self, file_name: str | None) -> bool:
        """Whether it is about that file of its record, as far as is known."""
        return not self.file_name or not file_name or self.file_name == printable(file_name)


class Ledger:
    """The entries in a journal's file."""

    def __init__(self, journal: Journal, policy: Deferral) -> None:
        self._journal = journal
        self._policy = policy
        journal.commit((_SCHEMA, ()), (_FILES, ()))
        self._unwritten: OrderedDict[tuple[str, int], int] = OrderedDict()  # not in the file yet, oldest first
        self._lock = threading.Lock()

    def settle(self, row: RowOf, verdict: Verdict, now: datetime) -> Verdict:
        """Note what became of a record. Returns the verdict to report: one deferral too many is `lost`."""
        if isinstance(verdict, Restored | Refreshed):
            self._write(row.kind, row.id, *((sql, (row.kind, row.id)) for sql in _DELETE))
            return verdict
        if verdict.reason is Reason.UNWRITABLE:  # that is this user's trouble: of the record nothing is known by it
            return verdict
        old = self.entry(row.kind, row.id)
        old = old if old is not None and old.is_about(row.file_name) else None
        tries = (old.tries if old else 0) + counts(verdict)
        since = old.first_seen if old else now
        if counts(verdict) and tries >= self._policy.tries:
            detail = f"deferred {tries} times since {since:%Y-%m-%d}; the last time: {verdict.reason.words}"
            verdict = Lost(Reason.GAVE_UP, detail, verdict.source, verdict.tried)
        due = None
        if isinstance(verdict, Deferred):
            due = now + timedelta(seconds=self._policy.wait_s(max(tries, 1)))
        elif rests(verdict):
            due = now + timedelta(days=self._policy.again_days)
        dead = (old.dead_since if old and old.dead_since else now) if is_dead(verdict) else None
        self._write(
            row.kind,
            row.id,
            (
                "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.kind,
                    row.id,
                    int(row.is_local),
                    row.domain,
                    row.remote_url,
                    verdict.outcome.value,
                    verdict.reason.value,
                    verdict.detail,
                    tries,
                    _text(since),
                    _text(now),
                    _text(due) if due else None,
                    _text(dead) if dead else None,
                ),
            ),
            (
                "INSERT OR REPLACE INTO ledger_files VALUES (?, ?, ?)",
                (row.kind, row.id, printable(row.file_name) if row.file_name else None),
            ),
        )
        return verdict

    def entry(self, kind: str, record_id: int) -> Entry | None:
        """The record's entry."""
        with self._lock:
            is_written = self._unwritten.get((kind, record_id), 0) <= self._journal.written
        ask = self._journal.glance if is_written else self._journal.query  # which waits for the journal's next sync
        rows = ask(f"{_ENTRIES} WHERE l.kind = ? AND l.id = ?", (kind, record_id))
        return _entry(rows[0]) if rows else None

    def entries(self, records: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Entry]:
        """The entries of those records that have one."""
        found: dict[tuple[str, int], Entry] = {}
        by_kind: dict[str, list[int]] = {}
        for kind, record_id in records:
            by_kind.setdefault(kind, []).append(record_id)
        for kind, ids in by_kind.items():
            for start in range(0, len(ids), _TOGETHER):
                some = ids[start : start + _TOGETHER]
                marks = ", ".join("?" * len(some))
                rows = self._journal.query(f"{_ENTRIES} WHERE l.kind = ? AND l.id IN ({marks})", (kind, *some))
                found |= {(entry.kind, entry.id): entry for entry in map(_entry, rows)}
        return found

    def tables(self, outcomes: Sequence[str] = ()) -> Iterator[Table]:
        """Every entry's kind, id, outcome, file name and times, as columns, in batches; of those outcomes alone, if any are
        named.
        """
        sql = f"{_ENTRIES} WHERE ? = '[]' OR l.outcome IN (SELECT value FROM json_each(?))"  # noqa: S608
        wanted = json.dumps(list(outcomes))
        rows = self._journal.stream(sql, (wanted, wanted))
        while some := list(islice(rows, 10 * _TOGETHER)):
            texts = [(name, DataType.string()) for name in ("outcome", "file_name", "last_tried", "next_try")]
            columns = [("kind", DataType.string()), ("id", DataType.int64()), *texts]
            yield Table.from_pydict({name: Array([row[name] for row in some], type=arrow) for name, arrow in columns})

    def due(self, now: datetime) -> Iterator[tuple[str, int]]:
        """Deferred records whose time has come."""
        sql = "SELECT kind, id FROM ledger WHERE outcome = 'deferred' AND next_try <= ?"
        for row in self._journal.stream(sql, (_text(now),)):
            yield row["kind"], row["id"]

    def resting(self, kind: str, files: Mapping[int, str | None], now: datetime) -> dict[int, str]:
        """Those of the records (with the names of their files) whose origin is not to be asked again yet, and why it was not
        of use: it has said no, or has to be waited for. What was our own affair may be tried at any time.
        """
        entries = self.entries((kind, record_id) for record_id in files).values()
        about = (e for e in entries if e.reason not in AT_ONCE and e.is_about(files[e.id]))
        return {e.id: e.reason for e in about if e.next_try is not None and e.next_try > now}

    def records(self, *, handed_over: bool) -> Iterator[tuple[str, int]]:
        """Every record that has an entry: those that were emptied for Mastodon to fetch, or the others."""
        sql = "SELECT kind, id FROM ledger WHERE (reason IN ('handed_over', 'reset')) = ?"
        for row in self._journal.stream(sql, (int(handed_over),)):
            yield row["kind"], row["id"]

    def number(self, outcome: Outcome) -> int:
        """How many records have come to that."""
        return int(self._journal.query("SELECT count(*) AS n FROM ledger WHERE outcome = ?", (outcome.value,))[0]["n"])

    def lost(self) -> Iterator[Entry]:
        """Permanent losses: `lost` and `gone`, local ones first, then by age."""
        sql = f"{_ENTRIES} WHERE l.outcome IN ('lost', 'gone') ORDER BY l.is_local DESC, l.first_seen, l.kind, l.id"
        return map(_entry, self._journal.stream(sql))

    def forget(self, records: Iterable[tuple[str, int]]) -> None:
        """These are whole again, or gone from the database."""
        rest = iter(records)
        while some := list(islice(rest, _TOGETHER)):
            self._journal.commit(*((sql, record) for record in some for sql in _DELETE))

    def _write(self, kind: str, record_id: int, *statements: tuple[str, tuple[object, ...]]) -> None:
        with self._lock:
            number = self._journal.note(*statements)
            self._unwritten.pop((kind, record_id), None)
            self._unwritten[kind, record_id] = number
            while self._unwritten and next(iter(self._unwritten.values())) <= self._journal.written:
                self._unwritten.popitem(last=False)


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        row["kind"],
        row["id"],
        bool(row["is_local"]),
        row["domain"],
        row["remote_url"],
        Outcome(row["outcome"]),
        row["reason"],
        row["detail"],
        row["tries"],
        datetime.fromisoformat(row["first_seen"]),
        datetime.fromisoformat(row["last_tried"]),
        datetime.fromisoformat(row["next_try"]) if row["next_try"] else None,
        datetime.fromisoformat(row["dead_since"]) if row["dead_since"] else None,
        row["file_name"],
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
