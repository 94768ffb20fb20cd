"""What first-time users stumbled over in a second round: each of them once, as a rule."""

from __future__ import annotations

import errno
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from broken import keep_folders, record
from conftest import MakeInstance, opened
from tool import run

from mastomend.actions.journal import Journal
from mastomend.cli import output
from mastomend.cli.guard import exit_code
from mastomend.cli.textfile import usable
from mastomend.cli.words import in_order
from mastomend.commands import state_place
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.guard import guard
from mastomend.commands.guard_report import GuardOptions, marks
from mastomend.commands.history import history
from mastomend.commands.parts import named_storage
from mastomend.commands.policy import Wishes
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import OUTCOMES, RepairOptions
from mastomend.commands.systemd import units
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError, DatabaseError, StorageError
from mastomend.inventory import strays
from mastomend.inventory.keeping import Policy
from mastomend.inventory.workspace import unfinished, workspace
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES
from mastomend.mastodon.selection import parse_account, parse_status
from mastomend.progress import Silent
from mastomend.state_files import hand_over, hand_over_all, private_folder, replace_text, to_be_handed_over
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.walk import Trouble

APPLY = RepairOptions(apply=True, max_missing_percent=100)
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


# --- one state directory for root and Mastodon's user -----------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "var-lib-mastomend"
    monkeypatch.setattr(state_place, "SHARED", folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of Mastodon's user, whose number is 991."""
    folder = tmp_path / "home"
    root = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(
        pwd, "getpwuid", lambda user: pwd.struct_passwd((*root[:2], user, *root[3:5], str(folder), root[6]))
    )
    return folder


@only_root
def test_root_takes_the_state_of_mastodon_s_user(shared: Path, home: Path) -> None:
    own = home / ".local/state/mastomend/example.social"
    assert state_place.default_state("example.social", {}, [991]) == shared / "example.social", "nobody has used any"
    Journal(own).close()
    assert state_place.default_state("example.social", {}, [991]) == own
    Journal(shared / "example.social").close()
    assert state_place.default_state("example.social", {}, [991]) == shared / "example.social", "which was used as well"


@only_root
def test_what_root_writes_there_belongs_to_that_user(tmp_path: Path, shared: Path) -> None:
    state = shared / "example.social"
    (state / "runs").mkdir(parents=True)
    (state / "runs/20261126T000000Z-one").mkdir()
    (state / "runs/20261126T000000Z-one/outcomes.parquet").write_bytes(b"x")
    stranger = tmp_path / "passwd"
    stranger.write_bytes(b"not ours")
    (state / "lock").symlink_to(stranger)
    os.link(stranger, state / "reserve")
    (state / "journal.sqlite3").write_bytes(b"")
    os.chown(state / "journal.sqlite3", 7, 7)
    hand_over(state, 991, shared)
    owners = {str(one.relative_to(shared)): one.lstat().st_uid for one in shared.rglob("*")}
    assert owners == {
        "example.social": 991, "example.social/runs": 991, "example.social/runs/20261126T000000Z-one": 991,
        "example.social/runs/20261126T000000Z-one/outcomes.parquet": 991, "example.social/journal.sqlite3": 7,
        "example.social/lock": 0, "example.social/reserve": 0,
    }  # fmt: skip
    assert stranger.stat().st_uid == 0, "nothing outside of it is given away"
    assert shared.stat().st_mode & 0o777 == 0o711, "that user may pass through"


@only_root
def test_what_is_not_mastomend_s_is_never_given_away(tmp_path: Path, shared: Path) -> None:
    """`--state /root` is a mistake that must not cost a server."""
    state = tmp_path / "root"
    for name in (
        "authorized_keys",
        "runs/backup.sh",
        "scans/20261126T000000Z-one/findings.parquet",
        ".ssh/id",
        "journal.sqlite3",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(b"")
    hand_over(state, 991, shared)
    given = sorted(str(one.relative_to(state)) for one in (state, *state.rglob("*")) if one.stat().st_uid == 991)
    assert given == [
        "journal.sqlite3", "scans", "scans/20261126T000000Z-one", "scans/20261126T000000Z-one/findings.parquet",
    ]  # fmt: skip


@only_root
def test_a_command_by_root_leaves_it_to_that_user(make_instance: MakeInstance, network: Fediverse) -> None:
    """Whole: checked and repaired by root, on an instance whose files are another's."""
    instance = make_instance()
    record(instance, origin=network.add("a.example"), damage="missing")
    for one in (instance.folder, *instance.folder.rglob("*")):
        os.chown(one, 65534, -1)
    assert run(instance.env, "repair", "--apply", "--max-missing", "100%").returncode == 0
    state = instance.env.parent / "state"
    assert {one.stat().st_uid for one in (state, *state.rglob("*"))} == {65534}
    shutil.rmtree(state)
    state.mkdir(mode=0o755)
    assert run(instance.env, "systemd", "--user", "root").returncode == 0
    assert state.stat().st_uid == 0, "what only shows something changes nothing"


@only_root
def test_what_root_makes_belongs_to_that_user_at_once(make_instance: MakeInstance, tmp_path: Path) -> None:
    """Others look into it while root's command runs, or after it was killed: no hour of root's leaves them something closed."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, -1)
    to_be_handed_over(state, 0, tmp_path)
    try:
        Journal(state).close()
        private_folder(state / "runs/20261126T000000Z-one")
        OUTCOMES.write(state / "runs/20261126T000000Z-one/outcomes.parquet", [], 64_000_000)
        with workspace(state / "scans/20261126T000000Z-one", 64_000_000, {"kinds": ["all"]}) as work:
            strays.create(work)
            strays.save(work, state / "scans/20261126T000000Z-one", "here", ["all"])
            replace_text(state / "usage.json", "{}", 0o600)
            found = {str(one.relative_to(state)): one.stat().st_uid for one in state.rglob("*")}
            own = [name for name, user in found.items() if user != 65534]
            assert [
                name for name in own if not name.endswith(".wal")
            ] == []  # one that cannot be read: the scan begins anew
        made = [one for one in state.rglob("*") if one.name != "reserve"]
        assert {one.name: one.stat().st_uid for one in made} == dict.fromkeys((one.name for one in made), 65534)
    finally:
        hand_over_all()


def test_a_printed_command_is_for_the_shell_it_is_pasted_into(monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/mastomend"])
    monkeypatch.setattr("mastomend.cli.output.shutil.which", lambda name: f"/usr/local/bin/{name}")

    def printed(by: int | None, command: str) -> str:
        for name, value in (("SUDO_UID", None if by is None else str(by)), ("SUDO_COMMAND", command)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        return output.command_line(None, None, "show")

    name = pwd.getpwuid(me).pw_name
    prefix = "sudo" if me == 0 else f"sudo -u {name}"
    assert printed(None, "") == "mastomend show"
    assert printed(me + 1, "/usr/local/bin/mastomend check") == f"{prefix} mastomend show"
    assert printed(me, "/usr/local/bin/mastomend check") == "mastomend show"
    assert printed(me + 1, "/bin/bash") == "mastomend show", "a shell of that user, where no sudo is needed"


# --- what was cut off -------------------------------------------------------------------------------------------------


class Interrupting(Silent):
    def start(self, task: str, total: int) -> None:
        if "second look" in task:
            raise KeyboardInterrupt


def test_an_alarm_is_about_now(make_instance: MakeInstance, network: Fediverse) -> None:
    """A check that was cut off an hour ago blinds neither the nightly one nor a newer whole one."""
    instance = make_instance()
    origin = network.add("a.example")
    made = [record(instance, origin=origin, name=f"u{n}", damage="missing") for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        check(opened(instance), progress=Interrupting())
    later = record(instance, origin=origin, name="later", damage="missing")
    told = json.loads(run(instance.env, "check", "--new", "--json").stdout)
    assert (told["resumed"], told["new"]) == (False, len([*made, later]))
    assert not list(unfinished(instance.state / "scans", datetime.now(UTC))), "what is newer is whole"


def test_a_check_that_went_on_says_so_where_its_numbers_are(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), damage="missing")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            check(opened(instance), CheckOptions(resume=False), Interrupting())
    assert len(list(unfinished(instance.state / "scans", datetime.now(UTC)))) == 1, "older ones are of no use"
    assert "was cut off: what broke after" in run(instance.env, "check", "-q").stdout


_AT_WORK = """
import os, signal, sys, threading, time, duckdb
from mastomend import interrupts
from mastomend.cli import app
signal.signal(signal.SIGINT, BORN)
interrupts.listen()
def at_work(*_, **__):
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    WORK
app.app = at_work
sys.exit(app.run(["check", "--apply"]))
"""
#: With two threads, one of them would go on to the end of what it does, which takes a minute.
_QUERY = """connection = interrupts.stoppable(duckdb.connect(":memory:", config={"threads": 2}))
    connection.execute("SELECT sum(sin(a.range)) FROM range(100000) a, range(1000000) b").fetchall()"""


def _interrupted(work: str, begun: str = "", born: str = "signal.SIG_DFL") -> subprocess.CompletedProcess[str]:
    """Ctrl-C after half a second. Tests in the background are born ignoring it."""
    words = [sys.executable, "-c", f"{begun}{_AT_WORK.replace('WORK', work).replace('BORN', born)}"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)


def test_ctrl_c_within_a_query_is_ctrl_c() -> None:
    """DuckDB tells of it as an error of its own, and would end its other threads' work first."""
    for begun, told in (("", False), ("from mastomend.actions import run; run.BEGUN.append('20261126T1-ab')", True)):
        for _ in range(2):
            done = _interrupted(_QUERY, begun)
            assert done.returncode == 130, done.stderr
            assert "Interrupted." in done.stderr, "and only a run that was begun has a history"
            assert ("What it did so far:\n  mastomend history 20261126T1-ab\n" in done.stderr) is told


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("exec('try:\\n time.sleep(2)\\nexcept BaseException: pass\\ntime.sleep(9)')", "somebody else took it"),
        ("import slow", "a module is being read: to its end, and not to the end of the command"),
    ],
)
def test_ctrl_c_is_not_lost(work: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "import time\nfor _ in range(100): time.sleep(0.01)\nopen('read', 'w').close()\n"
    (tmp_path / "slow.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    done = _interrupted(f"{work}\n    time.sleep(9)")
    assert done.returncode == 130 and "Interrupted." in done.stderr, why
    assert (tmp_path / "read").exists() is ("slow" in work)


def test_what_was_begun_in_the_background_does_not_hear_ctrl_c() -> None:
    """A shell's `&`: it is meant for what stands in front."""
    done = _interrupted("time.sleep(1.2)", born="signal.SIG_IGN")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "work",
    [
        'exec(\'def f():\\n try: yield 1\\n finally:\\n  time.sleep(2.5); print("ended", file=sys.stderr)\\n'
        "for _ in f(): time.sleep(5)')",
        "exec('try: time.sleep(5)\\nexcept KeyboardInterrupt: interrupts.taken()\\ntime.sleep(1.5)\\n"
        'print("ended", file=sys.stderr)\\nraise KeyboardInterrupt\')',
    ],
)
def test_what_was_taken_is_not_told_again(work: str) -> None:
    """A generator ends when nobody holds it any more; who answers Ctrl-C on purpose says so."""
    done = _interrupted(work)
    assert done.returncode == 130 and "ended" in done.stderr


def test_what_ends_what_it_began_is_not_interrupted_again() -> None:
    work = "exec('try:\\n time.sleep(5)\\nfinally:\\n time.sleep(2.5)\\n print(\"ended\", file=sys.stderr)')"
    done = _interrupted(work)
    assert done.returncode == 130 and "ended" in done.stderr


def test_what_a_repair_did_until_it_was_cut_off_can_be_shown(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    made = [record(instance, origin=origin, name=f"u{n}", damage="missing") for n in range(4)]
    del origin.files["/u3"]

    class Ending(Silent):
        task = ""

        def start(self, task: str, total: int) -> None:
            self.task = task

        def advance(self, n: int) -> None:
            if self.task == "repair":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(opened(instance), APPLY, Ending())
    (cut,) = history(opened(instance))
    assert cut.state == "cut off"
    shown = json.loads(run(instance.env, "show", cut.run.id, "--json").stdout)
    assert 1 <= len(shown["rows"]) <= len(made) and shown["rows"][0]["outcome"] in ("restored", "gone")
    assert undo(opened(instance), cut.run.id, apply=True).conflicts == 0
    states = {one.run.id: one.state for one in history(opened(instance))}
    assert states[cut.run.id] == "cut off", "taken back, it did not end by itself all the same"


# --- show -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bereft(make_instance: MakeInstance, network: Fediverse) -> Iterator[SimulatedInstance]:
    """Two people of this server have lost something else each; somebody elsewhere is gone."""
    instance = make_instance()
    record(instance, name="carol", damage="missing")
    alice = record(instance, name="alice")
    post = instance.insert(
        "statuses", account_id=alice.id, uri="https://example.social/users/alice/statuses/1", text="", local=True
    )
    record(instance, MEDIA_FILES, picture(3, form="jpeg"), account_id=alice.id, status_id=post, damage="missing")
    gone = record(instance, origin=network.add("a.example"), name="bob", damage="missing")
    del network.origins["a.example"].files[f"/{gone.name}"]
    keep_folders(instance)
    yield instance


def test_each_of_one_s_own_users_has_a_text_of_their_own(bereft: SimulatedInstance) -> None:
    run(bereft.env, "repair", "--apply", "--max-missing", "100%")
    for words in (("show", "--local"), ("show", "latest", "--limit", "1")):
        told = run(bereft.env, *words, COLUMNS="300").stdout
        assert "@carol: A fault on our side has lost the picture of your profile. If" in told
        assert (
            "@alice: A fault on our side has lost what you had attached to posts of yours (https://example.social/"
            in told
        )
        assert f"mastomend --env {bereft.env} --state {bereft.env.parent / 'state'} repair --account @" in told
        assert "--account @carol --account @alice --from DIR" in told or "--account @alice --account @carol" in told
    only = run(bereft.env, "show", "--account", "@carol", COLUMNS="300").stdout
    assert "repair --account @carol --from DIR" in only and "@alice" not in only


def test_what_a_backup_would_bring_is_not_told_as_lost(bereft: SimulatedInstance, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    for key in [key for key in bereft.files if key.startswith("accounts/avatars/")]:
        (backup / key).parent.mkdir(parents=True, exist_ok=True)
        (backup / key).write_bytes(bereft.files[key])
    run(bereft.env, "repair", "--local", "--from", str(backup))
    told = run(bereft.env, "show", COLUMNS="300").stdout
    assert "@alice: A fault" in told and "@carol: A fault" not in told and "Look for another backup" in told


def test_what_other_runs_know_is_not_forgotten(bereft: SimulatedInstance) -> None:
    for _ in range(2):
        run(bereft.env, "repair", "--apply", "--max-missing", "100%")
    told = run(bereft.env, "show", "latest", "--outcome", "gone", COLUMNS="300").stdout
    assert "0 outcomes of run" in told and "1 more became so in other runs. " in told
    assert " check\n" in told and told.splitlines()[-1].endswith(" show --outcome gone")
    run(bereft.env, "check", "--max-missing", "100%")
    same = json.loads(run(bereft.env, "show", "--outcome", "gone", "--json").stdout)
    assert [(row["who"], row["outcome"]) for row in same["rows"]] == [("@bob@a.example", "missing")]
    assert run(bereft.env, "show", "latest", "--outcome", "lost", "--json").stdout.count('"who"') == 2
    mixed = run(bereft.env, "show", same["of"], "--outcome", "gone", "--outcome", "missing")
    assert mixed.returncode == 2 and "cannot be mixed" in mixed.stderr
    assert "reasons are those of a run" in run(bereft.env, "show", same["of"], "--reason", "gone").stderr
    run(bereft.env, "check", "--account", "@carol", "--max-missing", "100%")
    elsewhere = run(bereft.env, "show", "--account", "@bob@a.example", COLUMNS="300").stdout
    assert (
        "Nothing of that was broken, if it was looked at. To look now:" in elsewhere
        and "That check looked only at @carol." in elsewhere
        and "check --account @bob@a.example" in elsewhere
    )


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "@user3@art.example", "acct:user3@art.example", "art.example/@user3", "https://art.example/@user3/media",
        "https://art.example/@user3/with_replies", "https://art.example/users/user3/", "https://art.example/@user3?x=1",
    ],
)  # fmt: skip
def test_an_account_is_named_as_people_do(text: str) -> None:
    found = parse_account(text, ["example.social"])
    assert (found.username, found.domain) == ("user3", "art.example")


def test_one_thing_s_address_is_not_another_s() -> None:
    for post in ("https://art.example/@user3/1", "https://art.example/users/u/statuses/12"):
        with pytest.raises(ConfigurationError) as told:
            parse_account(post, ["example.social"])
        assert told.value.hint.endswith(f"--status {post}") and parse_status(post, ["example.social"]) == post
    with pytest.raises(ConfigurationError, match="is an account's address"):
        parse_status("https://art.example/@user3", ["example.social"])


def test_a_picture_mastodon_does_not_know_is_told_so(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u", damage="missing")
    done = run(instance.env, "check", "headers", "--account", "@u@a.example")
    assert done.returncode == 2 and f"among {HEADERS.name.split('/')[1]}" in done.stderr
    assert "Mastodon itself knows of no such picture" in done.stderr


# --- timers -----------------------------------------------------------------------------------------------------------


def test_short_options_in_one_word() -> None:
    assert in_order(["check", "-qq"]) == ["-q", "-q", "check"]
    assert in_order(["repair", "-nv"]) == ["-v", "repair", "-n"]
    assert in_order(["show", "--", "-qq"]) == ["show", "--", "-qq"]


def test_the_first_alarm_names_somebody(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(7):
        record(instance, origin=origin, name=f"u{n}", damage="missing")
    told = run(instance.env, "check", "--new", "-q", "--max-missing", "100%").stdout.splitlines()
    assert told[0] == "7 records are newly broken:" and "@u0@a.example" in told[1] and "… and 2 more" in told[6]


def test_an_hourly_run_that_meets_another_is_content(make_instance: MakeInstance, network: Fediverse) -> None:
    from mastomend.commands.parts import ground

    instance = make_instance()
    record(instance, origin=network.add("a.example"), damage="missing")
    other = opened(instance)
    with ground(other, "another", lambda text: None) as here, here.locks.whole():
        quiet = run(instance.env, "repair", "--deferred", "--apply", "-q")
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
        assert "waits for the next time" in run(instance.env, "repair", "--deferred", "--apply").stderr
        told = json.loads(run(instance.env, "repair", "--deferred", "--apply", "--json").stdout)
        assert told["exit_code"] == 0 and "under way" in told["busy"]
        assert run(instance.env, "repair", "--apply").returncode == 4, "a person is told"


def test_where_numbers_cannot_be_written_is_said_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="is no directory"):
        usable(tmp_path / "none", ())
    monkeypatch.setattr("mastomend.cli.textfile.os.access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="may not write into") as told:
        usable(tmp_path, ())
    assert "setfacl" in told.value.hint


@only_root
def let_in(path: Path) -> None:
    """Everybody may pass the folders above it that are this test run's."""
    for above in path.parents:
        if above.stat().st_uid == os.geteuid() and "pytest" in str(above):
            above.chmod(above.stat().st_mode | 0o011)


def test_units_of_a_user_that_cannot_read_the_settings(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.env.chmod(0o600)
    let_in(instance.env)
    told = run(instance.env, "systemd", "--user", "nobody", COLUMNS="300").stdout
    assert f"nobody, who these run as, may not read {instance.env}" in told and "chmod g+r" in told
    os.chown(instance.env, pwd.getpwnam("nobody").pw_uid, -1)
    mine = run(instance.env, "systemd", COLUMNS="300").stdout
    assert "User=nobody" in mine and "may not read" not in mine, "they run as the owner of the file that was named"


def test_units_know_what_was_only_checked_by_hand(shared: Path, home: Path, make_instance: MakeInstance) -> None:
    """Commands by hand go on where they began, whatever a service has made since."""
    kept = home / ".local/state/mastomend/example.social"
    (kept / "scans").mkdir(parents=True)
    (shared / "example.social").mkdir(parents=True)
    assert state_place.default_state("example.social", {}, [991]) == kept
    here = opened(make_instance())
    there = replace(here, state=shared / "example.social")
    text = units(there, ["/bin/mastomend"], here.folder / ".env.production", None, None)["mastomend-check.service"]
    assert f"--state {kept} " in text


def test_a_backup_that_may_not_be_entered_is_no_defect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    for name in ("is_file", "is_dir"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, closed)
            with pytest.raises(ConfigurationError, match="may not be entered by this user") as told:
                named_storage(tmp_path)
            assert "as root" in told.value.hint


@pytest.mark.parametrize("share", [0.85, "0.85%"])
def test_a_mark_every_disk_passes_is_a_slip(share: object) -> None:
    with pytest.raises(ConfigurationError, match="which every disk passes"):
        marks({"disk": share}, "mastomend.toml: guard")


def test_no_more_can_be_kept_free_than_there_is(make_instance: MakeInstance) -> None:
    done = run(make_instance().env, "prune", "--keep-free", "900TB")
    assert done.returncode == 2 and "of it cannot be kept free" in done.stderr


def test_an_undo_of_what_was_cut_off_says_so(make_instance: MakeInstance, network: Fediverse) -> None:
    """What it printed of the first plans stays true when some of them are done already."""
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(8):
        record(instance, origin=origin, name=f"u{n}", damage="missing")
    keep_folders(instance)
    done = repair(opened(instance), APPLY).run
    few = run(instance.env, "undo", done)
    assert "… and 3 more (--limit 0)." in few.stdout
    assert "taken back" not in run(instance.env, "show", done).stdout
    whole = run(instance.env, "undo", done, "--limit", "0").stdout
    assert whole.count(": taken back") == 8 and "more (--limit" not in whole
    back = undo(opened(instance), done, apply=True)
    assert f"It was taken back by {back.run}." in run(instance.env, "show", done).stdout


def test_nothing_is_pruned_that_could_not_be_deleted(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are emptied while their files stay are orphans."""
    instance = make_instance()
    origin = network.add("a.example")
    account = record(instance, origin=origin, name="u").id
    record(instance, MEDIA_FILES, picture(1, form="jpeg"), origin=origin, name="m", account_id=account)
    closed = "This user may not write into /x, which belongs to mastodon"
    monkeypatch.setattr(FilesystemStore, "unwritable", lambda self, prefix: closed.replace("This", "this"))
    notes: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    options = PruneOptions(Policy(budget=0))
    assert prune(opened(instance), options, Listening()).goes.records and f"With --apply this stops: {closed}." in notes
    with pytest.raises(StorageError, match="nothing could be deleted there"):
        prune(opened(instance), replace(options, apply=True))
    assert len(instance.media.keys()) == len(instance.files)


def test_the_attachments_versions_are_among_the_rights(make_instance: MakeInstance) -> None:
    """A role with rights on single columns is told all of them before anything is looked at."""
    instance = make_instance()
    instance.db.execute('CREATE ROLE "col-reader" LOGIN')
    try:
        instance.db.execute('GRANT SELECT ON ALL TABLES IN SCHEMA public TO "col-reader"')
        instance.db.execute(
            'REVOKE SELECT ON accounts FROM "col-reader"; GRANT SELECT (id) ON accounts TO "col-reader"'
        )
        text = instance.env.read_text(encoding="utf-8").replace("DB_USER=postgres", 'DB_USER="col-reader"')
        instance.env.write_text(text, encoding="utf-8")
        told = json.loads(run(instance.env, "check", "--json").stdout)
        assert told["exit_code"] == 3
        with pytest.raises(DatabaseError) as barred:
            check(opened(instance))
        assert (
            "avatar_storage_schema_version" in barred.value.statements[0]
            and '"col-reader"' in barred.value.statements[0]
        )
        for statement in barred.value.statements:
            instance.db.execute(statement)
        assert check(opened(instance)).is_whole, "what was printed is enough"
    finally:
        instance.db.execute('DROP OWNED BY "col-reader"; DROP ROLE "col-reader"')


# --- guard ------------------------------------------------------------------------------------------------------------


def test_guard_says_why_something_goes(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(12):
        account = record(instance, origin=origin, name=f"u{n}").id
        record(instance, MEDIA_FILES, picture(n, form="jpeg"), origin=origin, name=f"m{n}", account_id=account)
    asked = Wishes(policy=Policy(budget=1_000))
    over = guard(opened(instance), GuardOptions(wishes=asked))
    assert not over.passed and over.pruned is not None and over.pruned.goes.records and exit_code(over) == 1
    told = run(instance.env, "guard", "--budget", "1kB", COLUMNS="200")
    assert told.returncode == 1 and " are cached; the budget is 1.0 kB." in told.stdout


# --- rights -----------------------------------------------------------------------------------------------------------


def test_a_quarantine_that_is_closed_to_this_user_keeps_nothing_from_being_counted(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is Mastomend's own, and Mastodon's user keeps it to itself: whoever only looks may not enter it."""
    instance = make_instance()
    record(instance, AVATARS)
    real = FilesystemStore.walk

    def walk(self: FilesystemStore, prefix: str, tell: object) -> object:
        assert callable(tell)
        tell(Trouble(".mastomend", "cannot be read: Permission denied"))
        return real(self, prefix, tell)

    def obstacle(self: FilesystemStore, key: str) -> str:
        return (
            f"{self.root}/.mastomend may not be entered by this user (run it otherwise)" if ".mastomend" in key else ""
        )

    monkeypatch.setattr(FilesystemStore, "walk", walk)
    monkeypatch.setattr(FilesystemStore, "obstacle", obstacle)
    notes: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    from mastomend.commands.usage import count_usage
    from mastomend.commands.usage_report import UsageOptions

    found = count_usage(opened(instance), UsageOptions(), Listening())
    assert found.total.files == 1
    assert any(
        text.endswith("may not be entered by this user: what is in the quarantine is not counted.") for text in notes
    )


def test_settings_that_cannot_be_read_are_said_with_what_to_do(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    monkeypatch.setattr("os.access", lambda *_, **__: False)

    def closed(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(ConfigurationError) as told:
        opened(instance)
    assert "cannot be read: Permission denied" in told.value.message and "belongs to" in told.value.hint
