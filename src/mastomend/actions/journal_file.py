"""The journal's file: SQLite, WAL, `synchronous=FULL`, and one thread that writes for many.

Whatever has been handed in meanwhile goes into one transaction and one sync. Only what must be durable before something is
done is waited for (`commit`); the rest is written in its order behind that (`note`), and if it cannot be, everything after
it fails.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from mastomend.errors import JournalError
from mastomend.state_files import give_up_reserve, is_full, keep_reserve, make_private_file, private_folder

Statement = tuple[str, Sequence[object]]
#: Statements, and who waits for them to be durable.
_Handed = tuple[Sequence[Statement], "Future[None] | None"]
#: Rows that are read together where there may be millions.
PAGE = 1_000


class JournalFile:
    """The file in a state directory. Safe to use from many threads; close it. `schema` is what it holds.

    Beside it lies a file that holds nothing (`reserve`): on a disk that is full it makes room for what must be written to
    look at the journal, and to free room.
    """

    def __init__(self, state: Path, schema: str, versions: tuple[int, int]) -> None:
        """Open it, or begin one. `versions` are the oldest that is understood, and the one it becomes.

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
            self._db = self._opened(schema, versions)
        except sqlite3.Error as error:
            if not give_up_reserve(state):
                raise trouble(self._path, error) from None
            try:
                self._db = self._opened(schema, versions)
            except sqlite3.Error as error:
                raise trouble(self._path, error) from None
        keep_reserve(state)
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self.written = 0  # how many of those handed in are in the file: see `note`
        self._handed_in = 0
        self._handing_in = threading.Lock()
        self._inbox: queue.SimpleQueue[_Handed | None] = queue.SimpleQueue()
        self._failure: JournalError | None = None
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def _opened(self, schema: str, versions: tuple[int, int]) -> sqlite3.Connection:
        connection = self._connect()
        try:
            self._set_up(connection, schema, *versions)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection, schema: str, oldest: int, known: int) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > known:
            raise JournalError(
                f"The journal {self._path} was written by a newer Mastomend (version {version}; this one knows {known}).",
                hint="Update Mastomend. Nothing was changed.",
            )
        if 0 < version < oldest:
            raise JournalError(
                f"The journal {self._path} was written by an older Mastomend (version {version}; this one knows {known}).",
                hint="Take its runs back with that Mastomend if need be, then move the file away: a new one is begun.",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(schema)
        if version != known:
            connection.execute(f"PRAGMA user_version = {known}")

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

    def commit(self, *statements: Statement) -> None:
        """Durable when it returns.

        Raises:
            JournalError: it is not written; nothing that depends on it may be done.
        """
        done: Future[None] = Future()
        self._hand_in(statements, done)
        done.result()

    def note(self, *statements: Statement) -> int:
        """Written in order, durable with the next `commit`. If it cannot be written, everything after it fails.

        Returns its number: it is in the file once `written` is not below that.
        """
        return self._hand_in(statements, None)

    def _hand_in(self, statements: Sequence[Statement], done: Future[None] | None) -> int:
        with self._handing_in:
            self._handed_in += 1
            self._inbox.put((statements, done))
            return self._handed_in

    def _write(self) -> None:
        goes_on = True
        while goes_on:
            batch, goes_on = self._next_batch()
            if not batch:
                continue
            try:
                self._commit(batch)
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

    def _next_batch(self) -> tuple[list[_Handed], bool]:
        """Everything that waits to be written, at least one thing; and whether more may come."""
        batch: list[_Handed] = []
        item = self._inbox.get()
        while item is not None:
            batch.append(item)
            if self._inbox.empty():
                break
            item = self._inbox.get()
        return batch, item is not None

    def _commit(self, batch: Sequence[_Handed]) -> None:
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
                while rows := cursor.fetchmany(PAGE):
                    yield from rows
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None


def _is_full(path: Path) -> bool:
    try:
        return is_full(path.parent)
    except OSError:
        return False


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
    if name.startswith("FULL") or (name.startswith("IOERR") and _is_full(path)):
        return JournalError(
            f"The journal {path} cannot be used: the disk it is on is full.",
            hint=f"Free some space there, then run it again; or copy {path.parent} to another disk (cp -a) and name the copy "
            "with --state.",
        )
    if name.startswith(("READONLY", "CANTOPEN", "PERM", "AUTH")):
        return JournalError(what, hint="Run as the user that owns the state directory, or use --state DIR.")
    if name.startswith(("BUSY", "LOCKED")):
        return JournalError(what, hint="Another program holds it open; wait for it to end.")
    if name.startswith("IOERR"):
        return JournalError(what, hint="The disk of the state directory answers with errors: see `dmesg`.")
    return JournalError(what, hint="Check the disk of the state directory, or use --state DIR.")
