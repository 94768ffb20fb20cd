"""Which runs are alive: each holds a lock on a file of its own in the state directory, which its death releases.

Whoever can read the journal can see these locks: they lie beside it. Only plans of runs whose owner is dead may be settled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mastomend.database.locks import application_name, held_by
from mastomend.errors import JournalError
from mastomend.state_files import private_file, private_folder


def _open(path: Path) -> int:
    try:
        private_folder(path.parent)
        return private_file(path)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be opened: {error.strerror}.",
            hint="If it belongs to another user, give the state directory to this one: chown -R.",
        ) from None


@contextmanager
def alone(state: Path, run: str) -> Iterator[None]:
    """Nobody else works on the whole instance from this state directory; behind a pooler PostgreSQL's lock may mean little.

    Raises:
        SafetyStop: somebody does; the message says who.
    """
    descriptor = _open(state / "lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise held_by(os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, application_name(run).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def owned(state: Path, run: str) -> Iterator[bool]:
    """Whether that run is ours until the block ends; it is not while its owner lives."""
    path = state / "owners" / run
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        if not _is_still(descriptor, path):  # its owner ended between our two steps, and somebody new may have begun
            yield False
            return
        try:
            yield True
        finally:
            with contextlib.suppress(OSError):  # a file that stays is no harm: nobody holds it
                path.unlink()
    finally:
        os.close(descriptor)


def is_alive(state: Path, run: str) -> bool:
    """Whether that run's owner lives; not known where its lock may not be looked at, which is no."""
    try:
        with (state / "owners" / run).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is gone with its owner
        return False
    return False


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
