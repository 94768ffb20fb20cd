"""What makes a write on a disk survive a crash: a file beside its target, synced, renamed, and every folder that got an entry.

Folders are made by whoever needs them and are not durable before `sync_up_from` a folder below: each on its own would wait
for the disk. Run as root, what is made gets the owner of the folder it appears in, so that Mastodon can still delete it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

_TEMPORARY = ".mastomend-tmp"


class DurableFolders:
    """The folders below a root; safe to use from many threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: Folders in which one was made and that were not synced since, with the number of the last one.
        self._unsynced: dict[Path, int] = {}
        self._numbers = itertools.count(1)
        self._making = threading.Lock()

    def make(self, folder: Path, *, private: bool) -> None:
        """That folder and what is missing above it. Raises OSError."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with self._making:
                try:
                    new.mkdir(mode=0o700 if private else 0o777)
                except FileExistsError:  # another writer was faster
                    continue
                self._unsynced[new.parent] = next(self._numbers)
            descriptor = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
            try:
                adopt_owner(descriptor, new.parent)
            finally:
                os.close(descriptor)

    def sync_up_from(self, folder: Path) -> None:
        """A folder's entries, and those of every folder above it in which one was made, by whomever, are durable."""
        with self._making:
            above = {one: self._unsynced[one] for one in folder.parents if one in self._unsynced}
            due = {folder: self._unsynced.get(folder, 0)} | above
        for one in due:
            sync_folder(one)
        with self._making:
            for one, number in due.items():
                if self._unsynced.get(one) == number:  # nothing was made there since
                    del self._unsynced[one]

    def remove_empty(self, folder: Path) -> None:
        """As Mastodon does after a deletion: upwards until a directory is not empty."""
        path, root = str(folder), str(self._root)
        while path != root:
            try:
                os.rmdir(path)  # noqa: PTH106 - for hundreds of thousands of them a path as text
            except FileNotFoundError:
                pass
            except OSError:
                return
            path = os.path.dirname(path)  # noqa: PTH120


def write_beside(path: Path, write: Callable[[int], None], mode: int | None) -> None:
    """A whole file at that path, or what was there before. `mode` None: what is written says so itself. Raises OSError."""
    beside = temporary(path)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
            adopt_owner(descriptor, path.parent)
        write(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)


def temporary(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{hashlib.sha1(path.name.encode()).hexdigest()}{_TEMPORARY}")


def sync_folder(folder: Path) -> None:
    """A folder's entries are durable; one that is gone has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pour(source: Path, descriptor: int) -> None:
    """All of a file into another."""
    with source.open("rb") as original, os.fdopen(os.dup(descriptor), "wb") as duplicate:
        shutil.copyfileobj(original, duplicate, 1024 * 1024)


def look_like(descriptor: int, model: Path) -> None:
    """Mode, owner and time of another file, as far as this user may give them."""
    status = model.stat()
    if os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


def adopt_owner(descriptor: int, parent: Path) -> None:
    """The owner of the folder it is in, where this user may give it."""
    if os.geteuid() == 0:
        owner = parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_second_name(origin: Path, destination: Path) -> bool:
    """Give a file a second name where nothing is; False where that cannot be done, and a rename must do.

    Raises:
        FileExistsError: something is there.
    """
    try:
        os.link(origin, destination, follow_symlinks=False)
    except OSError as error:
        if isinstance(error, FileExistsError | FileNotFoundError):
            raise
        return False
    return True
