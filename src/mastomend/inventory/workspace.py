"""Where one scan keeps what it has seen so far: DuckDB within a memory budget, spilling to the state directory's disk.

A scan is a row of steps (a table read, a thousand directories looked up, a range listed). What a step found and the
note that it is done are committed together, so a scan that was cut off, even by `kill -9`, goes on behind its last
step: the folder stays until the scan is whole, and the next scan of the same scope takes it up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from mastomend.errors import JournalError
from mastomend.interrupts import stoppable
from mastomend.state_files import inherit, keep_reserve, make_private_file, private_file, private_folder, replace_text

MEBIBYTE = 1024 * 1024
#: What the interpreter, the drivers and what DuckDB holds beside its own count need.
_OVERHEAD = 192 * MEBIBYTE
_SMALLEST = 64 * MEBIBYTE
#: Nothing is ever fetched from anywhere.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
_DATABASE, _SCOPE, _LOCK = "scan.duckdb", "scope.json", "lock"
#: What an older scan saw is not worth going on with.
MAX_AGE = timedelta(hours=12)

#: What the system says of a disk without room.
_FULL = os.strerror(errno.ENOSPC)

Scope = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A scan that was cut off."""

    scan: str
    started_at: datetime
    scope: Scope


class Workspace:
    """The tables of one scan and which of its steps are done. Used from one thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        connection.execute("CREATE TABLE IF NOT EXISTS steps (step VARCHAR)")
        self._done = {step for (step,) in connection.execute("SELECT step FROM steps").fetchall()}

    def did(self, step: str) -> bool:
        """Whether that step is done."""
        return step in self._done

    @contextmanager
    def step(self, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """What the block writes and that the step is done become true together, or neither does."""
        self.connection.execute("BEGIN")
        try:
            yield self.connection
            self.connection.execute("INSERT INTO steps VALUES (?)", [name])
            self.connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # a failed statement may have ended the transaction itself
                self.connection.execute("ROLLBACK")
            raise
        self._done.add(name)


def unfinished(scans: Path, now: datetime) -> Iterator[Unfinished]:
    """Scans below that folder that were cut off and are young enough to go on with, newest first.

    What is too old is removed, but for scans that are still running.
    """
    for folder in sorted((p.parent for p in scans.glob("*/work")), reverse=True):
        if _is_held(folder / "work" / _LOCK):
            continue
        file = folder / "work" / _SCOPE
        try:
            scope = json.loads(file.read_text(encoding="utf-8"))
            started = datetime.fromisoformat(scope.pop("started_at"))
        except (OSError, ValueError, KeyError):
            started, scope = datetime.fromtimestamp((folder / "work").stat().st_mtime, UTC), None
        if now - started >= MAX_AGE:
            discard(folder)
        elif scope is not None:
            yield Unfinished(folder.name, started, scope)


def discard(scan: Path) -> None:
    """What a scan that was cut off has seen, and its folder, if nothing else is in it."""
    shutil.rmtree(scan / "work", ignore_errors=True)
    with contextlib.suppress(OSError):
        scan.rmdir()


def is_under_way(scan: Path) -> bool:
    """Whether a process is making the scan of that folder right now."""
    return _is_held(scan / "work" / _LOCK)


def _is_held(path: Path) -> bool:
    """Whether somebody holds the lock of that file or folder; the lock of a process that died is free."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # NFS locks what may be written
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
    return False


def _connect(database: Path) -> duckdb.DuckDBPyConnection:
    """The scan's database; one that cannot be read any more is begun anew."""
    try:
        connection = duckdb.connect(str(database), config=_CONFIG)
        Workspace(connection)
    except duckdb.Error:
        if not database.exists():
            raise
        database.unlink()
        database.with_name(f"{database.name}.wal").unlink(missing_ok=True)
        connection = duckdb.connect(str(database), config=_CONFIG)
    return stoppable(connection)


def _limit(connection: duckdb.DuckDBPyConnection, budget: int, spill: Path) -> None:
    connection.execute(f"SET memory_limit = '{budget}B'")
    connection.execute(f"SET temp_directory = '{str(spill).replace(chr(39), chr(39) * 2)}'")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    # file names are random: looking for what they have in common takes as long as reading them from PostgreSQL
    connection.execute("SET disabled_compression_methods = 'fsst,dict_fsst'")


@contextmanager
def scratch(folder: Path, budget: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Tables for the time of the block, `budget` bytes of them in memory and the others in a folder there.

    Raises:
        JournalError: there is no room for them.
    """
    try:
        private_folder(folder)
        for left in folder.parent.glob("*/spill-*"):
            _sweep(left)
        spill = Path(tempfile.mkdtemp(prefix="spill-", dir=folder))
        inherit(spill)
        lock = os.open(spill, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        with contextlib.suppress(OSError):  # without locks nothing is swept
            fcntl.flock(lock, fcntl.LOCK_EX)
        with stoppable(duckdb.connect(":memory:", config=_CONFIG)) as connection:
            _limit(connection, max(budget, _SMALLEST), spill)
            connection.execute("SET threads = 1")  # each would want its own share of the little there is
            yield connection
    except duckdb.Error as error:
        if not isinstance(error, duckdb.OutOfMemoryException) and not _is_of_the_disk(error):
            raise  # a defect of ours
        raise _unusable(folder, error) from None
    finally:
        shutil.rmtree(spill, ignore_errors=True)
        os.close(lock)


def _sweep(left: Path) -> None:
    """Remove what a process spilled that was killed; whoever is alive holds the folder's lock."""
    with contextlib.suppress(OSError):  # somebody else was faster
        age = datetime.now(UTC) - datetime.fromtimestamp(left.stat().st_mtime, UTC)
        if age >= MAX_AGE and not _is_held(left):
            shutil.rmtree(left, ignore_errors=True)


def is_closed(error: Exception) -> bool:
    """Whether this user may not do it, by what the system says."""
    return isinstance(error, PermissionError) or os.strerror(errno.EACCES) in str(error)


def _whose(folder: Path) -> str:
    """What helps where this user may not do what it has to."""
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
    if there == folder and there.stat().st_uid == os.geteuid():
        return "Something in it belongs to another user. Run the same command as root: that gives it back."
    return (
        "This user may not write there. Name a directory of its own with --state DIR, or give it that one (chown -R); in a "
        "container, give it the volume: see the guide on Docker."
    )


def _is_of_the_disk(error: duckdb.Error) -> bool:
    """Whether the disk is what fails. DuckDB says so with any of its errors, a failed commit for one."""
    said = str(error)
    return isinstance(error, duckdb.IOException) or any(words in said for words in ("orrupt", "Could not ", _FULL))


def _unusable(folder: Path, error: Exception) -> JournalError:
    why = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return JournalError(f"The memory budget is too small: {why}", hint="Raise `memory` in mastomend.toml.")
    return JournalError(
        f"The state directory {folder} cannot be used: {why}.",
        hint=_whose(folder) if is_closed(error) else "Is its disk full? Use --state DIR to put it elsewhere.",
    )


def _cannot_write(state: Path, error: Exception) -> JournalError:
    """Why nothing can be written there, and what to do."""
    if "No space left" in str(error):
        return JournalError(
            f"The state directory {state} cannot be written: the disk it is on is full.",
            hint="Free some space there, or name a directory on another disk with --state, now and in every later command. If "
            "something was changed before, copy what is there (cp -a) and name the copy.",
        )
    why = error.strerror if isinstance(error, OSError) else error
    hint = _whose(state) if is_closed(error) else "Use --state DIR."
    return JournalError(f"The state directory {state} cannot be written: {why}.", hint=hint)


@contextmanager
def workspace(folder: Path, budget: int, scope: Scope, started_at: datetime | None = None) -> Iterator[Workspace]:
    """The workspace in `folder/work`; removed when the block ends well, left to be taken up when it does not.

    Raises:
        JournalError: it cannot be written, or the scan does not fit.
    """
    work = folder / "work"
    lock = contextlib.ExitStack()
    try:
        keep_reserve(private_folder(folder.parent.parent))  # the state directory itself
        private_folder(work / "spill")
        make_private_file(work / _DATABASE)
        held = private_file(work / _LOCK)
        lock.callback(os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        connection = _connect(work / _DATABASE)
        for made in work.glob(f"{_DATABASE}*"):  # DuckDB makes an empty one anew
            inherit(made)
        if not (work / _SCOPE).exists():
            begun = (started_at or datetime.now(UTC)).isoformat()
            replace_text(work / _SCOPE, json.dumps({**scope, "started_at": begun}), 0o600)
    except (OSError, duckdb.Error) as error:
        raise _cannot_write(folder.parent.parent, error) from None
    try:
        _limit(connection, max(budget - _OVERHEAD, _SMALLEST), work / "spill")
        # what is joined is known to be built of what is held, never of the many expected keys
        connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        yield Workspace(connection)
    except duckdb.OutOfMemoryException as error:
        raise JournalError(
            f"The scan does not fit: {str(error).splitlines()[0]}",
            hint="Raise `memory` in mastomend.toml, or free space where the state directory is.",
        ) from None
    except duckdb.Error as error:
        if not _is_of_the_disk(error):
            raise  # a defect of ours
        if _FULL in str(error):  # it could not go on with it, and the room is needed
            connection.close()
            shutil.rmtree(work, ignore_errors=True)
            raise _cannot_write(folder.parent.parent, error) from None
        raise JournalError(
            f"The state directory {folder} cannot be used: {str(error).splitlines()[0]}",
            hint=_whose(folder) if is_closed(error) else "Is its disk full? Free some space there, or use --state DIR.",
        ) from None
    else:
        connection.close()
        shutil.rmtree(work, ignore_errors=True)
    finally:
        connection.close()
        lock.close()
