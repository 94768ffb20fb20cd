"""One record never stops the rest, nor later runs; undo takes back whole records, as they were (issue 10, B5 to B10)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken import Made, break_it, outcomes, record
from conftest import MakeInstance, opened

from mastomend.actions.actions import PutFile, QuarantineFile
from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ObjectError, StorageError
from mastomend.inventory.findings import load
from mastomend.inventory.sample import Sample
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.outcomes import Engine, Outcome, Refreshed
from mastomend.reasons import Reason
from mastomend.restore.case import Case, Offers
from mastomend.restore.sources.mastodon import HandOverLimits, Mastodon
from mastomend.restore.sources.origin import Origin
from mastomend.storage.bodies import measure
from mastomend.storage.build import build
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.ports import UNREADABLE
from mastomend.vocabulary import RowOf

Pairs = Sequence[tuple[Key, Key]]
APPLY = RepairOptions(apply=True, max_missing_percent=100)


def in_root(instance: SimulatedInstance, key: str) -> Path:
    return instance.folder / "public/system" / key


# --- what is in the way (B6) --------------------------------------------------------------------------------------------


def a_directory_in_its_place(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"x")


def a_file_as_its_parent(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"in the way")


def a_dangling_link_as_its_parent(path: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to("/mnt/nowhere-at-all")


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (a_directory_in_its_place, "a directory is in its place"),
        (a_file_as_its_parent, "is a file, not a directory"),
        (a_dangling_link_as_its_parent, "is a link to /mnt/nowhere-at-all, which does not exist"),
    ],
)
def test_b6_what_is_in_the_way_is_that_record_s_outcome(
    make_instance: MakeInstance, network: Fediverse, obstacle: Callable[[Path], None], words: str
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    made = [record(instance, origin=origin, damage="missing") for _ in range(6)]
    obstacle(in_root(instance, made[2].key))
    for again in (False, True):  # the second run is not stopped by what the first one left, either
        done = repair(opened(instance), replace(APPLY, again=again))
        found = outcomes(done)[made[2].id]
        assert (found.outcome, found.reason) == (Outcome.REFUSED, "in_the_way") and words in found.detail
    assert sum(instance.media.read(one.key) is not None for one in made) == 5
    (finding,) = load(check(opened(instance)).findings)
    assert words in finding.detail
    asked = network.fetched()
    assert repair(opened(instance), RepairOptions()).resting == 1, "while that is there"
    assert repair(opened(instance), APPLY).resting == 1 and network.fetched() == asked, "its origin is left alone"
    way = in_root(instance, made[2].key)
    first = next(one for one in (*reversed(way.parents), way) if one.is_symlink() or one.is_file() or one == way)
    shutil.rmtree(first) if first.is_dir() and not first.is_symlink() else first.unlink()
    assert repair(opened(instance), APPLY).outcomes == {"restored": 1}, (
        "what was in the way is gone: it is tried at once"
    )


def test_b6_a_name_no_disk_takes(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    made = [record(instance, origin=origin, damage="missing") for _ in range(3)]
    instance.db.execute("UPDATE accounts SET avatar_file_name = repeat('ä', 200) || '.png' WHERE id = %s", [made[0].id])
    done = repair(opened(instance), APPLY)
    assert (done.outcomes, done.reasons[Outcome.REFUSED, "in_the_way"]) == ({"restored": 2, "refused": 1}, 1)
    (finding,) = load(check(opened(instance)).findings)
    assert "more than 255 bytes" in finding.detail


def test_b6_only_the_disk_itself_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, over quota, read-only, gone; errors of the disk when they are many."""
    store = build(FilesystemStorage(str(tmp_path)))
    assert isinstance(store, FilesystemStore)
    for number, stops in ((28, True), (122, True), (30, True), (116, True), (13, False), (1, False), (22, False)):

        def refuse(*_: object, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", refuse)
            with pytest.raises(StorageError) as caught:
                store.put(Key("a/b.png"), b"x", "image/png")
        assert isinstance(caught.value, ObjectError) is not stops, number
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        kinds = []
        for _ in range(30):
            with pytest.raises(StorageError) as caught:
                store.put(Key("a/b.png"), b"x", "image/png")
            kinds.append(isinstance(caught.value, ObjectError))
    assert kinds[0] and not kinds[-1]
    store.close()


# --- recovery (B5) ------------------------------------------------------------------------------------------------------


def test_b5_a_file_of_somebody_else_can_be_moved(tmp_path: Path) -> None:
    """In a directory of one's own a rename is allowed, a change of mode is not."""
    if os.geteuid() != 0:
        pytest.skip("root, to have files of two users")
    nobody = pwd.getpwnam("nobody")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    root = tmp_path / "media"
    (root / "a/original").mkdir(parents=True)
    (root / "a/original/x.png").write_bytes(b"x")
    (root / "a/original/x.png").chmod(0o640)
    for folder in (root, root / "a", root / "a/original"):
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    child = os.fork()
    if child == 0:
        try:
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            store = FilesystemStore(str(root))
            aside = quarantine_key("r", "a/original/x.png")
            assert store.move([(Key("a/original/x.png"), aside)], private=True) == [None]
            assert store.move([(aside, Key("a/original/x.png"))], private=False) == [None]
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    status = (root / "a/original/x.png").stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o640, 0), "and it comes back as it was"


def test_b5_a_plan_that_cannot_be_recovered_is_an_outcome(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    stuck, fine = (record(instance, origin=origin, damage="missing") for _ in range(2))
    with contextlib.closing(Journal(instance.state)) as journal:  # a run that was cut off after it had put a file aside
        journal.begin("20261101T000000Z-dead", "repair", "all", scan=None)
        aside = quarantine_key("20261101T000000Z-dead", stuck.key)
        actions = PutFile.of(Key(stuck.key), measure(b"x"), "image/png"), QuarantineFile(Key(fine.key), aside)
        half_done = Plan(RowOf(AVATARS.name, stuck.id), Refreshed(Reason.TYPE_CHANGED), actions, Rule.MEND)
        journal.plan("20261101T000000Z-dead", [(1, half_done)])
    folder = in_root(instance, stuck.key).parent
    folder.rmdir()
    folder.write_bytes(b"a file where its directory was")
    for again in (False, True):
        done = repair(opened(instance), replace(APPLY, again=again))
        assert outcomes(done)[stuck.id].outcome is Outcome.REFUSED
    assert instance.media.read(fine.key) == fine.data
    assert undo(opened(instance), done.run, apply=True).conflicts == 0


# --- one unreadable file, one defect (B7, B8) ---------------------------------------------------------------------------


def test_b7_one_unreadable_file_does_not_end_a_deep_check(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    made = [record(instance, domain="a.example") for _ in range(4)]
    instance.media.write(made[3].key, b"\x89PNG" + bytes(len(instance.files[made[3].key]) - 4))
    really = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == in_root(instance, made[1].key):
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    report = check(opened(instance), CheckOptions(deep=Sample()))
    found = {finding.id: finding.state.value for finding in load(report.findings)}
    assert found == {made[1].id: "unservable", made[3].id: "corrupt"}
    assert (report.broken, report.unseen) == (1, 1)


@pytest.mark.parametrize("engine", list(Engine))
def test_b8_a_defect_in_one_record_is_its_outcome_whatever_the_engine(
    make_instance: MakeInstance, network: Fediverse, redis_port: int, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    instance = make_instance(redis_port=redis_port)
    origin = network.add("good.example")
    made = [record(instance, HEADERS, origin=origin, damage="missing") for _ in range(5)]
    place = Origin if engine is Engine.DIRECT else Mastodon
    really = place.offers

    def offers(self: Any, case: Case) -> Offers:
        if case.target.row.record.id == made[2].id:
            raise ZeroDivisionError("a defect of ours")
        return (yield from really(self, case))

    monkeypatch.setattr(place, "offers", offers)
    limits = HandOverLimits(wait_s=0.0, rate=0.0)
    done = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100, engine=engine, hand_over=limits))
    found = outcomes(done)
    assert len(found) == 5 and found[made[2].id].reason == "internal_error"
    assert "internal_error" not in {found[one.id].reason for one in made if one is not made[2]}


def test_b8_a_defect_while_looking_is_that_record_s(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    made = [record(instance, origin=origin, damage="missing") for _ in range(4)]
    really = FilesystemStore.sizes

    def sizes(self: FilesystemStore, keys: list[str]) -> object:
        if made[1].key in keys and len(keys) < 100 and "restore" in __import__("threading").current_thread().name:
            raise ZeroDivisionError("a defect of ours")
        return really(self, keys)

    monkeypatch.setattr(FilesystemStore, "sizes", sizes)
    done = repair(opened(instance), APPLY)
    assert done.outcomes == {"restored": 3, "deferred": 1}


# --- undo (B9) ----------------------------------------------------------------------------------------------------------


def refreshed(instance: SimulatedInstance, network: Fediverse) -> Made:
    """A record that gets another name: its type has changed."""
    origin = network.origins.get("good.example") or network.add("good.example")
    made = record(instance, data=picture(4, 400, 400, "gif"), origin=origin)
    origin.files[next(path for path, data in origin.files.items() if data == made.data)] = picture(77)
    break_it(instance, made.key)
    return made


def test_b9_a_conflict_is_known_before_anything_moves(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    made = refreshed(instance, network)
    other = record(instance, origin=network.origins["good.example"], damage="missing")
    run = repair(opened(instance), APPLY).run
    before = instance.media.keys() - {other.key}
    instance.db.execute("UPDATE accounts SET avatar_file_size = 1 WHERE id = %s", [made.id])
    report = undo(opened(instance), run, apply=True)
    assert (report.reverted, report.conflicts) == (1, 1) and "somebody else" in report.details[0]
    moved = {key for key in instance.media.keys() if ".mastomend" not in key} ^ {
        k for k in before if ".mastomend" not in k
    }
    assert moved == set(), "it says that it stayed, and it did"
    before_it = undo(opened(instance), run, apply=False)
    again = undo(opened(instance), run, apply=True)
    for told in (before_it, again):
        assert (told.reverted, told.conflicts) == (0, 1), "what is taken back already is not counted again"


def test_b9_an_undo_that_was_taken_back_does_not_hold(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance)
    made = record(instance, origin=network.add("good.example"), damage="missing")
    run = repair(opened(instance), APPLY).run
    first = undo(opened(instance), run, apply=True)
    assert instance.media.read(made.key) is None
    assert undo(opened(instance), first.run, apply=True).reverted == 1
    assert instance.media.read(made.key) == made.data
    assert undo(opened(instance), run, apply=True).reverted == 1
    assert instance.media.read(made.key) is None


@pytest.mark.parametrize("storage", ["disk", "s3"])
@pytest.mark.parametrize("content", [b"", b"cut off"])
def test_b9_what_was_overwritten_comes_back_as_it_was(
    make_instance: MakeInstance, network: Fediverse, storage: str, content: bytes
) -> None:
    instance = make_instance("4.5", storage)
    made = record(instance, origin=network.add("good.example"))
    instance.media.write(made.key, content)
    path = in_root(instance, made.key)
    if storage == "disk":
        path.chmod(0o640)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    done = repair(opened(instance), APPLY)
    assert instance.media.read(made.key) == made.data
    undo(opened(instance), done.run, apply=True)
    assert instance.media.read(made.key) == content
    if storage == "disk":
        assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o640, 1_000_000_000)


# --- links (B10) --------------------------------------------------------------------------------------------------------


def test_b10_the_target_of_a_link_is_never_touched(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    made = refreshed(instance, network)
    outside = instance.folder / "outside.gif"
    outside.write_bytes(b"somebody's")
    outside.chmod(0o604)
    in_root(instance, made.key).symlink_to(outside)
    run = repair(opened(instance), APPLY).run
    undo(opened(instance), run, apply=True)
    assert (outside.read_bytes(), outside.stat().st_mode & 0o777) == (b"somebody's", 0o604)
    assert in_root(instance, made.key).is_symlink(), "the link itself was put aside, and came back"


def test_b10_a_linked_directory_is_part_of_the_storage(make_instance: MakeInstance, network: Fediverse) -> None:
    """The same for check, repair, undo and a walk: that is how people move media to a larger disk."""
    instance = make_instance()
    made = [record(instance, origin=network.origins.get("a.example") or network.add("a.example")) for _ in range(2)]
    root, disk = instance.folder / "public/system", instance.folder / "disk"
    (root / "cache").rename(disk)
    (root / "cache").symlink_to(disk)
    store = FilesystemStore(str(root))
    assert {key for batch in store.list("") for key in batch["key"].to_pylist()} == {one.key for one in made}
    store.close()
    assert check(opened(instance)).broken == 0
    break_it(instance, made[0].key)
    done = repair(opened(instance), RepairOptions(apply=True))
    assert done.outcomes == {"restored": 1} and (disk / made[0].key.removeprefix("cache/")).is_file()
    assert undo(opened(instance), done.run, apply=True).reverted == 1
    assert check(opened(instance)).broken == 1 and (root / "cache").is_symlink()


def test_b9_a_file_that_is_there_again_is_known_before_anything_moves(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    """Both old files are in the quarantine; a foreign one lies where the second of them belongs."""
    instance = make_instance()
    origin = network.add("good.example")
    made = record(instance, MEDIA_FILES, origin=origin)
    break_it(instance, made.key, "truncated")
    origin.files = dict.fromkeys(origin.files, picture(5, form="jpeg"))
    run = repair(opened(instance), APPLY).run
    for key in made.keys:
        instance.media.write(key, b"foreign")
        before = instance.media.keys()
        report = undo(opened(instance), run, apply=True)
        assert (report.reverted, report.conflicts) == (0, 1) and "there is a file at" in report.details[0]
        assert instance.media.keys() == before
        instance.media.delete(key)
    assert undo(opened(instance), run, apply=True).reverted == 1


def test_b5_what_cannot_be_put_aside_after_the_row_has_changed_is_told(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is mended: an old file that stays is a word, not a failure."""
    instance = make_instance()
    origin = network.add("good.example")
    made = record(instance, MEDIA_FILES, origin=origin)
    break_it(instance, made.key, "truncated")
    origin.files = dict.fromkeys(origin.files, picture(5, form="jpeg"))
    move = FilesystemStore.move

    def refusing(self: FilesystemStore, pairs: Pairs, *, private: bool) -> Sequence[ObjectError | None]:
        if any(source == made.keys[1] for source, _ in pairs):
            return [ObjectError(f"{source}: Operation not permitted.") for source, _ in pairs]
        return move(self, pairs, private=private)

    monkeypatch.setattr(FilesystemStore, "move", refusing)
    done = repair(opened(instance), APPLY)
    assert done.outcomes == {"refreshed": 1}
    assert f"{made.keys[1]} stays" in outcomes(done)[made.id].detail
    monkeypatch.undo()
    assert check(opened(instance)).is_whole
    assert undo(opened(instance), done.run, apply=True).reverted == 1


def test_b9_an_undo_that_stopped_half_way_goes_on(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was set back, a file could not be moved: the next undo does the rest instead of calling it a conflict."""
    instance = make_instance()
    made = refreshed(instance, network)
    run = repair(opened(instance), APPLY).run
    before = instance.media.keys()
    move = FilesystemStore.move

    def refusing(self: FilesystemStore, pairs: Pairs, *, private: bool) -> Sequence[ObjectError | None]:
        if not private:
            return [ObjectError(f"{source}: Operation not permitted.") for source, _ in pairs]
        return move(self, pairs, private=private)

    monkeypatch.setattr(FilesystemStore, "move", refusing)
    stuck = undo(opened(instance), run, apply=True)
    assert (stuck.reverted, stuck.conflicts) == (0, 1) and "Operation not permitted" in stuck.details[0]
    monkeypatch.undo()
    assert undo(opened(instance), run, apply=True).reverted == 1
    assert made.keys[1] in instance.media.keys() - before


@pytest.mark.parametrize("obstacle", ["loop", "closed"])
def test_b6_one_entry_in_the_quarantine_does_not_end_a_repair(
    make_instance: MakeInstance, network: Fediverse, obstacle: str
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("good.example"), damage="missing")
    folder = instance.folder / "public/system/.mastomend/quarantine/20250101T000000Z-0000"
    folder.mkdir(parents=True)
    if obstacle == "loop":
        (folder / "x").symlink_to("x")
    elif os.geteuid() != 0:
        folder.chmod(0)
    assert repair(opened(instance), APPLY).outcomes == {"restored": 1}


def test_b6_a_backup_that_may_not_be_entered_is_not_said_to_lack_anything(
    make_instance: MakeInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    made = record(instance)
    (tmp_path / "backup" / made.key).parent.mkdir(parents=True)
    (tmp_path / "backup" / made.key).write_bytes(instance.files[made.key])
    instance.media.delete(made.key)
    instance.media.write("accounts/avatars/kept", b"x")
    size = FilesystemStore._size

    def closed(self: FilesystemStore, key: str) -> int:
        return UNREADABLE if self.root == tmp_path / "backup" and key == made.key else size(self, key)

    monkeypatch.setattr(FilesystemStore, "_size", closed)
    done = repair(opened(instance), RepairOptions(apply=True, backups=(tmp_path / "backup",)))
    assert done.outcomes == {"refused": 1}
    found = outcomes(done)[made.id]
    assert found.reason == "unreadable" and "may not look into it" in found.detail
