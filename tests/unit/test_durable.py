"""What a storage on disk says is written survives a crash: every directory that got an entry is synced before that."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mastomend.errors import StorageError
from mastomend.mastodon.keys import Key
from mastomend.storage import durable, filesystem
from mastomend.storage.filesystem import FilesystemStore

DEEP = ["n/o/p", "n/o", "n", "."]


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Synced directories, relative to the root, and removed files, in order."""
    seen: list[str] = []
    sync, unlink = durable.sync_folder, Path.unlink

    def syncing(folder: Path) -> None:
        sync(folder)
        seen.append(str(folder.relative_to(tmp_path)))

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        seen.append(f"unlink {path.name}")

    monkeypatch.setattr(durable, "sync_folder", syncing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    return seen


def test_all_new_directories_are_synced_once(tmp_path: Path, events: list[str]) -> None:
    store = FilesystemStore(str(tmp_path), 1)
    store.put(Key("n/o/p/1"), b"x", "image/png")
    assert events == DEEP
    events.clear()
    store.put(Key("n/o/p/2"), b"x", "image/png")
    assert events == ["n/o/p"]


def test_a_write_after_one_that_failed_syncs_what_that_one_made(tmp_path: Path, events: list[str]) -> None:
    store = FilesystemStore(str(tmp_path), 1)
    with pytest.raises(StorageError):
        store.put(Key("n/o/p/1"), tmp_path / "is not there", "image/png")
    events.clear()
    store.put(Key("n/o/p/1"), b"x", "image/png")
    assert events == DEEP


def test_a_write_below_what_another_is_making_does_not_rely_on_it(tmp_path: Path, events: list[str]) -> None:
    """The first waits in the middle of its write; the second is durable all the same."""
    store = FilesystemStore(str(tmp_path), 1)
    in_the_middle, go_on = threading.Event(), threading.Event()
    pour: Callable[[Path, int], None] = durable.pour

    def waiting(source: Path, descriptor: int) -> None:
        in_the_middle.set()
        assert go_on.wait(10)
        pour(source, descriptor)

    (tmp_path / "source").write_bytes(b"x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystem, "pour", waiting)
        first = threading.Thread(target=store.put, args=(Key("n/o/p/1"), tmp_path / "source", "image/png"))
        first.start()
        assert in_the_middle.wait(10)
        store.put(Key("n/o/p/2"), b"x", "image/png")
        assert events == DEEP
        go_on.set()
        first.join()
    assert events == [*DEEP, "n/o/p"]


def test_a_move_is_durable_at_its_target(tmp_path: Path, events: list[str]) -> None:
    store = FilesystemStore(str(tmp_path), 1)
    store.put(Key("a/1"), b"x", "image/png")
    events.clear()
    assert store.move([(Key("a/1"), Key("n/o/p/1"))], private=True) == [None]
    assert events == DEEP, "a rename is one change of the disk's: the folder it left need not be synced"


def test_many_moves_sync_the_folder_they_come_to_once(tmp_path: Path, events: list[str]) -> None:
    store = FilesystemStore(str(tmp_path), 1)
    for n in range(5):
        store.put(Key(f"a/{n}/1"), b"x", "image/png")
    events.clear()
    pairs = [(Key(f"a/{n}/1"), Key(f"n/o/p/{n}")) for n in range(5)]
    assert store.move(pairs, private=True) == [None] * 5
    assert events == DEEP
    assert not (tmp_path / "a").exists()


def test_a_move_over_a_mount_point_removes_the_source_last(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FilesystemStore(str(tmp_path), 1)
    store.put(Key("a/1"), b"x", "image/png")

    def refusing(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", refusing)
    events.clear()
    assert store.move([(Key("a/1"), Key("n/o/p/1"))], private=True) == [None]
    assert events.index("unlink 1") == len(DEEP)
    assert events[: len(DEEP)] == DEEP
    assert (tmp_path / "n/o/p/1").read_bytes() == b"x"
