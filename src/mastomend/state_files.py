"""Mastomend's own files: they hold addresses of people's pictures and what was changed, so only their owner may read them.

A state directory is 0700 and what is in it 0600. Nothing in it is opened through a link somebody else may have put there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make that folder and those above it, if need be, and close it to others.

    Raises:
        OSError: it cannot be made, or something else is in its place.
    """
    with contextlib.suppress(FileExistsError):  # it, or something that is no folder: the look below tells
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "Not a directory", str(path))
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        path.chmod(0o700)
    return path


def private_file(path: Path) -> int:
    """A descriptor of that file, made if it is not there; never of what a link there leads to.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_file(path: Path) -> None:
    """As `private_file`, for somebody else to open."""
    os.close(private_file(path))
