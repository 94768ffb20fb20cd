"""Locks that PostgreSQL holds and that death releases, so they work across machines and state directories.

One for whoever works on the whole instance, and one for each record that is being changed. All are held by one connection of
its own, which names its holder to others. Behind a transaction pooler a session is ours only within a transaction: it then
stays open for as long as the locks do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from mastomend.database.connection import connect, is_pooled
from mastomend.errors import BusyError, DatabaseError
from mastomend.mastodon.database_settings import Database

#: "mastomend" as a number, the same for every installation: the lock of the whole instance.
LOCK_ID = 0x6D617374_6F6D656E & 0x7FFFFFFFFFFFFFFF
#: The first half of the locks of single records; the second is made of the record's name.
_RECORDS = 0x6D617374
#: So long PostgreSQL may take to see that who held a lock has died.
_DYING_S = 1.0

_HOLDER = """
SELECT a.application_name AS holder FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::int8 << 32) | l.objid::int8) = %s AND l.objsubid = 1
"""


def application_name(run: str) -> str:
    """How the holder shows itself to others: at most 63 bytes."""
    return f"mastomend {run} pid {os.getpid()} on {socket.gethostname()}"[:63]


def held_by(holder: str) -> BusyError:
    """Somebody else works on the whole instance."""
    return BusyError(
        f"Another changing run is under way: {holder}.",
        hint="Wait for it to end; its end, even a crash, frees the lock. history tells which is running: under an older id, if "
        "it goes on with one that was cut off.",
    )


class DatabaseLocks:
    """The locks of one run. Close it, or use it as a context manager. Safe to use from many threads."""

    def __init__(self, database: Database, run: str, *, pooled: bool | None = None) -> None:
        """Connect. `pooled` None: it is found out.

        Raises:
            DatabaseError: PostgreSQL cannot be reached.
        """
        self._connection = connect(database, application_name(run), read_only=False)
        self._asking = threading.Lock()
        self._in_use: set[str] = set()  # by threads of this process
        self._due: set[int] = set()  # ours still, and to be given back with the next question
        self._freed = threading.Condition()
        try:
            if is_pooled(database, self._connection) if pooled is None else pooled:
                self._connection.execute("BEGIN")
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> DatabaseLocks:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(psycopg.Error):  # a connection that is gone has freed everything already
            self._connection.execute("SELECT pg_advisory_unlock_all()")
            if self._connection.info.transaction_status is not TransactionStatus.IDLE:
                self._connection.execute("COMMIT")
        self._connection.close()  # in a transaction that failed, a pooler then closes the session, and with it the locks

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Nobody else works on the whole instance.

        Raises:
            BusyError: somebody does; the message says who.
        """
        patience = time.monotonic() + _DYING_S
        while not (got := self._ask("SELECT pg_try_advisory_lock(%s) AS got", [LOCK_ID])[0]["got"]):
            if time.monotonic() > patience:
                break
            time.sleep(_DYING_S / 10)
        if not got:
            holders = self._ask(_HOLDER, [LOCK_ID])
            raise held_by(str(holders[0]["holder"]) if holders else "another process")
        try:
            yield
        finally:
            with contextlib.suppress(DatabaseError):
                self._ask("SELECT pg_advisory_unlock(%s)", [LOCK_ID])

    @contextmanager
    def records(self, names: Sequence[str]) -> Iterator[list[bool]]:
        """For each of those records whether it is ours to change, until the block ends.

        One that another process changes is not ours. One that another thread of this one changes is waited for. While other
        threads hold some, what is given back is given back with the next question, which spares one for each record.
        """
        wanted = set(names)
        with self._freed:
            self._freed.wait_for(lambda: not wanted & self._in_use)
            self._in_use |= wanted
        try:
            numbers = {name: _number(name) for name in wanted}
            got = self._take(set(numbers.values()))
            try:
                yield [numbers[name] in got for name in names]
            finally:
                with self._freed:
                    self._due |= got
        finally:
            with self._freed:
                self._in_use -= wanted
                is_last = not self._in_use
                self._freed.notify_all()
            if is_last:
                with contextlib.suppress(DatabaseError):  # a connection that is gone has freed them already
                    self._take(set())

    def _take(self, wanted: set[int]) -> set[int]:
        """Which of those are ours now. What is due is given back with the same question."""
        with self._freed:
            kept, due = wanted & self._due, sorted(self._due - wanted)
            self._due.clear()
        asked = sorted(wanted - kept)
        if not asked and not due:
            return kept
        question = (
            "SELECT k, CASE WHEN takes THEN pg_try_advisory_lock(%s, k) ELSE pg_advisory_unlock(%s, k) END AS done, takes "
            "FROM unnest(%s::int4[], %s::bool[]) AS w(k, takes)"
        )
        takes = [True] * len(asked) + [False] * len(due)
        rows = self._ask(question, [_RECORDS, _RECORDS, [*asked, *due], takes])
        return kept | {row["k"] for row in rows if row["takes"] and row["done"]}

    def _ask(self, question: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
        try:
            with self._asking:
                return self._connection.execute(question, parameters).fetchall()
        except psycopg.Error as error:
            raise DatabaseError(
                f"PostgreSQL: the connection that holds Mastomend's locks is lost: {' '.join(str(error).split())[:200]}",
                hint="The same command goes on where it stopped.",
            ) from None


def _number(name: str) -> int:
    """32 bits of a name, as PostgreSQL counts them. Two names that share one only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)
