"""One changing run at a time per instance: a lock that names its holder and that death releases.

PostgreSQL holds it (a session advisory lock), so it works across machines and state directories; a lock on a file in
the state directory stands beside it, because behind a transaction-pooling pgbouncer a session lock means nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from mastomend.errors import JournalError, SafetyStop
from mastomend.state_files import private_file, private_folder

#: Our advisory lock: "mastomend" as a number, the same for every installation.
LOCK_ID = 0x6D617374_6F6D656E & 0x7FFFFFFFFFFFFFFF

_HOLDER = """
SELECT a.application_name AS holder FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::int8 << 32) | l.objid::int8) = %s AND l.objsubid = 1
"""


def application_name(run: str) -> str:
    """How the holder shows itself to others: at most 63 bytes."""
    return f"mastomend {run} pid {os.getpid()} on {socket.gethostname()}"[:63]


@contextmanager
def changing_run(
    connection: psycopg.Connection[dict[str, Any]], state: Path, run: str, *, pooled: bool = False
) -> Iterator[None]:
    """Hold the lock for the block. `pooled`: behind a transaction pooler, where only a transaction has a session.

    Raises:
        SafetyStop: another run holds it; the message says which.
    """
    with _file_lock(state, run):
        if pooled:
            with connection.transaction():
                _take(connection, "pg_try_advisory_xact_lock")
                yield
            return
        _take(connection, "pg_try_advisory_lock")
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):  # a connection that is gone has freed it already
                connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_ID])


def _take(connection: psycopg.Connection[dict[str, Any]], function: LiteralString) -> None:
    row = connection.execute(f"SELECT {function}(%s) AS got", [LOCK_ID]).fetchone()
    if row is None or not row["got"]:
        holder = connection.execute(_HOLDER, [LOCK_ID]).fetchone()
        raise _held(holder["holder"] if holder else "another process")


@contextmanager
def _file_lock(state: Path, run: str) -> Iterator[None]:
    try:
        descriptor = private_file(private_folder(state) / "lock")
    except OSError as error:
        raise JournalError(f"{state}/lock cannot be opened: {error.strerror}.", hint="Use --state DIR.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, application_name(run).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _held(holder: str) -> SafetyStop:
    return SafetyStop(
        f"Another changing run is under way: {holder}.",
        hint="Wait for it to end; its end, even a crash, frees the lock.",
    )
