"""What first-time users stumbled over in a third round: each of them once, as a rule."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from broken import keep_folders, record
from conftest import MakeInstance, opened
from tool import run

from mastomend.actions.journal import Journal
from mastomend.cli.output import as_given
from mastomend.commands import systemd
from mastomend.commands.check import check
from mastomend.commands.cleanup import cleanup
from mastomend.commands.doctor import doctor
from mastomend.commands.guard import guard
from mastomend.commands.guard_report import GuardOptions, marks
from mastomend.commands.history import PastRun, history, one
from mastomend.commands.lost import lost
from mastomend.commands.names import refuse_unknown
from mastomend.commands.policy import Wishes
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.commands.unit_owner import cannot_read, foreign_owner, obstacles
from mastomend.database.reader import MastodonDatabase
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError, DatabaseError, JournalError
from mastomend.inventory.keeping import Policy
from mastomend.inventory.workspace import scratch
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES
from mastomend.mastodon.selection import Selection, parse_account, parse_domain, parse_status
from mastomend.progress import Silent
from mastomend.storage.filesystem import FilesystemStore

APPLY = RepairOptions(apply=True, max_missing_percent=100)
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


class Listening(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


# --- after cleanup ----------------------------------------------------------------------------------------------------


def test_what_cleanup_has_taken_is_named_as_that(make_instance: MakeInstance, network: Fediverse) -> None:
    """A run that was taken back, and whose files are gone for good: nobody is sent to an undo that can do nothing."""
    instance = make_instance()
    record(instance, AVATARS, picture(1), origin=network.add("good.example"), name="a", damage="missing")
    keep_folders(instance)
    first = repair(opened(instance), APPLY).run
    back = undo(opened(instance), first, apply=True)
    assert back.reverted == 1
    with pytest.raises(ConfigurationError) as told:
        undo(opened(instance), "latest", apply=False)
    assert told.value.hint.endswith(f"To take that one back: mastomend undo {back.run} --apply")
    assert run(instance.env, "cleanup", "--older-than", "0d", "--apply").returncode == 0
    with contextlib.closing(Journal(instance.state)) as journal:
        newest = journal.runs()[0].id
    with pytest.raises(ConfigurationError) as told:
        undo(opened(instance), "latest", apply=False)
    assert f"cleanup {newest} has removed: they come back by a repair." in told.value.hint
    assert "undo" not in told.value.hint.removeprefix("Older runs that still stand are in history. ")
    for name, why in (
        (first, f"the cleanup {newest} has removed it"),
        (back.run, "it is an undo"),
        (newest, "it removed what was old"),
    ):
        shown = run(instance.env, "show", name, COLUMNS="200")
        assert shown.returncode == 2 and why in shown.stderr and f"history {name}" in shown.stderr
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.begin("20991126T000000Z-cut", "prune", "all", scan=None)
    assert "it was cut off before it decided anything" in run(instance.env, "show", "20991126T000000Z-cut").stderr


# --- undos that were cut off -------------------------------------------------------------------------------------------


class CutOff(Listening):
    """Ctrl-C once so many records were looked at."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def advance(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise KeyboardInterrupt


def _broken(instance: SimulatedInstance) -> int:
    return check(opened(instance)).broken


def _past(instance: SimulatedInstance, name: str) -> PastRun:
    return one(opened(instance), name)[0]


@pytest.mark.parametrize("taken_back_next", ["the run itself", "what was cut off"])
def test_an_undo_that_was_cut_off_is_no_dead_end(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch, taken_back_next: str
) -> None:
    """Whatever is taken back next, and however often: every record stays within reach of some undo, and of cleanup."""
    monkeypatch.setattr("mastomend.actions.taking_back.BATCH", 2)
    instance = make_instance()
    origin = network.add("good.example")
    for n in range(6):
        record(instance, AVATARS, picture(n), origin=origin, name=f"u{n}", damage="missing")
    keep_folders(instance)
    first = repair(opened(instance), APPLY).run
    back = undo(opened(instance), first, apply=True)
    assert back.reverted == 6 and _broken(instance) == 6
    with pytest.raises(KeyboardInterrupt):
        undo(opened(instance), back.run, apply=True, progress=CutOff(4))
    cut = next(past for past in history(opened(instance)) if past.state == "cut off")
    done = 6 - _broken(instance)
    assert 0 < done < 6 and cut.run.undoes == back.run
    assert _past(instance, first).partly == cut.run.id and _past(instance, first).standing == done
    heard = Listening()
    asked = first if taken_back_next == "the run itself" else cut.run.id
    assert undo(opened(instance), asked, apply=False, progress=heard).reverted == done
    if asked == first:
        assert any(f"{cut.run.id}, an undo about the same records, was cut off" in note for note in heard.notes)
    again = undo(opened(instance), asked, apply=True)
    assert again.reverted == done and _broken(instance) == 6
    told = run(instance.env, "history", first, COLUMNS="200").stdout
    assert f"taken back by {again.run}" in told and f"undo {first}" not in told
    forth = undo(opened(instance), again.run, apply=True)
    assert forth.reverted == done and _broken(instance) == 6 - done
    rest = undo(opened(instance), back.run, apply=True)
    assert rest.reverted == 6 - done and _broken(instance) == 0, "nothing is out of reach"
    assert _past(instance, first).taken_back is None and _past(instance, first).partly is None
    assert all(past.run.finished_at for past in history(opened(instance)))
    assert undo(opened(instance), "latest", apply=True).reverted == 6 and _broken(instance) == 6
    purged = cleanup(opened(instance), timedelta(0), apply=True)
    assert purged.files and not purged.kept.files, "nothing waits for an end that never comes"


def test_an_undo_that_was_killed_before_it_settled_anything_can_be_taken_back(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the newest of its family, whatever an older one has done before."""
    instance = make_instance()
    origin = network.add("good.example")
    for n in range(3):
        record(instance, AVATARS, picture(n), origin=origin, name=f"u{n}", damage="missing")
    keep_folders(instance)
    first = repair(opened(instance), APPLY).run
    back = undo(opened(instance), first, apply=True).run
    assert undo(opened(instance), back, apply=True).reverted == 3 and _broken(instance) == 0

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "outcome", killed)
        with pytest.raises(KeyboardInterrupt):
            undo(opened(instance), first, apply=True)
    cut = next(past for past in history(opened(instance)) if past.state == "cut off")
    assert cut.half_done == 3 and cut.taken_back is None and _broken(instance) == 3
    foreseen = run(instance.env, "undo", cut.run.id)
    assert (
        foreseen.returncode == 0
        and "What can be taken back is known once the half-done records are settled" in foreseen.stdout
    )
    assert undo(opened(instance), cut.run.id, apply=True).reverted == 3 and _broken(instance) == 0


# --- who is meant -----------------------------------------------------------------------------------------------------


def test_a_slip_of_the_finger_in_a_name(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, name="alice")
    made = record(instance, origin=network.add("art.example"), name="user3")
    for given, meant in (
        ("@alcie", "@alice"),
        ("@usr3@art.example", "@user3@art.example"),
        ("@user3@arts.example", "@user3@art.example"),
    ):
        told = run(instance.env, "check", "--account", given, COLUMNS="200")
        assert told.returncode == 2 and f"Did you mean {meant}?" in told.stderr
    with MastodonDatabase(opened(instance).configuration.database) as database:
        with pytest.raises(ConfigurationError) as nobody:
            refuse_unknown(database, Selection(accounts=(parse_account("@quentin@art.example", ()),)))
        assert "Did you mean" not in nobody.value.hint
        refuse_unknown(database, Selection(accounts=(parse_account(str(made.id), ()),)))
    with pytest.raises(ConfigurationError):
        undo(opened(instance), "latest", apply=False)
    by_number = run(instance.env, "check", "--account", str(made.id), "--json")
    assert '"expected": 1' in by_number.stdout or '"expected":1' in by_number.stdout


# --- said before it is tried ------------------------------------------------------------------------------------------


def test_a_dry_run_that_would_stop_does_not_end_with_go_on(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u")
    options = PruneOptions(Policy(budget=0))
    assert not prune(opened(instance), options).is_barred
    monkeypatch.setattr(FilesystemStore, "unwritable", lambda self, prefix: "this user may not write into /x")
    assert prune(opened(instance), options).is_barred
    monkeypatch.undo()
    instance.db.execute('CREATE ROLE "looks-only" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "looks-only"')
    try:
        text = instance.env.read_text(encoding="utf-8").replace("DB_USER=postgres", "DB_USER=looks-only")
        instance.env.write_text(text, encoding="utf-8")
        for command in ("prune", "guard"):
            told = run(instance.env, command, "--budget", "0", COLUMNS="200").stdout
            assert "Once what stops it (above) is mended: " in told and "Next: " not in told
        instance.media.delete(next(iter(instance.files)))
        words = ("repair", "--max-missing", "100%")
        told = run(instance.env, *words, COLUMNS="200").stdout
        assert "With the rights that are missing (above): " in told and "Next: " not in told
        barred = json.loads(run(instance.env, *words, "--json").stdout)
        assert '"looks-only" may not change' in barred["barred"] and "GRANT UPDATE" in barred["statements"][0]
    finally:
        instance.db.execute('DROP OWNED BY "looks-only"; DROP ROLE "looks-only"')


def test_columns_are_enough_for_what_is_said_to_be_enough(make_instance: MakeInstance, network: Fediverse) -> None:
    """Who grants columns is told all of them at once, by the dry run and by doctor; with those --apply works."""
    instance = make_instance()
    made = record(instance, AVATARS, picture(1), origin=network.add("a.example"), name="u", damage="missing")
    record(instance, MEDIA_FILES, picture(2), origin=network.add("b.example"), account_id=made.id, damage="missing")
    instance.db.execute('CREATE ROLE "by-columns" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "by-columns"')
    tables = ("accounts", "media_attachments", "custom_emojis", "preview_cards", "statuses")
    try:
        for table in tables:
            instance.db.execute(
                f'REVOKE SELECT ON {table} FROM "by-columns"; GRANT SELECT (id) ON {table} TO "by-columns"'
            )
        text = instance.env.read_text(encoding="utf-8").replace("DB_USER=postgres", "DB_USER=by-columns")
        instance.env.write_text(text, encoding="utf-8")
        words = ("repair", "--max-missing", "100%", "--json")
        for _ in range(3):
            said = run(instance.env, *words[:-1]).stderr
            if not (grants := re.findall(r"^ *(GRANT .+;)$", said, re.MULTILINE)):
                break
            instance.db.execute("\n".join(grants))
        assert not grants
        lines = json.loads(run(instance.env, "doctor", "--json").stdout)["lines"]
        rights = {one["name"]: one["health"] for one in lines if one["name"].startswith("rights of repair")}
        assert set(rights.values()) == {"good"}, rights
        done = json.loads(run(instance.env, *words, "--apply").stdout)
        assert done["outcomes"]["restored"] == 2, done
    finally:
        instance.db.execute('DROP OWNED BY "by-columns"; DROP ROLE "by-columns"')


def test_a_full_disk_is_said_before_anybody_is_asked(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u", damage="missing")
    keep_folders(instance)
    heard = Listening()
    repair(opened(instance), replace(APPLY, apply=False), heard)
    assert not any("full" in note for note in heard.notes)
    really = shutil.disk_usage(instance.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: really._replace(free=4_096))
    repair(opened(instance), replace(APPLY, apply=False), heard)
    assert any("The disk of the media is full: 0.0 MB are free." in note for note in heard.notes)


def test_what_is_closed_is_not_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is about what the system said."""
    with pytest.raises(JournalError) as told, scratch(tmp_path, 64_000_000) as connection:
        connection.execute("SELECT * FROM read_parquet(?)", [str(tmp_path / "none.parquet")])
    assert "Is its disk full?" in told.value.hint

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", closed)
    with pytest.raises(JournalError) as told, scratch(tmp_path, 64_000_000):
        pass
    assert "belongs to another user" in told.value.hint and "as root" in told.value.hint
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(JournalError) as told, scratch(tmp_path, 64_000_000):
        pass
    assert "--state DIR" in told.value.hint and "as root" not in told.value.hint


def test_that_more_rights_may_be_missing_is_said(make_instance: MakeInstance) -> None:
    """Which tables are needed hangs on the version, which has to be read first."""
    instance = make_instance()
    instance.db.execute('CREATE ROLE "nobody-yet" LOGIN')
    try:
        settings = opened(instance).configuration.database
        with pytest.raises(DatabaseError) as told:
            MastodonDatabase(replace(settings, parameters={**settings.parameters, "user": "nobody-yet"}))
        assert "the next run tells" in told.value.hint
        assert told.value.statements == ('GRANT SELECT ON public.schema_migrations TO "nobody-yet";',)
    finally:
        instance.db.execute('DROP ROLE "nobody-yet"')


@pytest.fixture
def looking(make_instance: MakeInstance) -> Iterator[SimulatedInstance]:
    """An instance whose database is asked by a role that may only read."""
    instance = make_instance()
    instance.db.execute("CREATE ROLE looker LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
    text = instance.env.read_text(encoding="utf-8").replace("DB_USER=postgres", "DB_USER=looker")
    instance.env.write_text(text, encoding="utf-8")
    (instance.folder / "public/system").mkdir(parents=True, exist_ok=True)
    yield instance
    instance.db.execute("DROP OWNED BY looker; DROP ROLE looker")


def test_only_timers_that_can_work_are_recommended(looking: SimulatedInstance) -> None:
    """By the role in the database, job by job."""
    reader = opened(looking)
    told = run(looking.env, "systemd", "--user", "root", COLUMNS="300").stdout
    assert (
        "! mastomend-deferred.timer and mastomend-guard.timer can do nothing so: looker may not change accounts" in told
    )
    assert obstacles(reader, "root").keys() == {"repair", "guard"} and not foreign_owner(reader, "root")
    looking.db.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO looker")
    assert obstacles(reader, "root") == {}
    assert "check.timer can do nothing" not in told
    for right in ("SELECT ON settings", "SELECT ON bookmarks", "UPDATE ON media_attachments"):
        looking.db.execute(f"REVOKE {right} FROM looker")
        assert "guard" in obstacles(reader, "root"), right
        looking.db.execute(f"GRANT {right} TO looker")
    looking.db.execute("REVOKE SELECT ON domain_blocks FROM looker")
    told = run(looking.env, "systemd", "--user", "root", COLUMNS="300").stdout
    assert (
        "! mastomend-deferred.timer can do nothing so: " in told and "may not read domain_blocks. Leave it off" in told
    )


@only_root
def test_a_folder_above_the_settings_that_is_closed_is_named(looking: SimulatedInstance) -> None:
    user = pwd.getpwnam("daemon")
    os.chown(looking.env, user.pw_uid, -1)
    for above in looking.folder.parents:
        if above.stat().st_uid == 0 and "pytest" in str(above):
            above.chmod(above.stat().st_mode | 0o011)
    looking.folder.chmod(0o700)
    assert cannot_read(opened(looking), "daemon") == ("daemon", looking.folder)
    looking.folder.chmod(0o711)
    assert cannot_read(opened(looking), "daemon") is None


def test_a_guard_that_could_not_act_says_so_before_it_has_to(looking: SimulatedInstance) -> None:
    record(looking, name="alice")
    calm = GuardOptions(marks({}, "", {"disk": "99.9%"}), apply=True)
    found = guard(opened(looking), calm)
    assert found.pruned is None and any(
        "Past its mark nothing could go: looker may not change" in w for w in found.warnings
    )
    assert guard(opened(looking), replace(calm, apply=False)).warnings == []
    looking.db.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO looker")
    assert guard(opened(looking), calm).warnings == []
    with pytest.raises(ConfigurationError, match="--disk is 1 % of the disk"):
        marks({}, "mastomend.toml: guard", {"disk": "1%"})


def test_names_that_may_not_be_read_are_told_with_the_right_that_is_missing(looking: SimulatedInstance) -> None:
    """Rights on columns: what a check needs is not all that names need."""
    record(looking, name="alice", damage="missing")
    keep_folders(looking)
    run(looking.env, "check")
    all_of_them = "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'accounts'"
    columns = [
        row["name"] for row in looking.db.execute(all_of_them).fetchall() if row["name"] not in ("url", "username")
    ]
    looking.db.execute(
        f"REVOKE SELECT ON accounts FROM looker; GRANT SELECT ({', '.join(columns)}) ON accounts TO looker"
    )
    shown = run(looking.env, "show", COLUMNS="300")
    assert "Some are told by number: " in shown.stderr and "may not read url, username of accounts" in shown.stderr
    assert "GRANT SELECT (url, username) ON public.accounts TO looker;" in shown.stderr
    told = run(looking.env, "doctor", COLUMNS="300").stdout
    assert "rights of usage: " in told and "may not read url, username of accounts" in told


@only_root
def test_units_use_a_state_their_user_may_enter(
    make_instance: MakeInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root takes the state of Mastodon's user; a unit of a third one cannot."""
    instance = make_instance()
    theirs = tmp_path / "theirs/example.social"
    (theirs / "scans").mkdir(parents=True)
    os.chown(theirs, 65534, -1)
    made = replace(opened(instance), state=theirs)
    monkeypatch.setattr(systemd, "homes", lambda users, folder: iter([tmp_path / "own" / folder]))
    for user, is_theirs in (("nobody", True), ("daemon", False), ("root", True)):
        text = systemd.units(made, ["/bin/true"], instance.env, None, user)["mastomend-check.service"]
        assert (f"--state {theirs} " in text) is is_theirs
    (tmp_path / "own/example.social/scans").mkdir(parents=True)
    text = systemd.units(made, ["/bin/true"], instance.env, None, "daemon")["mastomend-check.service"]
    assert f"--state {tmp_path}/own/example.social " in text


# --- what is meant ----------------------------------------------------------------------------------------------------


def test_latest_is_what_looked_at_what_is_asked_for(make_instance: MakeInstance, network: Fediverse) -> None:
    """A look for files nobody expects says nothing of records."""
    instance = make_instance()
    record(instance, name="alice", damage="missing")
    record(instance, name="bob")
    run(instance.env, "check")
    run(instance.env, "orphans")
    for words in ((), ("--local",), ("--account", "@alice")):
        assert "1 finding of scan" in run(instance.env, "show", *words).stdout
    instance.media.write("core.4711", b"x")
    run(instance.env, "usage")
    assert "1 file of scan" in run(instance.env, "show").stdout
    assert "1 finding of scan" in run(instance.env, "show", "--local").stdout


def test_undo_latest_takes_back_no_other_run_than_the_newest(
    make_instance: MakeInstance, network: Fediverse, tmp_path: Path
) -> None:
    instance = make_instance()
    record(instance, AVATARS, picture(1), origin=network.add("good.example"), name="a", damage="missing")
    keep_folders(instance)
    first = repair(opened(instance), APPLY).run
    own = record(instance, name="alice")
    key = own.key
    (tmp_path / key).parent.mkdir(parents=True)
    (tmp_path / key).write_bytes(instance.files[key])
    instance.media.delete(key)
    newest = repair(opened(instance), replace(APPLY, backups=(tmp_path,))).run
    heard = Listening()
    assert undo(opened(instance), "latest", apply=False, progress=heard).undoes == first
    assert any(f"Nothing is taken back of {newest}, the newest run" in note for note in heard.notes)
    with pytest.raises(ConfigurationError) as told:
        undo(opened(instance), "latest", apply=True)
    assert newest in told.value.message and told.value.hint.endswith(f"mastomend undo {first} --apply")
    assert check(opened(instance)).broken == 0


def test_what_cleanup_took_is_in_history(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance, name="alice", damage="missing")
    keep_folders(instance)
    scan = check(opened(instance)).scan
    assert run(instance.env, "cleanup", "--older-than", "0d", "--apply").returncode == 0
    gone = run(instance.env, "show", scan, COLUMNS="300")
    assert gone.returncode == 2 and f"The scan {scan} is not there any more: the cleanup " in gone.stderr
    assert " check" in gone.stderr.splitlines()[-1]
    cleaned = history(opened(instance))[0].run
    assert cleaned.command == "cleanup" and cleaned.id in gone.stderr
    assert "1 report removed" in run(instance.env, "history").stdout


@pytest.mark.parametrize(
    "address",
    [
        "example.social/@alice/12", "https://example.social/@alice/12/favourites", "https://example.social/@alice/12#x",
        "https://example.social/@alice/12/embed?x=1", "https://example.social/@alice/12/media/1",
        "https://example.social/web/statuses/12", "https://example.social/deck/@u@a.example/12",
        "https://example.social/ap/users/7/statuses/12/activity", "12",
    ],
)  # fmt: skip
def test_a_post_is_named_as_people_do(address: str) -> None:
    assert parse_status(address, ["example.social"]) == "12"


def test_a_server_is_named_as_people_do() -> None:
    assert {parse_domain(one) for one in ("https://art.example/", "art.example", "@art.example", "*.art.example")} == {
        "art.example"
    }


def test_a_part_of_a_kind_is_understood(make_instance: MakeInstance) -> None:
    assert "Did you mean media_attachments" in run(make_instance().env, "check", "media").stderr


# --- a truth that later undos change ----------------------------------------------------------------------------------


def test_what_cleanup_leaves_says_what_is_missed(make_instance: MakeInstance, network: Fediverse) -> None:
    """An older, broken file whose record misses the newer one."""
    instance = make_instance()
    made = record(instance, AVATARS, picture(1), origin=network.add("good.example"), name="a")
    instance.media.write(made.key, b"cut off")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    done = repair(opened(instance), APPLY)
    instance.media.delete(made.key)
    left = cleanup(opened(instance), timedelta(0), apply=True)
    assert len(left.left) == 1 and "this stays until a repair, or an undo, has brought that back" in left.left[0]
    assert "1 refused: a record misses the file it may be needed for" in run(instance.env, "history", left.run).stdout
    repair(opened(instance), APPLY)
    assert cleanup(opened(instance), timedelta(0), apply=True).left == []
    told = run(instance.env, "undo", done.run, COLUMNS="200").stdout
    assert "those records stay as the run left them" in told and "repair --apply" not in told, (
        "what was purged was broken"
    )


def test_doctor_looks_into_every_kind_s_folder(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is closed to this user is named, wherever the one file is that it reads."""
    instance = make_instance()
    record(instance, name="alice")
    really, closed = os.access, instance.folder / "public/system/custom_emojis"
    closed.mkdir()

    def reading() -> list[str]:
        lines = doctor(opened(instance)).lines
        return [
            f"{line.health.value}: {line.said}" for line in lines if (line.area, line.name) == ("storage", "reading")
        ]

    assert reading() == ["good: files can be read"]
    monkeypatch.setattr(os, "access", lambda path, mode: (mode == os.F_OK or path != closed) and really(path, mode))
    assert reading() == [f"bad: this user may not look into {closed}"]


def test_what_is_lost_is_looked_at_again(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody put the file back by hand, or the record is gone; what cannot be looked at is told as it was."""
    instance = make_instance()
    alice, bob = (record(instance, name=name, damage="missing") for name in ("alice", "bob"))
    carol = record(instance, name="carol", damage="missing")
    keep_folders(instance)
    repair(opened(instance), APPLY)
    assert {entry.id for entry in lost(opened(instance))} == {alice.id, bob.id, carol.id}
    instance.media.write(alice.key, instance.files[alice.key])
    instance.media.write(bob.key, b"too short")
    instance.db.execute("DELETE FROM accounts WHERE id = %s", [carol.id])
    assert {entry.id for entry in lost(opened(instance))} == {bob.id}
    heard = Listening()
    away = opened(instance)
    nowhere = replace(
        away.configuration.database, parameters={**away.configuration.database.parameters, "dbname": "nope"}
    )
    away = replace(away, configuration=replace(away.configuration, database=nowhere))
    assert len(lost(away, heard)) == 3 and heard.notes[0].startswith("Told as they were tried last: ")


def test_a_post_of_somebody_else_is_not_the_one_that_was_meant(make_instance: MakeInstance) -> None:
    """One digit wrong in an address: whose post it is stands there, too."""
    instance = make_instance()
    posts = {}
    for name in ("alice", "bob"):
        made = record(instance, name=name)
        posts[name] = instance.insert("statuses", account_id=made.id, uri=f"x:{name}", text="", local=True)
        record(instance, MEDIA_FILES, picture(3, form="jpeg"), account_id=made.id, status_id=posts[name])
    assert run(instance.env, "check", "--status", f"https://example.social/@alice/{posts['alice']}").returncode == 0
    for whose in ("@alice", "@nobody", "@bob@a.example"):
        told = run(instance.env, "check", "--status", f"https://example.social/{whose}/{posts['bob']}", COLUMNS="200")
        assert told.returncode == 2 and f"does not know {posts['bob']} of {whose}." in told.stderr
    both = run(instance.env, "check", "--account", "@alice", "--status", str(posts["alice"])).stdout
    assert "Mastodon knows of none there" not in both
    none = run(instance.env, "check", "avatars", "--account", "@alice", "--status", str(posts["alice"])).stderr
    assert "a post has no avatar" in none
    assert "An account is selected by --account @alice" in run(instance.env, "check", "@alice").stderr
    assert "A server is selected by --domain a.example" in run(instance.env, "check", "a.example").stderr
    assert "Name each by an --account of its own" in run(instance.env, "check", "--account", "@alice,@bob").stderr


def test_a_backup_with_only_the_smaller_copy_says_so(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    alice = record(instance, name="alice")
    made = record(instance, MEDIA_FILES, picture(3, form="jpeg"), account_id=alice.id)
    small = made.key.replace("/original/", "/small/")
    for key in (made.key, small):
        instance.media.delete(key)
    (tmp_path / small).parent.mkdir(parents=True)
    (tmp_path / small).write_bytes(instance.files[small])
    found = repair(opened(instance), replace(APPLY, backups=(tmp_path,))).run
    told = run(instance.env, "show", found, COLUMNS="200").stdout
    assert "the backup does not have it, only its small, which alone is not used" in told


def test_a_keep_free_that_cannot_be_met_is_a_mark(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else fills the disk: avatars stay, as Mastodon does not fetch them again when somebody looks."""
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(6):
        account = record(instance, origin=origin, name=f"u{n}")
        record(instance, MEDIA_FILES, picture(n, form="jpeg"), origin=origin, name=f"m{n}", account_id=account.id)
    disk = shutil.disk_usage(instance.folder)
    full = disk._replace(free=1_000_000, used=disk.total - 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    for wished in (1_020_000, 60_000_000):
        found = guard(opened(instance), GuardOptions(marks({}, "", {"disk": "99.999%"}), Wishes(keep_free=wished)))
        assert found.pruned is None or "avatars" not in {
            u for u, (_, _, goes) in found.pruned.by_unit.items() if goes.records
        }
        if wished > 2_000_000:
            assert any(
                "nothing goes, as it would not help" in w or "avatars and headers stay" in w for w in found.warnings
            )
    told = run(instance.env, "prune", "--budget", "0", COLUMNS="200").stdout
    assert "Files go for good" in told


def test_every_right_an_undo_needs_is_named_at_once(looking: SimulatedInstance, network: Fediverse) -> None:
    record(looking, origin=network.add("a.example"), name="a", damage="missing")
    keep_folders(looking)
    looking.db.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO looker")
    first = repair(opened(looking), APPLY).run
    looking.db.execute("REVOKE SELECT ON accounts FROM looker")
    for apply in (False, True):
        with pytest.raises(DatabaseError) as told:
            undo(opened(looking), first, apply=apply)
        assert told.value.statements[0] == "GRANT SELECT ON public.accounts TO looker;"


def test_rights_alone_do_not_help_who_may_not_write(
    looking: SimulatedInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(looking, name="alice", damage="missing")
    keep_folders(looking)
    monkeypatch.setattr(FilesystemStore, "unwritable", lambda self, prefix: "this user may not write into /x")
    for attempt in (
        lambda: repair(opened(looking), APPLY),
        lambda: prune(opened(looking), PruneOptions(Policy(budget=0), apply=True)),
    ):
        with pytest.raises(DatabaseError) as told:
            attempt()
        assert (
            "This user may not write into /x." in told.value.message and "Rights alone do not help" in told.value.hint
        )


def test_a_superuser_is_asked_for_what_only_one_may_do(looking: SimulatedInstance) -> None:
    looking.db.execute("ALTER TABLE media_attachments ENABLE ROW LEVEL SECURITY")
    told = run(looking.env, "check", COLUMNS="200").stderr
    assert "As a superuser, in psql:" in told and "ALTER ROLE looker BYPASSRLS;" in told


def test_a_role_that_is_called_like_the_command_is_no_command() -> None:
    assert as_given("mastomend may not read x: mastomend doctor", "sudo m") == "mastomend may not read x: sudo mdoctor"


def test_a_dry_run_of_undo_looks_at_files_though_a_later_change_shares_the_row(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    """An avatar and a header of one account: what becomes of the one's files says nothing of the other's."""
    instance = make_instance()
    origin = network.add("good.example")
    account = record(instance, AVATARS, picture(1), origin=origin, name="a")
    origin.files["/h"] = header = picture(2)
    made = instance.produced(HEADERS, header)
    columns = instance.attachment(HEADERS, made, "11223344556677aa.png", 1) | {"header_remote_url": origin.url("/h")}
    named = ", ".join(f"{column} = %s" for column in columns)
    instance.db.execute(f"UPDATE accounts SET {named} WHERE id = %s", [*columns.values(), account.id])
    instance.media.delete(account.key)
    instance.media.write("cache/accounts/avatars/kept", b"x")
    instance.media.write("cache/accounts/headers/kept", b"x")
    done = repair(opened(instance), APPLY)
    assert check(opened(instance)).broken == 0
    instance.media.delete(account.key)
    foreseen = undo(opened(instance), done.run, apply=False)
    taken = undo(opened(instance), done.run, apply=True)
    assert (foreseen.reverted, foreseen.conflicts) == (taken.reverted, taken.conflicts) == (1, 1)


def test_ctrl_c_waits_for_no_thread() -> None:
    """Some end only when somebody far away answers, and a driver's own only with a second Ctrl-C."""
    script = """
import atexit, sys, threading
from mastomend.cli import app
def at_work(*_, **__):
    threading.Thread(target=threading.Event().wait).start()
    raise KeyboardInterrupt
atexit.register(lambda: print("tidied up"))
app.app = at_work
sys.argv = ["mastomend", "check"]
app.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (130, "tidied up\n") and "Interrupted." in done.stderr
