"""kill -9 at every boundary of a check: the next one goes on from there, and finds exactly what there is to find."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import MakeInstance, opened
from population import populate
from tool import driven

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import SafetyStop
from mastomend.inventory import expected
from mastomend.inventory.findings import load
from mastomend.inventory.taking_up import identity
from mastomend.inventory.workspace import unfinished
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.mastodon.values import Secret
from mastomend.progress import Silent

DRIVER = Path(__file__).with_name("killed_check.py")


def damaged(instance: SimulatedInstance) -> list[str]:
    populate(instance)
    lost = sorted(instance.files)[::5]
    for key in lost:
        instance.media.delete(key)
    return lost


@pytest.mark.parametrize(("storage", "stride"), [("disk", 3), ("s3", 7)])
def test_killed_at_every_boundary(make_instance: MakeInstance, storage: str, stride: int) -> None:
    """Every third (seventh) one, for time; each kill goes on with the scan the last one left."""
    instance = make_instance("4.5", storage)
    lost = damaged(instance)
    scans, killed, number = set(), 0, 1
    while True:
        process = driven(DRIVER, instance.env, number)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
        killed += 1
        scans |= {one.scan for one in unfinished(instance.state / "scans", datetime.now(UTC))}
        number = 2 + (number + stride) % 11  # progress is kept, so a small number is further each time
        assert killed < 300
    assert killed >= 5 and len(scans) == 1, "all of it was one scan"
    (folder,) = [p for p in (instance.state / "scans").iterdir() if p.name in scans]
    assert sorted(f.key for f in load(folder / "findings.parquet")) == lost
    assert not (folder / "work").exists(), "what is whole needs no workspace"


class Interrupting(Silent):
    """Ctrl-C at the n-th word of progress of a task."""

    def __init__(self, task: str, after: int) -> None:
        self.wanted, self.left, self.task, self.seen = task, after, "", 0
        self.notes: list[str] = []

    def start(self, task: str, total: int) -> None:
        self.task = task

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, n: int) -> None:
        if self.wanted in self.task:
            self.seen += n
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_an_interrupted_check_goes_on_where_it_was(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    lost = damaged(instance)
    monkeypatch.setattr(expected, "_CHUNK", 4)
    with pytest.raises(KeyboardInterrupt):
        check(opened(instance), progress=Interrupting("accounts: files", 6))
    instance.db.execute("DELETE FROM accounts WHERE avatar_file_name = 'odd näme #1%41?.tar.png'")
    watcher = Interrupting("", -1)
    report = check(opened(instance), progress=watcher)
    assert report.resumed and any("Going on with check" in note for note in watcher.notes)
    expected_keys = sorted(key for key in lost if "odd" not in key)
    assert sorted(f.key for f in load(report.findings)) == expected_keys, "rows of then, each looked at again now"
    again = check(opened(instance))
    assert not again.resumed and again.broken == report.broken


def test_a_check_goes_on_only_with_its_own_like(make_instance: MakeInstance) -> None:
    instance = make_instance()
    damaged(instance)

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            check(opened(instance), progress=Interrupting("files", 1))

    interrupted()
    other = check(opened(instance), CheckOptions(kinds=("accounts",)))
    assert not other.resumed, "other kinds"
    assert not check(opened(instance), CheckOptions(command="repair")).resumed, "another command's"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert not check(opened(instance), now=lambda: tomorrow).resumed, "too old"
    left = list(unfinished(instance.state / "scans", datetime.now(UTC)))
    assert not left, "and cleared away"


def test_a_running_check_is_left_alone(make_instance: MakeInstance) -> None:
    instance = make_instance()
    damaged(instance)

    class Second(Silent):
        report = None

        def start(self, task: str, total: int) -> None:
            if "files" in task and self.report is None:
                self.report = check(opened(instance))

    watcher = Second()
    first = check(opened(instance), progress=watcher)
    assert watcher.report is not None
    assert (first.resumed, watcher.report.resumed) == (False, False)
    assert first.scan != watcher.report.scan and first.broken == watcher.report.broken


def test_what_is_about_to_be_changed_is_never_an_old_look(make_instance: MakeInstance) -> None:
    """A mount point below the root went away after a check was cut off: repair looks, and stops."""
    instance = make_instance()
    for n in range(120):
        instance.add_image(
            AVATARS, picture(1), username=f"u{n}", uri=f"x:{n}", domain="a.example", remote_url="https://a"
        )
    lost = sorted(instance.files)[0]
    instance.media.delete(lost)
    with pytest.raises(KeyboardInterrupt):
        check(opened(instance), progress=Interrupting("second look", 1))
    shutil.rmtree(instance.folder / "public" / "system" / "cache")
    (instance.folder / "public" / "system" / "something").write_bytes(b"")
    with pytest.raises(SafetyStop, match="not mounted"):
        repair(opened(instance), RepairOptions(apply=True))
    assert check(opened(instance)).resumed, "a check may go on, and says so"
    report = check(opened(instance), CheckOptions(resume=False))
    assert (report.resumed, report.broken) == (False, 120)


def test_another_storage_of_the_same_name_is_another(make_instance: MakeInstance) -> None:
    instance = make_instance()
    damaged(instance)
    with pytest.raises(KeyboardInterrupt):
        check(opened(instance), progress=Interrupting("second look", 1))
    system = instance.folder / "public" / "system"
    system.rename(system.with_name("old"))
    shutil.copytree(system.with_name("old"), system)
    assert not check(opened(instance)).resumed, "the same path, another directory"
    bucket = S3Storage("b", "r", "https://a.example", False, "id", Secret("s"), None, None, "", 5, 5, 1)
    names = {identity(replace(bucket, endpoint=e)) for e in ("https://a.example", "https://b.example")}
    assert len(names) == 2 and str(bucket) == str(replace(bucket, endpoint="https://b.example"))


@pytest.mark.parametrize("damage", ["garbage", "torn scope", "half"])
def test_a_damaged_workspace_is_begun_anew(make_instance: MakeInstance, damage: str) -> None:
    instance = make_instance()
    lost = damaged(instance)
    with pytest.raises(KeyboardInterrupt):
        check(opened(instance), progress=Interrupting("files", 1))
    (work,) = (instance.state / "scans").glob("*/work")
    database = work / "scan.duckdb"
    if damage == "garbage":
        database.write_bytes(b"not a database" * 1000)
    elif damage == "half":
        data = bytearray(database.read_bytes())
        data[4096 : 4096 + 4096] = bytes(4096)
        data[8192 : 8192 + 4096] = bytes(4096)
        database.write_bytes(data)
    else:
        (work / "scope.json").write_text('{"kinds":')
    report = check(opened(instance))
    assert sorted(f.key for f in load(report.findings)) == lost
    if damage == "torn scope":
        os.utime(work, (0, 0))
        assert list(unfinished(instance.state / "scans", datetime.now(UTC))) == []
        assert not work.exists(), "what nobody can go on with is cleared away in time"
