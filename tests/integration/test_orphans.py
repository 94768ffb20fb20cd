"""`orphans`: what no record expects is moved, and nothing else ever is."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from broken import record
from conftest import MakeInstance, opened
from stray_files import FOREIGN, LATER, contents, look, populated, shows, twice
from tool import run

from mastomend.commands.cleanup import cleanup
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.instance import DiskMedia, SimulatedInstance
from mastomend.errors import SafetyStop
from mastomend.mastodon.keys import partition
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES
from mastomend.plans import orphans as plans
from mastomend.vocabulary import Stray


@pytest.mark.parametrize("storage", ["disk", "s3", "moto", *(["swift"] if os.environ.get("MASTOMEND_SOAK") else [])])
def test_what_nobody_expects_is_set_aside_and_comes_back(make_instance: MakeInstance, storage: str) -> None:
    instance = make_instance("4.5", storage)
    expected, stray = populated(instance)
    before: dict[str, bytes | None] = {**expected, **stray, **dict.fromkeys(FOREIGN, b"somebody else's")}
    assert shows(instance, before)
    first = look(instance)
    assert (first.objects, first.ready, first.first_scan) == (len(stray), 0, True), "one sighting is none"
    assert first.sorts[Stray.UNRECOGNIZED].files == len(FOREIGN)
    assert contents(instance) == before
    dry = look(instance, later=LATER + timedelta(seconds=2))
    assert dry.ready == len(stray) and contents(instance) == before
    done = look(instance, later=LATER + timedelta(seconds=4), apply=True)
    assert (done.quarantined, done.left, done.quarantined_bytes) == (len(stray), [], sum(map(len, stray.values())))
    assert shows(instance, {key: data for key, data in before.items() if key not in stray})
    assert all(instance.media.read(key) == data for key, data in expected.items())
    again = look(instance, later=LATER + timedelta(seconds=6), apply=True)
    assert (again.objects, again.quarantined) == (0, 0)
    back = undo(opened(instance), done.run, apply=True)
    assert (back.reverted, back.conflicts) == (len(stray), 0)
    assert shows(instance, before)


def test_what_comes_back_is_as_it_was_on_disk(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    assert isinstance(instance.media, DiskMedia)
    root = instance.media.root
    modes = (0o600, 0o640, 0o644, 0o664, 0o604)
    for mode, key in zip(modes, stray, strict=True):
        (root / key).chmod(mode)
        os.utime(root / key, (1_700_000_000, 1_700_000_000))
    done = twice(instance)
    lonely = root / "accounts/headers/000/999"
    assert done.quarantined == len(stray) and not lonely.exists(), "folders that are empty go, upwards"
    undo(opened(instance), done.run, apply=True)
    for mode, key in zip(modes, stray, strict=True):
        status = (root / key).stat()
        assert (status.st_mode & 0o777, status.st_mtime) == (mode, 1_700_000_000), key


@pytest.mark.parametrize("storage", ["s3", "moto"])
def test_what_waits_in_a_bucket_is_private_and_comes_back_with_its_headers(
    make_instance: MakeInstance, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    populated(instance)
    client, bucket = instance.media.client, instance.media.bucket  # type: ignore[attr-defined]
    key = "cache/accounts/avatars/000/000/007/original/gone.png"
    client.put_object(
        Bucket=bucket, Key=key, Body=b"x", ContentType="image/png", CacheControl="max-age=1", ACL="public-read",
        Metadata={"a": "b"},
    )  # fmt: skip
    done = twice(instance)
    (waiting,) = [one for one in instance.media.keys() if one.endswith("%2F007%2Foriginal%2Fgone.png")]
    if storage == "moto":  # SeaweedFS drops ACLs
        grants = client.get_object_acl(Bucket=bucket, Key=waiting)["Grants"]
        assert not [one for one in grants if one["Grantee"].get("URI", "").endswith("AllUsers")]
    undo(opened(instance), done.run, apply=True)
    found = client.head_object(Bucket=bucket, Key=key)
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == ("image/png", "max-age=1", {"a": "b"})


def test_every_option_leaves_alone_what_is_not_ours(make_instance: MakeInstance) -> None:
    instance = make_instance()
    expected, stray = populated(instance)
    look(instance)
    everything = {
        "min_age": timedelta(0), "quarantine": False, "purge_after": timedelta(0), "max_percent": 100.0,
        "max_missing_percent": 100.0,
    }  # fmt: skip
    done = look(instance, later=LATER + timedelta(seconds=2), apply=True, **everything)
    assert (done.purged, done.quarantined) == (len(stray), 0)
    left = contents(instance)
    assert left == {**expected, **dict.fromkeys(FOREIGN, b"somebody else's")}
    assert undo(opened(instance), done.run, apply=False).irreversible == len(stray)


def test_what_is_young_or_was_seen_once_or_has_changed_stays(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    assert look(instance, later=timedelta(0)).sorts[Stray.ORPHAN].young == 3
    assert look(instance, later=timedelta(seconds=2), apply=True).quarantined == 0, "everything is of today"
    changed, new = next(iter(stray)), "accounts/headers/000/999/998/original/new.png"
    time.sleep(0.01)
    instance.media.write(changed, b"another")
    instance.media.write(new, b"new")
    done = look(instance, later=LATER, apply=True)
    assert done.quarantined == len(stray) - 1 and {changed, new} <= instance.media.keys()
    assert done.sorts[Stray.ORPHAN].first == 2


def test_a_record_that_comes_to_expect_it_meanwhile_keeps_it(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored row, a slow upload: between the scan and the move somebody expects it. It is asked again."""
    instance = make_instance()
    _, stray = populated(instance)
    key = "accounts/headers/000/000/777/original/mine.png"
    instance.media.write(key, b"mine")
    look(instance)
    original = plans.set_aside

    def meanwhile(*arguments: object) -> Iterator[object]:
        instance.insert(
            "accounts", id=777, username="mine", uri="x:mine", header_file_name="mine.png",
            header_content_type="image/png", header_file_size=4, header_storage_schema_version=1,
        )  # fmt: skip
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("mastomend.commands.orphans.set_aside", meanwhile)
    done = look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert done.quarantined == len(stray) and instance.media.read(key) == b"mine"
    assert done.left == [f"{key}: {key} belongs to a local record"]


def test_thousands_of_interleavings_of_upload_delete_and_scan(make_instance: MakeInstance) -> None:
    """Mastodon writes a file before its row, and deletes the row before its file, in any order among scans.

    What a row expects is there, whatever came before. Each round has its own seed.
    """
    instance = make_instance()
    owner = instance.somebody("owner")
    done = ready = 0
    for seed in range(int(os.environ.get("MASTOMEND_SEEDS", "10"))):
        chance = random.Random(seed)
        uploading: list[tuple[int, str]] = []
        living: dict[int, str] = {}
        deleted: list[str] = []
        number = 1_000_000 + seed * 1_000
        for step in range(chance.randrange(15, 30)):
            match chance.choice(["write", "commit", "delete", "unlink", "scan", "write", "commit"]):
                case "write":
                    number += 1
                    key = f"media_attachments/files/{partition(number)}/original/{number:016x}.mp3"
                    instance.media.write(key, b"x" * 10)
                    uploading.append((number, key))
                case "commit" if uploading:
                    new, key = uploading.pop(chance.randrange(len(uploading)))
                    instance.insert(
                        "media_attachments", id=new, account_id=owner, type=4, file_file_name=key.rpartition("/")[2],
                        file_content_type="audio/mpeg", file_file_size=10, file_storage_schema_version=1,
                    )  # fmt: skip
                    living[new] = key
                case "delete" if living:
                    gone = chance.choice(list(living))
                    instance.db.execute("DELETE FROM media_attachments WHERE id = %s", [gone])
                    deleted.append(living.pop(gone))
                case "unlink" if deleted:
                    path = deleted.pop(chance.randrange(len(deleted)))
                    if path in instance.media.keys():
                        instance.media.delete(path)
                case "scan" if step % 3 == 0:
                    report = look(instance, later=timedelta(hours=20), apply=True, max_percent=100.0)
                    assert report.quarantined == 0, "nothing of it is a day old"
        for new, key in uploading:
            instance.insert(
                "media_attachments", id=new, account_id=owner, type=4, file_file_name=key.rpartition("/")[2],
                file_content_type="audio/mpeg", file_file_size=10, file_storage_schema_version=1,
            )  # fmt: skip
            living[new] = key
        assert set(living.values()) <= instance.media.keys()
        if seed % 10 == 9:
            report = twice(instance, max_percent=100.0)
            assert set(living.values()) <= instance.media.keys()
            done, ready = done + report.quarantined, ready + report.ready
            _emptied(instance)
    assert done == ready > 0


def _emptied(instance: SimulatedInstance) -> None:
    """Thousands of rounds on one instance: none is slower for those before it."""
    instance.db.execute("DELETE FROM media_attachments")
    for key in list(instance.media.keys()):
        instance.media.delete(key)
    instance.media.write("kept", b"x")
    shutil.rmtree(instance.state / "scans")


def test_uploads_during_the_scans_are_never_moved(make_instance: MakeInstance) -> None:
    """A server that works: files are written, then their rows; others are deleted, while scan after scan moves what it may."""
    instance = make_instance()
    owner, stop, written = instance.somebody("owner"), threading.Event(), []

    def work() -> None:
        number = 2_000_000
        import psycopg

        with psycopg.connect(instance.db.info.dsn, autocommit=True) as db:
            while not stop.is_set():
                number += 1
                key = f"media_attachments/files/{partition(number)}/original/{number:016x}.mp3"
                instance.media.write(key, b"y" * 10)
                time.sleep(0.002)
                db.execute(
                    "INSERT INTO media_attachments (id, account_id, type, file_file_name, file_content_type, file_file_size, "
                    "created_at, updated_at) VALUES (%s, %s, 4, %s, 'audio/mpeg', 10, now(), now())",
                    [number, owner, f"{number:016x}.mp3"],
                )
                written.append(key)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        moved = 0
        for n in range(4):
            for i in range(20):
                instance.media.write(f"accounts/headers/000/{n:03}/{i:03}/original/o.png", b"old")
            report = look(instance, later=timedelta(days=3 + n), apply=True, max_percent=100.0)
            moved += report.quarantined
    finally:
        stop.set()
        worker.join()
    assert len(written) > 50 and set(written) <= instance.media.keys()
    assert moved >= 40


def test_another_server_s_database_stops_it(make_instance: MakeInstance) -> None:
    instance = make_instance()
    for number in range(150):
        instance.media.write(f"accounts/headers/000/000/{number:03}/original/a.png", b"x")
    record(instance, HEADERS, name="alice")
    look(instance)
    with pytest.raises(SafetyStop, match="99 % of the files with names of Mastodon's"):
        look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert len(instance.media.keys()) == 151
    assert look(instance, later=LATER + timedelta(seconds=4)).stops
    done = look(instance, later=LATER + timedelta(seconds=6), apply=True, max_percent=100.0)
    assert done.quarantined == 150


def test_a_storage_that_is_another_one_was_never_seen(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    populated(instance)
    look(instance)
    assert isinstance(instance.media, DiskMedia)
    moved = tmp_path / "elsewhere"
    instance.media.root.rename(moved)
    instance.media.root.mkdir()
    for path in moved.iterdir():
        path.rename(instance.media.root / path.name)
    report = look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert report.first_scan and report.quarantined == 0


def test_what_was_set_aside_is_purged_in_time(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    done = twice(instance)
    here = opened(instance)
    assert look(instance, later=timedelta(days=20), apply=True).expired == 0
    later = look(instance, later=timedelta(days=40), apply=True)
    assert later.expired == len(stray) and not any(".mastomend" in key for key in instance.media.keys())
    assert undo(here, done.run, apply=True).conflicts == len(stray)
    assert cleanup(here, timedelta(0), apply=False).files == 0


def test_markers_and_unfinished_files(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5", "moto")
    record(instance, AVATARS, name="alice")
    ours = ("cache/accounts/headers/", "accounts/avatars/000/000/001", "cache/accounts/avatars/000/000/001/original/")
    theirs = ("other-tenant/", "cache/other/", "my folder/", "backups/", "cache/")
    unfinished = f"accounts/avatars/000/000/001/original/.{'0' * 40}.mastomend-tmp"
    foreign = f"other-tenant/.{'0' * 40}.mastomend-tmp"
    for key in (*ours, *theirs):
        instance.media.write(key, b"")
    for key in (unfinished, foreign):
        instance.media.write(key, b"half")
    done = twice(instance)
    assert done.sorts[Stray.DIRECTORY_MARKER].files == 3 and done.sorts[Stray.TEMPORARY].files == 1
    assert done.quarantined == 4 and {*theirs, foreign} <= instance.media.keys()
    assert not {*ours, unfinished} & instance.media.keys()


def test_as_from_a_shell(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    assert isinstance(instance.media, DiskMedia)
    for key in stray:
        os.utime(instance.media.root / key, (1_700_000_000, 1_700_000_000))
    first = run(instance.env, "orphans", "--min-age", "1h")
    assert first.returncode == 1 and "This was the first scan." in first.stdout, first.stderr
    assert re.search(r"^orphans +3 +18 B", first.stdout, re.MULTILINE) and re.search(
        r"not Mastodon's +13", first.stdout
    )
    second = run(instance.env, "orphans", "--min-age", "1h")
    assert f"{len(stray)} files" in second.stdout and "Next: " in second.stdout and "--apply" in second.stdout
    done = json.loads(run(instance.env, "orphans", "--min-age", "1h", "--apply", "--json").stdout)
    assert (done["objects"], done["quarantined"], done["unrecognized"], done["exit_code"]) == (5, 5, 13, 0)
    rows = json.loads(run(instance.env, "show", done["run"], "--json").stdout)["rows"]
    assert {row["reason"] for row in rows} == {"orphan", "stale_duplicate"}
    undone = run(instance.env, "undo", "latest", "--apply")
    assert undone.returncode == 0 and f"{len(stray)} records" in undone.stdout
    refused = run(instance.env, "orphans", "--no-quarantine", "--apply")
    assert refused.returncode == 2 and "--no-quarantine deletes for good" in refused.stderr
    for age, said in (("0h", "--min-age must be an hour at least"), ("", "must be an age such as")):
        refused = run(instance.env, "orphans", "--no-quarantine", "--min-age", age, "--apply")
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr
    again = run(instance.env, "orphans", "--min-age", "1h", "--purge-after", "never")
    assert "orphans --min-age 1h --purge-after never" in again.stdout


# --- what an attacker found ---------------------------------------------------------------------------------------------


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Between the scan and the move."""
    original = plans.set_aside

    def first_act(*arguments: object) -> Iterator[object]:
        act()
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("mastomend.commands.orphans.set_aside", first_act)


def header(instance: SimulatedInstance, number: int, name: str) -> None:
    instance.insert(
        "accounts", id=number, username=f"u{number}", uri=f"x:{number}", header_file_name=name,
        header_content_type="image/png", header_file_size=4, header_storage_schema_version=1,
    )  # fmt: skip


def test_a_directory_with_two_names_stops_it(make_instance: MakeInstance, tmp_path: Path) -> None:
    """Of each of its files one name would look like nobody's, and be the only copy."""
    instance = make_instance()
    expected, _ = populated(instance)
    assert isinstance(instance.media, DiskMedia)
    root, big = instance.media.root, tmp_path / "big"
    (root / "cache/accounts").rename(big)
    shutil.rmtree(root / "accounts")
    (root / "cache/accounts").symlink_to(big)
    (root / "accounts").symlink_to(big)
    with pytest.raises(SafetyStop, match="accounts and cache/accounts are the same directory"):
        twice(instance)
    assert all(instance.media.read(key) == data for key, data in expected.items() if key.startswith("cache/"))


def test_what_is_missed_is_never_purged(make_instance: MakeInstance) -> None:
    """The database was restored meanwhile: what waits in the quarantine is the only copy of a file a row expects."""
    instance = make_instance()
    populated(instance)
    key = "accounts/headers/000/000/777/original/mine.png"
    instance.media.write(key, b"mine")
    done = twice(instance)
    header(instance, 777, "mine.png")
    later = look(instance, later=timedelta(days=40), apply=True, max_missing_percent=100.0)
    assert later.left_alone == 1 and "this stays until a repair, or an undo" in later.left[0]
    foreseen = cleanup(opened(instance), timedelta(0), apply=False)
    cleaned = cleanup(opened(instance), timedelta(0), apply=True)
    assert cleaned.left and (foreseen.files, foreseen.left) == (cleaned.files, cleaned.left), "as it was foreseen"
    undo(opened(instance), done.run, apply=True)
    assert instance.media.read(key) == b"mine"


def test_a_row_that_comes_between_asking_and_moving(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mastomend.storage.filesystem import FilesystemStore

    instance = make_instance()
    populated(instance)
    key = "accounts/headers/000/000/777/original/mine.png"
    instance.media.write(key, b"mine")
    look(instance)
    move, came = FilesystemStore.move, threading.Event()

    def late(self: FilesystemStore, pairs: Any, **options: Any) -> Any:
        if not came.is_set():
            came.set()
            header(instance, 777, "mine.png")
        return move(self, pairs, **options)

    monkeypatch.setattr(FilesystemStore, "move", late)
    done = look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert (
        came.is_set() and instance.media.read(key) == b"mine" and done.left == [f"{key}: {key} is expected by a record"]
    )


@pytest.mark.parametrize("name", ["\n", f".{'0' * 40}.mastomend-tmp", f".{'0' * 40}.mastomend-tmp\n", "a\nb.png"])
def test_a_row_with_an_odd_name_has_its_file(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    instance = make_instance()
    populated(instance)
    key = f"accounts/headers/000/000/777/original/{name}"
    instance.media.write(key, b"mine")
    look(instance)
    meanwhile(monkeypatch, lambda: header(instance, 777, name))
    look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert instance.media.read(key) == b"mine"


@pytest.mark.parametrize("content_type", [None, "image/x-ms-bmp", "IMAGE/JPEG"])
def test_a_living_row_s_own_styles_stay_whatever_its_type(
    make_instance: MakeInstance, content_type: str | None
) -> None:
    instance = make_instance()
    populated(instance)
    made = record(instance, MEDIA_FILES, name="odd", shortcode="odd", file_content_type=content_type)
    small = made.key.replace("/original/", "/small/")
    instance.media.write(small, b"small")
    twice(instance)
    assert instance.media.read(small) is not None


def test_an_empty_database_stops_it_however_few_files_there_are(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.media.write("accounts/headers/000/000/001/original/a.png", b"x")
    look(instance)
    with pytest.raises(SafetyStop, match="No record expects any file"):
        look(instance, later=LATER + timedelta(seconds=2), apply=True, quarantine=False)


def test_what_vanished_is_not_told_as_moved(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    gone = next(iter(stray))
    look(instance)
    meanwhile(monkeypatch, lambda: instance.media.delete(gone))
    done = look(instance, later=LATER + timedelta(seconds=2), apply=True)
    assert (done.quarantined, done.left) == (len(stray) - 1, [f"{gone}: {gone} is gone"])
    assert undo(opened(instance), done.run, apply=True).conflicts == 0


def test_links_stay_where_they_lead(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    assert isinstance(instance.media, DiskMedia)
    link = instance.media.root / "accounts/headers/000/000/778/original/link.png"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../../../../favicon.ico")
    done = twice(instance)
    assert link.is_symlink() and done.quarantined == len(stray) and "is a link" in done.left[0]


def test_a_store_whose_clock_is_behind_has_young_files(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mastomend.storage.objects import S3ObjectStore

    instance = make_instance("4.5", "s3")
    populated(instance)
    monkeypatch.setattr(S3ObjectStore, "behind_s", lambda self: LATER.total_seconds() - 3600)
    assert twice(instance).quarantined == 0


def test_scans_that_show_nothing_are_no_sightings(make_instance: MakeInstance) -> None:
    """One that was cut off, one of other kinds: the one before them counts."""
    instance = make_instance()
    _, stray = populated(instance)
    first = look(instance)
    second = look(instance, later=LATER + timedelta(seconds=2))
    second.strays.write_bytes(b"")
    look(instance, later=LATER + timedelta(seconds=4), kinds=("avatars",))
    third = look(instance, later=LATER + timedelta(seconds=6))
    assert third.ready == len(stray) and first.ready == 0


def test_a_disk_s_own_folder_hides_nothing(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    from mastomend.storage.walk import Trouble, walk
    from mastomend.storage.walk_worker import UNREADABLE

    instance = make_instance()
    _, stray = populated(instance)

    def with_trouble(root: str, start: str, tell: Callable[[Trouble], None], workers: int | None = None) -> Any:
        tell(Trouble("lost+found", UNREADABLE))
        return walk(root, start, tell, workers)

    monkeypatch.setattr("mastomend.storage.filesystem.walk", with_trouble)
    assert look(instance).objects == len(stray)


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_a_run_that_was_cut_off_is_gone_on_with(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """Files were moved, and the journal does not know of it yet: the next run settles that, and undo takes all of it back."""
    from mastomend.actions.journal import Journal

    instance = make_instance("4.5", storage)
    _, stray = populated(instance)
    before = contents(instance)
    look(instance)
    done, calls = Journal.done, []

    def dies(self: Journal, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        done(self, *arguments)

    monkeypatch.setattr("mastomend.actions.run.BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "done", dies)
        with pytest.raises(KeyboardInterrupt):
            look(instance, later=LATER + timedelta(seconds=2), apply=True)
    look(instance, later=LATER + timedelta(seconds=4))  # what is left has been seen twice again
    again = look(instance, later=LATER + timedelta(seconds=6), apply=True)
    assert contents(instance) == {key: data for key, data in before.items() if key not in stray}
    undo(opened(instance), again.run, apply=True)
    assert contents(instance) == before


def test_what_a_repair_has_tried_in_vain_does_not_stop_it(make_instance: MakeInstance) -> None:
    instance = make_instance()
    data = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"
    for number in range(110):
        name = f"{number:016x}.gif"
        new = instance.insert(
            "custom_emojis", shortcode=f"e{number}", image_file_name=name, image_content_type="image/gif",
            image_file_size=len(data), image_storage_schema_version=1,
        )  # fmt: skip
        for style, ending in (("original", "gif"), ("static", "png")):
            if number > 40:
                file = name.replace(".gif", f".{ending}")
                instance.media.write(f"custom_emojis/images/{partition(new)}/{style}/{file}", data)
    instance.media.write("accounts/headers/000/000/001/original/a.png", b"x")
    assert look(instance).stops, "so much is missing"
    repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert look(instance, later=LATER + timedelta(seconds=2), apply=True).quarantined == 1
