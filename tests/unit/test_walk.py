"""A walk of a disk: everything there once, under the name the database would use, whatever else lies about."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastomend.errors import StorageError
from mastomend.storage import walk_worker
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.ports import held
from mastomend.storage.walk import _HEADER, Trouble, walk

NAMES = st.text(st.sampled_from("ab0é "), min_size=1, max_size=3).map(str.strip).filter(bool)


def walked(root: Path, start: str = "", workers: int = 2) -> tuple[dict[str, int], dict[str, str]]:
    """Keys with sizes, and troubles; nothing may come twice."""
    troubles: list[Trouble] = []
    found = [one for batch in walk(str(root), start, troubles.append, workers) for one in held(batch)]
    assert len({one.key for one in found}) == len(found)
    return {one.key: one.size for one in found}, {trouble.path: trouble.reason for trouble in troubles}


def make(root: Path, *keys: str) -> None:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"x" * len(key))


@settings(max_examples=25, deadline=None)
@given(files=st.sets(st.lists(NAMES, min_size=1, max_size=5).map("/".join), max_size=25), share=st.integers(1, 8))
def test_everything_is_found_once(tmp_path_factory: pytest.TempPathFactory, files: set[str], share: int) -> None:
    root = tmp_path_factory.mktemp("walk")
    made = {}
    for key in sorted(files):
        try:
            make(root, key)
        except OSError:
            continue  # a file where this one needs a directory
        made[key] = len(key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mastomend.storage.walk._SHARE", share)
        assert walked(root) == (made, {})


def test_only_below_the_start(tmp_path: Path) -> None:
    make(tmp_path, "cache/a/1", "cache/ab/2", "other/3")
    assert walked(tmp_path, "cache/a/")[0] == {"cache/a/1": 9}
    assert walked(tmp_path, "nothing/") == ({}, {})


def test_links(tmp_path: Path) -> None:
    root, outside = tmp_path / "system", tmp_path / "disk"
    make(root, "accounts/1", "deep/a/b/c/2")
    make(outside, "media/3", "y/4")
    (root / "cache").symlink_to(outside / "media")
    (outside / "media" / "back").symlink_to(outside / "media")
    (outside / "media" / "y").symlink_to(outside / "y")
    (outside / "y" / "media").symlink_to(outside / "media")
    (root / "same").symlink_to(root / "accounts")
    (root / "above").symlink_to(tmp_path)
    (root / "self").symlink_to("self")
    (root / "nothing").symlink_to("gone")
    (root / "file").symlink_to(root / "accounts" / "1")
    for workers in (1, 3):
        found, troubles = walked(root, workers=workers)
        assert found == {"accounts/1": 10, "deep/a/b/c/2": 12, "cache/3": 7, "cache/y/4": 3, "file": 10}
        assert troubles.pop("self").startswith(walk_worker.UNREADABLE), "a link to itself cannot be followed"
        assert troubles == {
            "cache/back": walk_worker.LOOP,
            "cache/y/media": walk_worker.LOOP,
            "same": walk_worker.ALIAS,
            "above": walk_worker.LOOP,
            "nothing": walk_worker.DANGLING,
        }


def test_what_is_no_file_and_no_name(tmp_path: Path) -> None:
    make(tmp_path, "a/1")
    os.mkfifo(tmp_path / "a" / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "a" / "socket"))
        Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\xfe")).write_bytes(b"")
        found, troubles = walked(tmp_path)
    assert found == {"a/1": 3}
    assert troubles["a/pipe"] == troubles["a/socket"] == walk_worker.SPECIAL
    assert troubles["a/\ufffd\ufffd"] == walk_worker.NOT_UTF8


@pytest.mark.skipif(os.geteuid() != 0, reason="root")
def test_a_directory_that_cannot_be_read_is_told_and_the_walk_goes_on(tmp_path: Path) -> None:
    """As a user who may not: root may read everything. So few directories are read in this process."""
    make(tmp_path, "open/1", "shut/2", "deep/er/shut/3", "a\tb/4")
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    for name in ("shut", "deep/er/shut", "a\tb"):
        (tmp_path / name).chmod(0o700)
    os.seteuid(65534)
    try:
        found, troubles = walked(tmp_path)
        with pytest.raises(StorageError, match="cannot be read"):
            list(FilesystemStore(str(tmp_path), 1).list(""))
    finally:
        os.seteuid(0)
    assert found == {"open/1": 6}
    assert set(troubles) == {"shut", "deep/er/shut", "a\tb"}
    assert all(reason.startswith(walk_worker.UNREADABLE) for reason in troubles.values())


def test_directories_that_vanish_meanwhile_are_none(tmp_path: Path) -> None:
    """Between two directories of the walk others go away, and one becomes a file."""
    make(tmp_path, *(f"{n:03}/x" for n in range(200)), "stays/x")
    scan = walk_worker.scan

    def vanishing(root: bytes, folder: bytes) -> walk_worker.Scanned:
        found = scan(root, folder)
        if folder == b"":
            for n in range(0, 200, 2):
                (tmp_path / f"{n:03}" / "x").unlink()
                (tmp_path / f"{n:03}").rmdir()
            (tmp_path / "000").write_bytes(b"a file now")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk_worker, "scan", vanishing)
        found, troubles = walked(tmp_path)
    assert found == {f"{n:03}/x": 5 for n in range(1, 200, 2)} | {"stays/x": 7}
    assert troubles == {}


def test_a_cold_disk_is_read_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, with a threshold every directory is above."""
    make(tmp_path, *(f"{n:03}/{m}/x" for n in range(40) for m in range(3)))
    monkeypatch.setattr(walk_worker, "COLD_SECONDS", -1.0)
    pool: list[ThreadPoolExecutor] = []
    found = [key for one in walk_worker.walk(os.fsencode(tmp_path), b"", pool) for key in one.files]
    assert len(found) == len(set(found)) == 120
    assert pool, "threads were used"


def test_a_walk_nobody_reads_to_its_end_leaves_no_process_behind(tmp_path: Path) -> None:
    make(tmp_path, *(f"{n:03}/x/y/z" for n in range(300)))
    walking = FilesystemStore(str(tmp_path), 2).list("")
    next(walking)
    walking.close()  # type: ignore[attr-defined]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    assert not children.exists() or "walk_worker" not in "".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()
    )


def test_a_process_that_dies_in_the_middle_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"{n:03}/x" for n in range(300)))
    broken = tmp_path.parent / "half_worker.py"
    for told in (
        b"\0",
        _HEADER.pack(2, 4, 0),
        _HEADER.pack(1, 4, 0) + b"\0" * 11,
        _HEADER.pack(1, 9, 0) + b"\0" * 16 + b"ab",
    ):
        broken.write_text(f"import sys; sys.stdin.read(1); sys.stdout.buffer.write({told!r})\n")
        monkeypatch.setattr("mastomend.storage.walk._WORKER", broken)
        with pytest.raises(StorageError, match="ended early"):
            walked(tmp_path)


@pytest.mark.parametrize("heard", [True, False])
def test_a_process_that_dies_is_no_short_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool) -> None:
    """Before it was told anything, or after."""
    make(tmp_path, *(f"{n:03}/x" for n in range(300)))
    broken = tmp_path.parent / "broken_worker.py"
    broken.write_text(f"import sys; {'sys.stdin.read(1); ' if heard else ''}sys.exit(1)\n")
    monkeypatch.setattr("mastomend.storage.walk._WORKER", broken)
    if not heard:
        write = os.write

        def late(descriptor: int, data: bytes) -> int:
            time.sleep(0.5)  # it is dead by now
            return write(descriptor, data)

        monkeypatch.setattr("mastomend.storage.walk.os.write", late)
    with pytest.raises(StorageError, match="ended early"):
        walked(tmp_path)


def test_a_walk_is_left_at_once_whatever_is_still_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that would go on for a long time is not waited for."""
    make(tmp_path, *(f"{n:03}/x" for n in range(300)))
    slow = tmp_path.parent / "slow_worker.py"
    frame = "struct.pack('<qqq', 1, 2, 0) + struct.pack('<qq', 1, 1) + b'k\\0'"
    slow.write_text(
        "import os, struct, sys, time\nos.read(0, 100)\nwhile True:\n"
        f"    sys.stdout.buffer.write({frame})\n    sys.stdout.buffer.flush()\n    time.sleep(0.01)\n"
    )
    monkeypatch.setattr("mastomend.storage.walk._WORKER", slow)
    walking = walk(str(tmp_path), "", lambda trouble: None, 1)
    next(walking)
    walking.close()  # type: ignore[attr-defined]


def test_a_trouble_with_a_tab_in_its_path_keeps_both(tmp_path: Path) -> None:
    """As a process tells it."""
    import io
    import struct

    from mastomend.storage.walk import _frames

    told = b"a\tb\tcannot be read: no\0"
    answers = io.BytesIO(struct.pack("<qqq", 0, 0, len(told)) + told + struct.pack("<qqq", -1, 0, 0))
    (troubles,) = _frames(answers, "/")
    assert isinstance(troubles, list)
    (trouble,) = troubles
    assert trouble == Trouble("a\tb", "cannot be read: no") and trouble.hides
