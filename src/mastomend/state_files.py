"""Mastomend's own files: they hold addresses of people's pictures and what was changed, so only their owner may read them.

A state directory is 0700 and what is in it 0600. A folder that holds somebody else's files keeps its mode: Mastomend may be
told to put its own beside them. Nothing in it is opened through a link somebody else may have put there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

#: All that Mastomend puts into a state directory, or into a folder of it.
_OURS = re.compile(
    r"journal\.sqlite3(-wal|-shm)?|reserve|lock|owners|deep-seed|scans|runs|\d{8}T\d{6}Z-\w+|work|spill\S*"
    r"|(findings|outcomes|strays|evictions)\.parquet(\.\w+)?|usage\.json|migrations\.json|crossing\.parquet(\.\w+)?|scan\.duckdb(\.wal)?|scope\.json"
)


def private_folder(path: Path) -> Path:
    """Make that folder and those above it, if need be, and close it to others if all that is in it is Mastomend's.

    Raises:
        OSError: it cannot be made, or something else is in its place.
    """
    for missing in [folder for folder in reversed([path, *path.parents]) if not folder.exists()]:
        with contextlib.suppress(FileExistsError):  # somebody was faster, or it is no folder: the look below tells
            missing.mkdir(mode=0o700)
            inherit(missing)
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "Not a directory", str(path))
    if status.st_mode & 0o077 and status.st_uid == os.geteuid() and _is_all_ours(path):
        path.chmod(0o700)
    return path


def _is_all_ours(path: Path) -> bool:
    with os.scandir(path) as entries:
        return all(_OURS.fullmatch(entry.name) for entry in entries)


def private_file(path: Path) -> int:
    """A descriptor of that file, made if it is not there; never of what a link there leads to.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    inherit(path, descriptor)
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_file(path: Path) -> None:
    """As `private_file`, for somebody else to open.

    A file that is there is not opened: where this process has a database open in it, closing it here would let go of every lock
    the database holds on it (POSIX locks are a process's, not a descriptor's).

    Raises:
        OSError: it cannot be made, or something else is in its place.
    """
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        inherit(path, made)
        os.close(made)
        return
    except FileExistsError:
        status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ELOOP, "It is no plain file", str(path))
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        path.chmod(0o600)


#: So many folders below a state directory belong to one scan or run.
_DEPTH = 2
_to_be_handed_over: dict[Path, tuple[int, Path]] = {}
_used: set[Path] = set()


def to_be_handed_over(state: Path, heir: int, shared: Path) -> None:
    """As `hand_over`, once the command has ended."""
    _to_be_handed_over[state] = (heir, shared)


def inherit(path: Path, descriptor: int | None = None) -> None:
    """What root makes in a state directory that is to be handed over is given away at once: others look into it meanwhile, and
    root may be killed. Whoever writes there without `private_file` calls it.
    """
    for state, (heir, _) in _to_be_handed_over.items():
        if path.is_relative_to(state):
            _used.add(state)
            user = state.stat().st_uid or heir
            if user and descriptor is not None:
                _give(descriptor, user)
            elif user:
                os.chown(path, user, -1, follow_symlinks=False)


def hand_over_all() -> None:
    """What was to be handed over when the command has ended, if anything was written there."""
    while _to_be_handed_over:
        state, (heir, shared) = _to_be_handed_over.popitem()
        if state in _used:
            hand_over(state, heir, shared)
    _used.clear()


def hand_over(state: Path, heir: int, shared: Path) -> None:
    """Give what root has put into a state directory to the user it belongs to, or to `heir` where it is root's as well. Others
    may pass through `shared`, where directories of several instances are, and not look around.

    Only Mastomend's own: other files may be beside them. Nothing is followed out of the directory: no link, and no second name
    of a file that is somewhere else, too.
    """
    with contextlib.suppress(OSError):
        user = state.stat().st_uid or heir
        if not user:
            return
        if state.parent == shared and shared.stat().st_uid == 0:
            shared.chmod(0o711)
        for above, folders, files, folder in os.fwalk(state, follow_symlinks=False):
            depth = len(Path(above).relative_to(state).parts)
            if depth < _DEPTH:  # below, all is ours
                folders[:] = [name for name in folders if _OURS.fullmatch(name)]
                files = [name for name in files if _OURS.fullmatch(name)]
            if depth >= _DEPTH or _is_all_ours(Path(above)):
                _give(folder, user)
            for name in files:
                with contextlib.suppress(OSError):
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
                    try:
                        _give(file, user)
                    finally:
                        os.close(file)


def _give(descriptor: int, user: int) -> None:
    status = os.fstat(descriptor)
    is_single = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    if status.st_uid == 0 and is_single:
        os.fchown(descriptor, user, -1)


def replace_text(path: Path, text: str, mode: int) -> None:
    """Put a file that others read in the place of what was there, at once: nobody ever reads half of it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(mode)
    inherit(temporary)
    temporary.replace(path)


#: The reserve's bytes, and how much must be free for it to be made.
_RESERVE, _PLENTY = 2 * 1024 * 1024, 32 * 1024 * 1024
#: So little free is nothing.
_NO_ROOM = 64 * 1024


def _reserve(state: Path) -> Path:
    return state / "reserve"


def _free(state: Path) -> int:
    found = os.statvfs(state)
    return found.f_bavail * found.f_frsize


def keep_reserve(state: Path) -> None:
    """A file that holds nothing beside the journal, where there is plenty of room: on a full disk it makes some."""
    with contextlib.suppress(OSError):
        if not _reserve(state).exists() and _free(state) > _PLENTY:
            make_private_file(_reserve(state))
            with _reserve(state).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE)


def give_up_reserve(state: Path) -> bool:
    """Whether the disk is full and there was one."""
    try:
        if _free(state) > _NO_ROOM:
            return False
        _reserve(state).unlink()
    except OSError:
        return False
    return True


def is_full(state: Path) -> bool:
    """Whether there is no room on that folder's disk. Raises OSError."""
    return _free(state) <= _NO_ROOM
