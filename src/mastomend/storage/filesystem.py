"""Media below a directory, with Mastodon's modes (facts §4.2) and durable writes.

After a crash there is the old file, the new file or none, never half of one: see `durable`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from arro3.core import RecordBatch

from mastomend.errors import ObjectError, StorageError, UnreadableError, UnwritableError
from mastomend.mastodon.keys import Key
from mastomend.storage import in_the_way
from mastomend.storage.attempts import attempted
from mastomend.storage.deleting import Deleters
from mastomend.storage.durable import DurableFolders, give_second_name, look_like, pour, temporary, write_beside
from mastomend.storage.lookup import LookupPool
from mastomend.storage.ports import MISSING, UNREADABLE, Requests
from mastomend.storage.walk import Trouble, walk
from mastomend.vocabulary import Content, Sending, Serving

#: A disk, or what leads to it, that went away; or too few descriptors, which concerns every file.
_LOST_DISK = frozenset(
    {
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESHUTDOWN,
        errno.EMFILE,
        errno.ENFILE,
    }
)
_MANY_IO_ERRORS = 20
#: The folder of the quarantine: where it is, a disk is mounted.
_OURS = ".mastomend"
#: What helps where this user may not look.
_LET_IN = "Run the same command as the user that runs Mastodon (sudo -u mastodon …), or let this one in: chmod o+rx."

#: What a file system has at its top for itself: nothing of Mastodon's is in it.
_OF_THE_DISK = "lost+found"


def _a_tenth(root: Path) -> str:
    """A tenth of that disk, as a person would say it."""
    tenth = shutil.disk_usage(root).total // 10
    return f"{tenth / 1e9:.0f}GB" if tenth >= 2e9 else f"{max(tenth, 1e6) / 1e6:.0f}MB"


class FilesystemStore:
    """The storage below `root`."""

    def __init__(self, root: str, workers: int | None = None) -> None:
        self.root = Path(root)
        self._base = f"{str(self.root).rstrip('/')}/"
        self.requests = Requests()
        self._pool = LookupPool(root, workers)
        umask = os.umask(0)
        os.umask(umask)
        self._file_mode = 0o666 & ~umask
        self._folders = DurableFolders(self.root)
        self._io_errors = 0
        self._deleters = Deleters()

    def probe(self) -> bool:
        try:
            with os.scandir(self.root) as entries:
                return any(not entry.name.startswith(".") or entry.name == _OURS for entry in entries)
        except FileNotFoundError:
            raise StorageError(
                f"The media directory {self.root} does not exist.",
                hint="Is the disk (in a container the volume) mounted? Else check PAPERCLIP_ROOT_PATH in .env.production.",
            ) from None
        except NotADirectoryError:
            raise StorageError(f"{self.root} is not a directory.", hint="Check PAPERCLIP_ROOT_PATH.") from None
        except PermissionError:
            raise StorageError(
                f"The media directory {self.root} cannot be read by this user.",
                hint=_LET_IN,
            ) from None
        except OSError as error:
            raise StorageError(f"The media directory {self.root} cannot be read: {error.strerror}.") from None

    def close(self) -> None:
        self._pool.close()
        self._deleters.close()

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        return [self._size(key) for key in keys]

    def differing(self, offsets: array[int], data: bytes, expected: array[int]) -> list[tuple[int, int]]:
        """Many look-ups at once, by several processes: see `lookup.LookupPool.differing`."""
        return self._pool.differing(offsets, data, expected)

    def _size(self, key: str) -> int:
        try:
            found = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return MISSING
        except OSError as error:
            return MISSING if error.errno == errno.ENAMETOOLONG else UNREADABLE
        return found.st_size if stat.S_ISREG(found.st_mode) else MISSING

    def obstacle(self, key: str) -> str:
        return in_the_way.obstacle(self.root, key)

    def in_the_way(self, key: str) -> str:
        return in_the_way.of(self.root, key)

    def hole(self, prefix: str) -> str | None:
        return in_the_way.hole(self.root, prefix)

    def may_be_damage(self, prefix: str) -> bool:
        path = self.root / prefix.rstrip("/")
        return not path.is_symlink() and not path.is_mount()

    def unwritable(self, prefix: str) -> str:
        return in_the_way.unwritable(self.root / prefix.rstrip("/"))

    def twins(self, folders: Sequence[str]) -> tuple[str, str] | None:
        return in_the_way.twins(self.root, folders)

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        def refuse(trouble: Trouble) -> None:
            if trouble.hides and trouble.path.rpartition("/")[2] != _OF_THE_DISK and trouble.path != _OURS:
                whole = trouble.path in ("", ".")
                sort = StorageError if whole else UnreadableError
                raise sort(f"{self.root / trouble.path} {trouble.reason}.", hint=_LET_IN)

        return self.walk(prefix, refuse)

    def walk(self, prefix: str, tell: Callable[[Trouble], None]) -> Iterator[RecordBatch]:
        """As `list`, but what cannot be read is told, not raised; so is what is there and is no file."""
        return walk(str(self.root), prefix, tell, self._pool.workers)

    def read(self, key: Key) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise UnreadableError(f"{key} cannot be read: {error.strerror}.") from None

    def read_each(self, keys: Sequence[Key]) -> Sequence[bytes | ObjectError | None]:
        return [attempted(self.read, key) for key in keys]

    def fetch(self, key: Key, spare: Path) -> Content:
        path = self._path(key)
        if not path.is_file():
            raise ObjectError(f"{path} does not exist.")
        if not os.access(path, os.R_OK):
            raise UnreadableError(f"{path} cannot be read by this user.")
        return path

    def digest(self, key: Key) -> str | None:
        try:
            with self._path(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise UnreadableError(f"{key} cannot be read: {error.strerror}.") from None

    def folders(self, prefix: str = "") -> Sequence[str]:
        try:
            with os.scandir(self.root / prefix) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            sort = UnreadableError if prefix else StorageError
            raise sort(f"{self.root / prefix} cannot be listed: {error.strerror}.") from None

    def put(self, key: Key, data: Content, content_type: str, *, private: bool = False) -> None:
        def write(descriptor: int) -> None:
            if isinstance(data, Path):
                pour(data, descriptor)
                return
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

        self._install(self._path(key), write, self._file_mode & (0o600 if private else 0o777))

    def put_each(self, objects: Sequence[Sending]) -> Sequence[ObjectError | None]:
        return [
            attempted(partial(self.put, private=one.private), one.key, one.data, one.content_type) for one in objects
        ]

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        """A private copy keeps mode, owner and time, so that it can take the place of what it was made from."""

        def write(descriptor: int) -> None:
            pour(self._path(source), descriptor)
            if private:
                look_like(descriptor, self._path(source))

        mode = None if private else self._file_mode
        self._install(self._path(target), write, mode, private_folders=private)

    def move(
        self, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        """Renames: files stay as they are, mode and owner too. What is private lies in folders nobody else may enter.

        Each folder that got files is synced once for all of them; those they left need not be.
        """
        replaces = private or replace
        answers = [attempted(self._rename, source, target, private, replaces) for source, target in pairs]
        moved = [pair for pair, answer in zip(pairs, answers, strict=True) if answer is None]
        for folder in self._folders_of(key for _, key in moved):
            self._sync(folder)
        for folder in self._folders_of(key for key, _ in moved):
            self._folders.remove_empty(folder)
        return answers

    def _folders_of(self, keys: Iterable[Key]) -> Sequence[Path]:
        return list(dict.fromkeys(self._path(key).parent for key in keys))

    def _sync(self, folder: Path) -> None:
        """What was moved may not be durable if this fails: then nobody may say that it was, or that it was not."""
        try:
            self._folders.sync_up_from(folder)
        except OSError as error:
            raise StorageError(
                f"The disk of {self.root} cannot be relied on: {folder}: {error.strerror}.",
                hint="See `dmesg`. The next run settles what this one was doing.",
            ) from None

    def _rename(self, source: Key, target: Key, private: bool, replaces: bool) -> None:
        origin, destination = self._path(source), self._path(target)
        if private and origin.is_symlink():  # elsewhere it would lead elsewhere
            raise ObjectError(f"{origin} is a link.")
        try:
            self._folders.make(destination.parent, private=private)
            if not replaces and give_second_name(origin, destination):
                origin.unlink()
            else:
                origin.rename(destination)
        except FileExistsError:
            raise ObjectError(f"{target} is there again.") from None
        except OSError as error:
            if error.errno != errno.EXDEV:  # a mount point below the root: copy, then remove
                raise self._failure(error, source) from None
            self.copy(source, target, private=True)
            self._unlink(source)

    def delete(self, keys: Sequence[Key]) -> Sequence[ObjectError | None]:
        return self._deleters.each(lambda key: attempted(self._remove, key), keys)

    def _remove(self, key: Key) -> None:
        self._unlink(key)
        self._folders.remove_empty(self._path(key).parent)

    def _unlink(self, key: Key) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise self._failure(error, key) from None

    def clear(self, key: Key) -> None:
        path = self._path(key)
        beside = temporary(path)
        try:
            beside.unlink(missing_ok=True)
            self._folders.remove_empty(path.parent)
        except NotADirectoryError:
            return
        except OSError as error:
            raise self._failure(error, str(beside)) from None

    def serving(self, key: Key) -> Serving | None:
        """Whether everybody may read it. Its type and headers are made by the web server."""
        try:
            status = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnreadableError(f"{key} cannot be looked at: {error.strerror}.") from None
        return Serving(bool(status.st_mode & stat.S_IROTH))

    def serve(self, key: Key, serving: Serving) -> None:
        if serving.is_public is None:
            return
        path = self._path(key)
        try:
            path.chmod(self._file_mode & (0o777 if serving.is_public else 0o600))
        except OSError as error:
            raise self._failure(error, key) from None

    def _path(self, key: Key) -> Path:
        path = os.path.normpath(os.path.join(self._base, key))  # ".." is refused below, not followed
        if not path.startswith(self._base) or ".." in key.split("/"):
            raise ObjectError(f"{key!r} would leave the media directory.")
        return Path(path)

    def _install(
        self, path: Path, write: Callable[[int], None], mode: int | None, *, private_folders: bool = False
    ) -> None:
        try:
            self._folders.make(path.parent, private=private_folders)
            write_beside(path, write, mode)
            self._folders.sync_up_from(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # what made writing fail may make this fail, too
                temporary(path).unlink(missing_ok=True)
            raise self._failure(error, str(path)) from None

    def _failure(self, error: OSError, what: object) -> StorageError:
        """In words; whether it is one file's trouble or the disk's."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageError(
                f"The disk of {self.root} is full: {what} was not written.",
                hint="Make room, then run the same command again: it goes on where it stopped. What takes it, usage tells; "
                f"what may go: mastomend prune --keep-free {_a_tenth(self.root)}",
            )
        if error.errno == errno.EROFS:
            return StorageError(
                f"The disk of {self.root} is mounted read-only: {what} was not written.",
                hint="Mount it read-write (`mount -o remount,rw …`), then run the same command again.",
            )
        if error.errno in _LOST_DISK or not self.root.is_dir():
            return StorageError(
                f"The disk of {self.root} is gone: {error.strerror}.", hint="Is it still mounted? Then run it again."
            )
        if error.errno == errno.EIO:
            self._io_errors += 1
            if self._io_errors > _MANY_IO_ERRORS:
                return StorageError(
                    f"The disk of {self.root} answers with errors, the last time at {what}.", hint="See `dmesg`."
                )
        way = self.in_the_way(str(what)) if isinstance(what, str) else ""
        made = UnwritableError if error.errno in (errno.EACCES, errno.EPERM) else ObjectError
        return made(f"{what}: {error.strerror}{f' ({way})' if way else ''}.")
