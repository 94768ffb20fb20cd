"""One suite every storage passes: memory, disk, a real S3 server."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azurite import container

from mastomend.demo.services import S3Server
from mastomend.errors import ConfigurationError, ObjectError, StorageError
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage
from mastomend.mastodon.values import Secret
from mastomend.storage.build import build
from mastomend.storage.memory import MemoryStore
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import CACHE_CONTROL, MISSING, Store, held
from mastomend.vocabulary import Serving

_numbers = itertools.count()
PNG = "image/png"


def s3_settings(server: S3Server, bucket: str, secret: str | None = None) -> S3Storage:
    return S3Storage(
        bucket, "us-east-1", server.endpoint, False, server.access_key_id, Secret(secret or server.secret_access_key),
        "public-read", None, "", 5, 5, 15_000_000,
    )  # fmt: skip


@pytest.fixture(params=["memory", "disk", "s3", "swift", "moto", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "disk":
        (tmp_path / "media").mkdir()
        made = build(FilesystemStorage(str(tmp_path / "media")))
    elif request.param == "azure":
        made = build(container(request.getfixturevalue("azure"), f"conformance{next(_numbers)}"))
    else:
        server: S3Server = request.getfixturevalue(request.param)
        bucket = f"conformance-{next(_numbers)}"
        server.client().create_bucket(Bucket=bucket)
        made = build(s3_settings(server, bucket))
    yield made
    made.close()


ODD = Key("cache/accounts/avatars/000/000/001/original/odd näme #1%41?&+=~[x].png")


def listed(store: Store, prefix: str) -> dict[str, int]:
    return {one.key: one.size for objects in store.list(prefix) for one in held(objects)}


def test_put_read_size_list(store: Store) -> None:
    assert not store.probe()
    assert store.read(ODD) is None
    assert list(store.sizes([ODD])) == [MISSING]
    store.put(ODD, b"12345", PNG)
    store.put(Key("cache/accounts/avatarsX/1"), b"1", PNG)
    assert store.probe()
    assert store.read(ODD) == b"12345"
    assert list(store.sizes([ODD, "nope", "cache/accounts"])) == [5, MISSING, MISSING]
    assert listed(store, "cache/accounts/avatars/") == {ODD: 5}, "a prefix is a whole folder"
    store.put(ODD, b"new", PNG)
    assert (store.read(ODD), list(store.sizes([ODD]))) == (b"new", [3])


def test_copy_and_move(store: Store) -> None:
    a, b, c = Key("a/original/x.png"), Key(".mastomend/quarantine/r/x"), Key("c/original/x.png")
    store.put(a, b"bytes", PNG)
    store.copy(a, b, private=True)
    assert (store.read(a), store.read(b)) == (b"bytes", b"bytes")
    assert store.move([(a, c)], private=False) == [None]
    assert (store.read(a), store.read(c)) == (None, b"bytes")
    with pytest.raises(StorageError):
        store.copy(Key("not/there"), a, private=False)
    assert store.read(a) is None


def test_many_are_moved_and_each_has_its_answer(store: Store) -> None:
    pairs = [(Key(f"a/{n}/original/x.png"), Key(f".mastomend/quarantine/r/{n}")) for n in range(40)]
    for source, _ in pairs[:-1]:
        store.put(source, source.encode(), PNG)
    *moved, absent = store.move(pairs, private=True)
    assert moved == [None] * 39 and isinstance(absent, ObjectError)
    assert [store.read(target) for _, target in pairs] == [*(source.encode() for source, _ in pairs[:-1]), None]
    assert set(store.sizes([source for source, _ in pairs])) == {MISSING}
    assert store.move([], private=True) == []


def test_many_are_deleted_and_each_has_its_answer(store: Store) -> None:
    """Names no XML can hold, names twice, names of nothing: gone is gone."""
    keys = [ODD, Key("a/<b>&c.png"), *(Key(f"a/original/{n}.png") for n in range(40))]
    for key in keys:
        store.put(key, b"1", PNG)
    store.put(Key("a/original/stays.png"), b"1", PNG)
    asked = [*keys, keys[0], Key("not/there.png")]
    assert store.delete(asked) == [None] * len(asked)
    assert set(store.sizes(keys)) == {MISSING}
    assert listed(store, "") == {"a/original/stays.png": 1}
    assert store.delete([]) == []


def test_a_listing_tells_when_an_object_was_written(store: Store) -> None:
    before = time.time()
    store.put(Key("a/original/x.png"), b"1", PNG)
    ((key, modified),) = [(one.key, one.modified) for objects in store.list("a/") for one in held(objects)]
    assert key == "a/original/x.png" and modified is not None
    assert before - 2 < modified / 1_000_000 < time.time() + 2


def test_how_an_object_is_handed_out_can_be_changed_and_changed_back(store: Store) -> None:
    """What a storage does not keep, or does not tell, is None, and stays out of it."""
    key = Key("a/original/x.png")
    assert store.serving(key) is None
    store.put(key, b"bytes", PNG)
    before = store.serving(key)
    assert before is not None
    wanted = Serving(False, "image/webp" if before.content_type else None, "no-store" if before.cache_control else None)
    store.serve(key, wanted)
    now = store.serving(key)
    assert now is not None and store.read(key) == b"bytes"
    told = replace(wanted, is_public=None if before.is_public is None else False)
    if now != told:  # it takes a permission and drops it: then it must not say otherwise
        assert now == replace(told, is_public=before.is_public)
    store.serve(key, before)
    assert store.serving(key) == before
    with pytest.raises(ObjectError, match=r"not exist|No such file"):
        store.serve(Key("not/there.png"), Serving(True))


def test_disk_has_mastodon_s_modes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = build(FilesystemStorage(str(tmp_path)))
    old = os.umask(0o022)
    try:
        store.put(Key("a/b/x.png"), b"1", PNG)
        assert (tmp_path / "a/b/x.png").stat().st_mode & 0o777 == 0o644
        assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755
        store.move([(Key("a/b/x.png"), Key(".mastomend/quarantine/r/x"))], private=True)
        moved = tmp_path / ".mastomend/quarantine/r/x"
        assert moved.stat().st_mode & 0o777 == 0o644, "a file that is put aside stays as it was"
        assert (tmp_path / ".mastomend/quarantine").stat().st_mode & 0o777 == 0o700, "in a folder that is closed"
        assert not (tmp_path / "a").exists(), "empty directories go, as Mastodon does it"
    finally:
        os.umask(old)
        store.close()
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x"]


def test_files_too_large_for_memory(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 80_000)
    key = Key("a/large.bin")
    store.put(key, large, "application/zip")
    assert list(store.sizes([key])) == [large.stat().st_size]
    assert store.digest(key) == hashlib.sha256(large.read_bytes()).hexdigest()
    fetched = store.fetch(key, tmp_path / "spare")
    assert (fetched if isinstance(fetched, bytes) else fetched.read_bytes()) == large.read_bytes()
    assert store.digest(Key("a/none")) is None
    with pytest.raises(StorageError, match="does not exist"):
        store.fetch(Key("a/none"), tmp_path / "spare")


def test_folders(store: Store) -> None:
    for key in ("cache/x/1", "old/cache/x/1", "old/y/2", "top"):
        store.put(Key(key), b"1", PNG)
    assert (list(store.folders()), list(store.folders("old/"))) == (["cache", "old"], ["cache", "y"])
    assert list(store.folders("absent/")) == []


def test_clearing_touches_no_whole_file(store: Store) -> None:
    store.put(Key("a/b/file.png"), b"whole", "image/png")
    store.clear(Key("a/b/file.png"))
    store.clear(Key("never/written.png"))
    assert store.read(Key("a/b/file.png")) == b"whole"


def test_disk_clears_its_temporary_file_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build(FilesystemStorage(str(tmp_path)))
    with monkeypatch.context() as cut_off:
        cut_off.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.put(Key("a/b/file.png"), b"half", "image/png")
    store.clear(Key("a/b/file.png"))
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/passwd"])
def test_disk_never_leaves_its_root(tmp_path: Path, key: str) -> None:
    (tmp_path / "root").mkdir()
    store = build(FilesystemStorage(str(tmp_path / "root")))
    with pytest.raises(StorageError, match="leave"):
        store.put(Key(key), b"x", PNG)
    assert not (tmp_path / "out").exists()
    store.close()


def test_a_put_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build(FilesystemStorage(str(tmp_path)))
    store.put(Key("a/x.png"), b"old", PNG)

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="is full") as caught:
        store.put(Key("a/x.png"), b"new", PNG)
    assert "goes on where it stopped" in caught.value.hint
    monkeypatch.undo()
    assert store.read(Key("a/x.png")) == b"old"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.png"]
    store.close()


def test_s3_headers_are_mastodon_s(s3: S3Server) -> None:
    s3.client().create_bucket(Bucket="headers-test")
    store = build(s3_settings(s3, "headers-test"))
    store.put(Key("a/x.png"), b"1", PNG)
    store.copy(Key("a/x.png"), Key("a/y.png"), private=False)
    for key in ("a/x.png", "a/y.png"):
        found = s3.client().head_object(Bucket="headers-test", Key=key)
        assert (found["ContentType"], found["CacheControl"]) == (PNG, CACHE_CONTROL)
    store.close()


def test_s3_errors_are_words(s3: S3Server) -> None:
    store = build(s3_settings(s3, "no-such-bucket-here"))
    with pytest.raises(ConfigurationError, match="bucket does not exist"):
        store.probe()
    store.close()
    s3.client().create_bucket(Bucket="secret-test")
    store = build(s3_settings(s3, "secret-test", secret="wrong"))
    with pytest.raises(StorageError, match="refuses the credentials") as caught:
        store.probe()
    assert "wrong" not in caught.value.message
    store.close()


def test_sizes_of_many_keys_are_those_of_each(store: Store) -> None:
    """Close together, far apart, beyond the last: however they are asked, the answers are the same."""
    held_keys = [Key(f"cache/accounts/avatars/{n:03}/original/x.png") for n in range(0, 300, 3)]
    for n, key in enumerate(held_keys):
        store.put(key, b"x" * (n % 7 + 1), PNG)
    store.put(Key("zzz/1"), b"1", PNG)
    asked = [f"cache/accounts/avatars/{n:03}/original/x.png" for n in range(400)] + ["a", "zzzz/2", "zzz/1", "zzz/1"]
    known = {key: n % 7 + 1 for n, key in enumerate(held_keys)} | {"zzz/1": 1}
    before = store.requests.head
    assert list(store.sizes(asked)) == [known.get(Key(key), MISSING) for key in asked]
    assert list(store.sizes(asked[::40])) == [known.get(Key(key), MISSING) for key in asked[::40]]
    if isinstance(store, S3ObjectStore):
        distinct = len(set(asked)) + len(set(asked[::40]))
        assert store.requests.head - before == distinct, "object by object: a listing may lag"


def test_names_no_object_can_have_are_missing(store: Store) -> None:
    store.put(Key("a/original/x.png"), b"1", PNG)
    odd = ["a/original/.x", "a/original/..x", "a/original/x\ny.png", *[f"a/original/{n:03}.." for n in range(80)]]
    assert set(store.sizes(odd)) == {MISSING}
