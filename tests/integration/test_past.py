"""What is known of the past holds: while others work, after undos of undos, on a full disk, from a timer."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from stray_files import populated, twice
from tool import run as tool

from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.commands.check import check
from mastomend.commands.cleanup import cleanup
from mastomend.commands.history import history, one
from mastomend.commands.instance import Instance
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.systemd import units
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Outcome
from mastomend.progress import Silent
from mastomend.state_files import make_private_file

APPLY = RepairOptions(apply=True, max_missing_percent=100)


def mended(instance: SimulatedInstance, network: Fediverse, *, renamed: bool = True) -> tuple[str, str]:
    """A repair that gave an avatar another name; its run, and the key of the truncated file."""
    origin = network.add("good.example")
    made = record(instance, AVATARS, picture(1, form="gif" if renamed else "png"), origin=origin, name="a")
    instance.media.write(made.key, b"cut off")
    origin.files["/a"] = picture(2)
    return repair(opened(instance), APPLY).run, made.key


LOOK = "import sys; from pathlib import Path; from mastomend.actions.journal import Journal; Journal(Path(sys.argv[1])).close()"


def test_a_command_that_looks_on_leaves_the_journal_of_a_run_whole(tmp_path: Path) -> None:
    """A run opens its journal more than once; another process that comes and goes must still find it locked."""
    working = Journal(tmp_path)
    working.begin("one", "repair", "all", scan=None)
    Journal(tmp_path).close()
    subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], check=True)
    assert journal_path(tmp_path).with_name("journal.sqlite3-wal").exists(), "it was taken for the last one"
    working.begin("two", "repair", "all", scan=None)
    working.finish("two", {})
    assert {run.id for run in working.runs()} == {"one", "two"}
    working.close()
    again = Journal(tmp_path)
    assert {run.id: run.finished_at is not None for run in again.runs()} == {"one": False, "two": True}
    again.close()


def test_a_file_that_is_there_is_closed_to_others_without_opening_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = tmp_path / "file", os.open
    make_private_file(made)
    made.chmod(0o644)

    def refuse(path: str, flags: int, *rest: int) -> int:
        assert flags & os.O_EXCL, "closing it would let go of this process's locks"
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    make_private_file(made)
    assert made.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(made)
    with pytest.raises(OSError, match="no plain file"):
        make_private_file(tmp_path / "link")


def test_an_undo_that_was_overtaken_is_refused(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    first, _ = mended(instance, network)

    def taken_back() -> dict[str, str | None]:
        return {past.run.id: past.taken_back for past in history(opened(instance))}

    undone = undo(opened(instance), first, apply=True).run
    redone = undo(opened(instance), undone, apply=True).run
    assert taken_back() == {first: None, undone: redone, redone: None}, "it stands again"
    last = undo(opened(instance), "latest", apply=True).run
    assert taken_back() == {first: last, undone: last, redone: last, last: None}
    for name in (first, undone, redone):
        with pytest.raises(ConfigurationError, match=last):
            undo(opened(instance), name, apply=True)
    assert undo(opened(instance), last, apply=False).reverted == 1


def test_a_file_that_came_back_and_was_changed_since_is_not_moved(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    first, key = mended(instance, network)
    undone = undo(opened(instance), first, apply=True)
    assert undone.reverted == 1 and instance.media.read(key) == b"cut off"
    instance.media.write(key, b"by somebody's hand")
    before = instance.media.keys()
    again = undo(opened(instance), undone.run, apply=True)
    assert (again.reverted, again.conflicts) == (
        0,
        1,
    ) and "another file than the one that was brought back" in again.details[0]
    assert instance.media.read(key) == b"by somebody's hand" and instance.media.keys() == before


def test_what_an_undo_took_away_can_be_removed_for_good(make_instance: MakeInstance, network: Fediverse) -> None:
    """Its row names the old file again, and misses it: whoever undid it knows."""
    instance = make_instance()
    origin = network.add("good.example")
    made = record(instance, AVATARS, picture(1), origin=origin, damage="missing")
    run = repair(opened(instance), APPLY).run
    undo(opened(instance), run, apply=True)
    foreseen = cleanup(opened(instance), timedelta(0), apply=False)
    done = cleanup(opened(instance), timedelta(0), apply=True)
    assert (foreseen.files, done.files, done.left) == (1, 1, []), "what is foreseen is done"
    assert instance.media.read(made.key) is None
    assert not [key for key in instance.media.keys() if ".mastomend" in key]


def test_a_run_with_nothing_to_do_is_no_part_of_history(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance)
    repair(opened(instance), RepairOptions(apply=True, deferred=True))
    assert history(opened(instance)) == []


def test_what_was_cut_off_is_told_and_settled(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's disk fills while files are moved: nothing is ticked off, and nobody may believe that nothing was done."""
    instance = make_instance()
    populated(instance)
    real = Journal.done

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Journal, "done", full)
    with pytest.raises(OSError, match="no room"):
        twice(instance)
    monkeypatch.setattr(Journal, "done", real)
    (past,) = history(opened(instance))
    assert past.half_done > 0 and past.state != "finished"
    assert f"{past.half_done} records half done" in tool(instance.env, "history").stdout
    seen = tool(instance.env, "undo", "latest")
    assert seen.returncode == 0 and "--apply settles them first" in seen.stderr
    settled, reasons = one(opened(instance), past.run.id)
    assert settled.half_done == past.half_done and reasons == Counter()
    assert undo(opened(instance), "latest", apply=True).reverted == past.half_done


@pytest.mark.parametrize("has_room", [True, False])
def test_on_a_full_disk_the_journal_opens_all_the_same(tmp_path: Path, has_room: bool) -> None:
    state = tmp_path / "state"
    state.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "none", str(state)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        Journal(state).close()
        assert (state / "reserve").stat().st_size > 1_000_000
        if not has_room:
            (state / "reserve").unlink()
        with (state / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(1024 * 1024))
                filler.flush()
        with (state / "more").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(512))
        looked = subprocess.run([sys.executable, "-c", LOOK, str(state)], capture_output=True, text=True, check=False)
        if has_room:
            assert looked.returncode == 0, looked.stderr
            assert not (state / "reserve").exists()
        else:
            assert "the disk it is on is full" in looked.stderr
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_a_timer_knows_what_is_known(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """State that is kept elsewhere is named in the units, else all that was tried would be new to them."""
    here = opened(make_instance())
    journal = Journal(here.state)
    journal.close()
    service = units(here, ["/bin/mastomend"], here.folder / ".env.production", None, None)["mastomend-check.service"]
    assert f"--state {here.state} " in service and f"ReadWritePaths=-{here.state}" in service
    fresh = Instance(here.configuration, here.settings, Path("/var/lib/mastomend/example.social"), here.folder, {})
    home = here.folder / "home"
    mine = pwd.getpwuid(os.getuid())
    for name in ("getpwnam", "getpwuid"):
        monkeypatch.setattr(pwd, name, lambda who: pwd.struct_passwd((*mine[:5], str(home), mine[6])))
    service = units(fresh, ["/bin/mastomend"], here.folder / ".env.production", None, None)["mastomend-check.service"]
    assert "--state" not in service
    kept = home / ".local/state/mastomend/example.social"
    Journal(kept).close()
    service = units(fresh, ["/bin/mastomend"], here.folder / ".env.production", None, None)["mastomend-check.service"]
    assert f"--state {kept} " in service, "root makes them for the user that runs Mastodon"


def test_an_undo_looks_at_its_rights_first(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    run, key = mended(instance, network)
    role = f"undo_{os.getpid()}"
    instance.db.execute(f"CREATE ROLE {role} LOGIN")
    instance.db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        env = instance.env.with_name("less.env")
        env.write_text(instance.env.read_text().replace("DB_USER=postgres", f"DB_USER={role}"))
        said = tool(env, "undo", run)
        assert said.returncode == 0 and "GRANT UPDATE (" in said.stderr and f"ON accounts TO {role};\n" in said.stderr
        before = instance.media.keys()
        stopped = tool(env, "undo", run, "--apply")
        assert stopped.returncode == 3 and "GRANT UPDATE (" in stopped.stderr
        assert instance.media.keys() == before and key not in before
        dry = tool(env, "repair")
        assert "\\x0a" not in dry.stderr and "\nGRANT UPDATE (" in dry.stderr
    finally:
        instance.db.execute(f"DROP OWNED BY {role}")
        instance.db.execute(f"DROP ROLE {role}")


def test_what_may_not_be_written_is_said_before_and_is_nobody_s_refusal(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the answer is played; the words are those of the real one."""
    instance = make_instance()
    made = record(instance, AVATARS, origin=network.add("good.example"), damage="missing")
    told: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr("mastomend.storage.in_the_way.os.access", lambda path, mode: "/public/" not in f"{path}/")
    repair(opened(instance), RepairOptions(max_missing_percent=100), Listening())
    assert any("This user may not write into" in text and "which belongs to root" in text for text in told)
    report = repair(opened(instance), APPLY)
    assert report.reasons == {(Outcome.REFUSED, "unwritable"): 1} and not network.requests, "nobody is asked in vain"
    assert check(opened(instance)).new == 1, "and it is not known as hopeless"
    monkeypatch.undo()

    def barred(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mastomend.storage.filesystem.write_beside", barred)
    report = repair(opened(instance), APPLY)
    assert report.reasons == {(Outcome.REFUSED, "unwritable"): 1}
    monkeypatch.undo()
    dry = tool(instance.env, "check", "--new", "--max-missing", "100%")
    assert dry.returncode == 1 and "1 new" not in dry.stdout.replace("1 record is broken", ""), dry.stdout
    assert repair(opened(instance), APPLY).outcomes[Outcome.RESTORED] == 1 and instance.media.read(made.key) is not None


def test_orphans_are_shown_by_name_before_anything_is_moved(make_instance: MakeInstance) -> None:
    instance = make_instance()
    _, stray = populated(instance)
    found = tool(instance.env, "orphans")
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("Which: ")]
    shown = tool(instance.env, *line.partition(" show ")[2].split() and ["show", line.split()[-1], "--limit", "0"])
    assert shown.returncode == 0 and all(key in shown.stdout for key in stray), shown.stdout + shown.stderr
    only = tool(instance.env, "show", line.split()[-1], "--outcome", "orphan", "--json")
    assert only.returncode == 0 and '"outcome": "orphan"' in only.stdout and '"unrecognized"' not in only.stdout
    assert "deleted for good" not in found.stdout
    twice(instance)


def test_what_was_asked_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from mastomend.cli.show_screen import _asked
    from mastomend.commands.shown import Shown

    tried = "origin: not_an_image; actor: not an ActivityPub document (text/html; charset=utf-8)"
    row = Shown("k", 1, "", "", False, None, "w", None, "refused", "not_an_image", "", tried, "", None, None)
    assert _asked(row) == "asked: origin, actor (not an ActivityPub document (text/html; charset=utf-8))"
    row = Shown("k", 1, "", "", False, None, "w", None, "restored", "", "", "", "", None, None, source="backup")
    assert _asked(row) == "from: backup"


def test_a_private_address_is_not_asked_again_at_once(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, AVATARS, origin=network.add("good.example"), damage="missing")
    env = instance.env.read_text().replace("ALLOWED_PRIVATE_ADDRESSES=127.0.0.0/8", "")
    instance.env.write_text(env)
    assert repair(opened(instance), APPLY).reasons == {(Outcome.REFUSED, "private_address"): 1}
    dry = repair(opened(instance), RepairOptions(max_missing_percent=100))
    assert (dry.records, dry.resting) == (0, 1), "there is nothing to do next"
    with pytest.raises((ConfigurationError, DatabaseError)):
        undo(opened(instance), "latest", apply=False)
