"""What is wrong with a place on a disk: in words, from the outermost folder down."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

_NAME_MAX = 255
_LEFT_ON_AN_EMPTY_DISK = frozenset({"lost+found", ".keep", ".gitkeep"})


def obstacle(root: Path, key: str) -> str:
    """Why a file could not be looked at."""
    above = root
    for below in (*reversed(Path(key).parents[:-1]), Path(key)):
        try:
            (root / below).stat()
        except PermissionError:
            return (
                f"{above} may not be entered by this user (run as the one that runs Mastodon, or let it in: chmod o+rx)"
            )
        except OSError as error:
            return f"{'the file' if below == Path(key) else root / below} cannot be read: {error.strerror}"
        above = root / below
    return "it could not be looked at a moment ago"


def of(root: Path, key: str) -> str:
    """What keeps a file from being where it belongs, '' if nothing does."""
    path = root / key
    if any(len(os.fsencode(part)) > _NAME_MAX for part in Path(key).parts):
        return f"a name of more than {_NAME_MAX} bytes, which no disk takes"
    try:
        status = path.lstat()
    except OSError:
        return _above(path)
    if stat.S_ISDIR(status.st_mode):
        return "a directory is in its place"
    if stat.S_ISLNK(status.st_mode):
        return f"a link is in its place, to {os.readlink(path)}"  # noqa: PTH115
    return "" if stat.S_ISREG(status.st_mode) else "something that is no file is in its place"


def _above(path: Path) -> str:
    """What is wrong with the nearest folder above that is there."""
    for folder in path.parents:
        try:
            status = folder.stat()
        except FileNotFoundError:
            if folder.is_symlink():
                return f"{folder} is a link to {os.readlink(folder)}, which does not exist"  # noqa: PTH115
            continue
        except NotADirectoryError:
            continue
        except OSError as error:
            return f"{folder}: {error.strerror}"
        return "" if stat.S_ISDIR(status.st_mode) else f"{folder} is a file, not a directory"
    return ""


def unwritable(folder: Path) -> str:
    """Whose rights keep this user from writing in that folder, or, while it is not there, in the one it would be made in; ''
    if nobody's do.
    """
    there = next((one for one in (folder, *folder.parents) if os.path.isdir(one)), None)  # noqa: PTH112 - a closed one is none
    if there is None or os.access(there, os.W_OK | os.X_OK):
        return ""
    return f"this user may not write into {there}, which belongs to {owner(there)}"


def owner(path: Path) -> str:
    """The name of whoever that belongs to, or the number of one who has none; somebody else where that may not be seen."""
    try:
        user = path.stat().st_uid
    except OSError:
        return "somebody else"
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def hole(root: Path, prefix: str) -> str | None:
    """Whether a folder, or one above it, is not there or empty, as where a disk is not mounted; in words."""
    path = root
    for part in ("", *prefix.strip("/").split("/")):
        path = path / part
        try:
            with os.scandir(path) as entries:
                holds_something = any(entry.name not in _LEFT_ON_AN_EMPTY_DISK for entry in entries)
        except FileNotFoundError:
            if path.is_symlink():
                return f"{path} is a link to {os.readlink(path)}, which does not exist"  # noqa: PTH115
            return f"{path} does not exist"
        except NotADirectoryError:
            return f"{path} is not a directory"
        except OSError:
            return None  # it is not known to be empty
        if not holds_something:
            return f"{path} is {'an empty mount point' if path.is_mount() else 'empty'}"
    return None


def twins(root: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """Two of those folders below the root that are one on the disk, by links or mounts; None if each is its own."""
    seen: dict[tuple[int, int], str] = {}
    for folder in folders:
        try:
            status = (root / folder).stat()
        except OSError:  # what is not there has no twin
            continue
        first = seen.setdefault((status.st_dev, status.st_ino), folder)
        if first != folder:
            return first, folder
    return None
