"""The process that walks directories on a local disk. Run by path with nothing but the standard library.

Reading a directory is a few system calls, and Mastodon has about one directory a file; Python threads would take turns
at the interpreter's lock, so `walk` starts one such process per core. Protocol: stdin takes directories below the
root, each ended by a zero byte; for each one stdout gives frames of three 64-bit numbers (n, bytes of the keys, bytes
of the troubles), n 64-bit sizes and n times of the last change (microseconds), the keys and the troubles, every one
ended by a zero byte (a trouble is a path, a tab and a reason); n = -1 ends a directory's answer. A cold disk answers
slowly: then directories are read by many threads.

Rules, which `scan` holds: a directory that vanishes meanwhile is none. One that cannot be read is a trouble. Mount points
are crossed: they are part of the storage. A link to a file is that file. A link to a directory outside the root is
followed, because that is how people move media to a larger disk; one to a directory inside the root is not, because
what is there has a name already; one that leads back to where it is would never end. Other things are no files.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from stat import S_ISDIR, S_ISREG
from time import perf_counter

THREADS = 32
BATCH = 32
FRAME = 8_000
COLD_SECONDS = 300e-6  # for one directory and what is in it; a warm one takes 20 to 60 µs
ENTRY_SECONDS = 10e-6  # and a few more for every entry

ALIAS = "a link into the media directory itself, not followed"
LOOP = "a link that leads back to where it is"
DANGLING = "a link to nothing"
SPECIAL = "neither a file nor a directory"
NOT_UTF8 = "a name that is not UTF-8"
UNREADABLE = "cannot be read: "


class Scanned:
    """What one directory holds: directories to go on with, files with their sizes and times, and what is wrong."""

    __slots__ = ("files", "folders", "modified", "sizes", "troubles")

    def __init__(self) -> None:
        self.folders: list[bytes] = []
        self.files: list[bytes] = []
        self.sizes: list[int] = []
        self.modified: list[int] = []
        self.troubles: list[tuple[bytes, str]] = []


def scan(root: bytes, folder: bytes) -> Scanned:
    """Read one directory; `folder` is relative to the root, `b""` for the root itself."""
    found = Scanned()
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = folder + b"/" + entry.name if folder else entry.name
                try:
                    _look(root, entry, path, found)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it went away meanwhile
                except OSError as error:
                    found.troubles.append((path, UNREADABLE + (error.strerror or "")))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        found.troubles.append((folder, UNREADABLE + (error.strerror or "")))
    return found


def _look(root: bytes, entry: os.DirEntry[bytes], path: bytes, found: Scanned) -> None:
    if entry.is_symlink():
        _follow(root, path, found)
    elif entry.is_dir(follow_symlinks=False):
        found.folders.append(path)
    elif entry.is_file(follow_symlinks=False):
        _file(path, entry.stat(follow_symlinks=False), found)
    else:
        found.troubles.append((path, SPECIAL))


def _file(path: bytes, status: os.stat_result, found: Scanned) -> None:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        found.troubles.append((path, NOT_UTF8))
    else:
        found.files.append(path)
        found.sizes.append(status.st_size)
        found.modified.append(status.st_mtime_ns // 1_000)


def _follow(root: bytes, path: bytes, found: Scanned) -> None:
    link = os.path.join(root, path)
    try:
        status = os.stat(link)
    except FileNotFoundError:
        found.troubles.append((path, DANGLING))
        return
    if S_ISREG(status.st_mode):
        _file(path, status, found)
    elif not S_ISDIR(status.st_mode):
        found.troubles.append((path, SPECIAL))
    elif _is_below(os.path.realpath(link), os.path.realpath(root)):
        found.troubles.append((path, ALIAS))
    elif _leads_back(root, path, status):
        found.troubles.append((path, LOOP))
    else:
        found.folders.append(path)


def _is_below(path: bytes, folder: bytes) -> bool:
    return (path + b"/").startswith(folder.rstrip(b"/") + b"/")


def _leads_back(root: bytes, path: bytes, target: os.stat_result) -> bool:
    """Whether a linked directory is one of those it was reached through, or holds the root."""
    if _is_below(os.path.realpath(root), os.path.realpath(os.path.join(root, path))):
        return True
    folder = os.path.dirname(path)
    while folder:
        status = os.stat(os.path.join(root, folder))
        if (status.st_dev, status.st_ino) == (target.st_dev, target.st_ino):
            return True
        folder = os.path.dirname(folder)
    return False


def walk(root: bytes, start: bytes, pool: list[ThreadPoolExecutor]):  # type: ignore[no-untyped-def] # a generator of `Scanned`
    """Everything below a directory; goes parallel while the disk turns out to be cold."""
    waiting = [start]
    while waiting:
        batch, waiting = waiting[-BATCH:], waiting[:-BATCH]
        began = perf_counter()
        first = scan(root, batch[0])
        entries = len(first.folders) + len(first.files)
        cold = perf_counter() - began > COLD_SECONDS + ENTRY_SECONDS * entries
        if cold and len(batch) > 1:
            if not pool:
                pool.append(ThreadPoolExecutor(THREADS))
            rest = list(pool[0].map(lambda folder: scan(root, folder), batch[1:]))
        else:
            rest = [scan(root, folder) for folder in batch[1:]]
        for found in (first, *rest):
            waiting += found.folders
            yield found


def main(root: str) -> None:
    """Answer until stdin ends."""
    os.chdir(root)  # shorter paths to resolve
    pool: list[ThreadPoolExecutor] = []
    sink = sys.stdout.buffer
    left = b""
    while data := os.read(0, 65536):
        *folders, left = (left + data).split(b"\0")
        for folder in folders:
            keys: list[bytes] = []
            sizes: array[int] = array("q")
            modified: array[int] = array("q")
            troubles: list[bytes] = []
            for found in walk(b".", folder, pool):
                keys += found.files
                sizes.extend(found.sizes)
                modified.extend(found.modified)
                troubles += [path + b"\t" + reason.encode() for path, reason in found.troubles]
                if len(keys) >= FRAME:
                    send(sink, sizes, modified, keys, troubles)
                    keys, sizes, modified, troubles = [], array("q"), array("q"), []
            send(sink, sizes, modified, keys, troubles)
            sink.write(struct.pack("<qqq", -1, 0, 0))
            sink.flush()


def send(  # type: ignore[no-untyped-def]
    sink, sizes: array[int], modified: array[int], keys: list[bytes], troubles: list[bytes]
) -> None:
    """One frame."""
    named, told = b"".join(key + b"\0" for key in keys), b"".join(trouble + b"\0" for trouble in troubles)
    sink.write(
        struct.pack("<qqq", len(keys), len(named), len(told)) + sizes.tobytes() + modified.tobytes() + named + told
    )
    sink.flush()


if __name__ == "__main__":
    main(sys.argv[1])
