"""The command line as people and programs meet it: exit codes, one JSON object, clear errors, secrets kept."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import SECRET, run

from mastomend.database.locks import DatabaseLocks
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, BACKUPS, IMPORTS, KINDS


def one_avatar(instance: SimulatedInstance, network: Fediverse | None = None) -> str:
    if network is None:
        return record(instance, AVATARS, picture(1), domain="good.example", name="a").key
    return record(instance, AVATARS, picture(1), origin=network.add("good.example"), name="a").key


def test_check_json_is_the_promised_object(make_instance: MakeInstance) -> None:
    instance = make_instance("4.3")
    key = one_avatar(instance)
    done = run(instance.env, "check", "--json")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    found = json.loads(done.stdout)
    assert [k["kind"] for k in found["kinds"]] == [k.name for k in KINDS]
    assert found["instance"] == {
        "domain": "example.social",
        "mastodon": "4.3",
        "schema": "20241007071624",
        "storage": f"file://{instance.folder}/public/system",
    }
    sound = {"expected": 1, "present": 1, "missing": 0, "empty": 0, "truncated": 0, "corrupt": 0, "unservable": 0}
    assert found["totals"] == {"records": 1, "records_broken": 0, "records_broken_local": 0, "files": sound}
    instance.media.delete(key)
    done = run(instance.env, "check", "--json", "--max-missing", "100%")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["kinds"][0]["files"] == sound | {"present": 0, "missing": 1}
    assert Path(found["findings"]).is_file()


def test_kinds_of_the_version(make_instance: MakeInstance) -> None:
    found = json.loads(run(make_instance("4.4").env, "check", "--json").stdout)
    assert IMPORTS.name not in [k["kind"] for k in found["kinds"]]
    assert BACKUPS.name in [k["kind"] for k in found["kinds"]]


def test_the_whole_way_by_hand(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    key = one_avatar(instance, network)
    one = instance.add_image(AVATARS, picture(2), username="b", uri="x:b")[1][0]
    instance.media.delete(key)
    done = run(instance.env, "check")
    assert done.returncode == 1
    assert "1 record is broken" in done.stdout and "good.example" in done.stdout
    assert f"mastomend --env {instance.env} --state {instance.state} repair" in done.stdout
    done = run(instance.env, "repair", "--json")
    assert (done.returncode, json.loads(done.stdout)["plan"]) == (1, {"origin": 1})
    done = run(instance.env, "repair", "--apply", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["outcomes"]["restored"], found["sources"], found["records"]) == (1, {"origin": 1}, 1)
    assert run(instance.env, "check").returncode == 0
    runs = json.loads(run(instance.env, "history", "--json").stdout)["runs"]
    assert [r["run"] for r in runs] == [found["run"]]
    done = run(instance.env, "undo", found["run"], "--apply", "--json")
    undone = json.loads(done.stdout)
    assert (done.returncode, undone["reverted"], undone["conflicts"]) == (0, 1, 0)
    assert run(instance.env, "check").returncode == 1
    assert run(instance.env, "undo", found["run"], "--apply").returncode == 2, "taken back already"
    assert "cut off" not in run(instance.env, "history").stdout
    assert instance.media.read(one) is not None, "the local file was never touched"


@pytest.mark.parametrize(
    ("change", "code", "words", "hint"),
    [
        ({"DB_HOST": "127.0.0.1", "DB_PORT": "1"}, 3, "cannot be reached", "DB_HOST"),
        ({"DB_NAME": "nope"}, 3, "no such database", "DB_NAME"),
        ({"DB_USER": "nobody_here"}, 3, "no such user", "DB_USER"),
        ({"DB_NAME": "postgres"}, 2, "not a Mastodon database", "DB_NAME"),
        ({"LOCAL_DOMAIN": ""}, 2, "LOCAL_DOMAIN is not set", "--env"),
        ({"PAPERCLIP_ROOT_PATH": "/does/not/exist"}, 3, "does not exist", "mounted"),
        ({"DB_PORT": "x"}, 2, "DB_PORT must be a whole number", ""),
    ],
)
def test_clear_errors(make_instance: MakeInstance, change: dict[str, str], code: int, words: str, hint: str) -> None:
    instance = make_instance()
    one_avatar(instance)
    for command in (["check"], ["repair", "--apply"]):
        done = run(instance.env, *command, DB_PASS=SECRET, **change)
        assert done.returncode == code, done.stderr
        assert words in done.stderr and hint in done.stderr and not done.stdout
    document = json.loads(run(instance.env, "check", "--json", **change).stdout)
    assert document["exit_code"] == code and words in document["error"]


def test_wrong_password(make_instance: MakeInstance, socket_dir: str) -> None:
    """A role that may log in with a password only, on the real server."""
    instance = make_instance()
    name = instance.db.info.dbname
    instance.db.execute("DROP ROLE IF EXISTS locked")
    instance.db.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    row = instance.db.execute("SHOW hba_file").fetchone()
    assert row is not None
    hba = Path(str(row["hba_file"]))
    before = hba.read_text()
    hba.write_text(f"local {name} locked scram-sha-256\n{before}")
    try:
        instance.db.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while (done := run(instance.env, "check", DB_USER="locked", DB_PASS=SECRET)).returncode != 3:
            assert time.monotonic() < deadline
        deadline = time.monotonic() + 10
        while "refuses the login" not in done.stderr:
            assert time.monotonic() < deadline, done.stderr
            done = run(instance.env, "check", DB_USER="locked", DB_PASS=SECRET)
        assert "DB_PASS" in done.stderr
    finally:
        hba.write_text(before)
        instance.db.execute("SELECT pg_reload_conf()")


def test_missing_bucket(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5", "s3")
    done = run(instance.env, "check", S3_BUCKET="not-there-at-all")
    assert done.returncode == 2 and "bucket does not exist" in done.stderr and "S3_BUCKET" in done.stderr
    done = run(instance.env, "check", AWS_SECRET_ACCESS_KEY=SECRET)
    assert done.returncode == 3 and "refuses the credentials" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"LOCAL_DOMAIN=x\nA=$(id > /tmp/pwned)\n", "contains $("),
        (b"LOCAL_DOMAIN=\xff\xfe\n", "not UTF-8"),
        (b"export X\n", "no value"),
    ],
)
def test_a_corrupt_env(tmp_path: Path, text: bytes, words: str) -> None:
    env = tmp_path / ".env.production"
    env.write_bytes(text)
    done = run(env, "check")
    assert done.returncode == 2 and words in done.stderr and str(tmp_path) in done.stderr
    assert not Path("/tmp/pwned").exists()


def test_wrong_usage(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    for arguments in (["check", "nonsense"], ["check", "--nope"], ["undo", "nope", "--apply"], ["check", "--deep=x"],
                      ["check", "imports/data"], ["repair", "--scan", "../x"], ["nocommand"]):  # fmt: skip
        assert run(instance.env, *arguments).returncode == 2, arguments
    assert run(tmp_path / "missing.env", "check").returncode == 2
    for settings, words in (
        ("[politeness]\nrait = 1", "politeness.rait"), ("[politeness]\nper_host = 0", "at least 1"),
        ("[politeness]\nrate = nan", "politeness.rate"), ("[deferred]\ntries = 1.5", "whole number"),
    ):  # fmt: skip
        (instance.folder / "mastomend.toml").write_text(settings + "\n")
        done = run(instance.env, "check")
        assert done.returncode == 2 and words in done.stderr, settings


def test_a_dry_run_says_what_its_engine_would_do(
    make_instance: MakeInstance, network: Fediverse, redis_port: int
) -> None:
    instance = make_instance()
    instance.media.delete(one_avatar(instance, network))
    without = run(instance.env, "repair", "--engine", "sidekiq")
    assert without.returncode == 3 and "Redis cannot be used" in without.stderr, "before hours of looking"
    instance.env.write_text(instance.env.read_text().replace("REDIS_PORT=1\n", f"REDIS_PORT={redis_port}\n"))
    assert "handed to Mastodon's workers" in run(instance.env, "repair", "--engine", "sidekiq").stdout
    assert "on its next occasion" in run(instance.env, "repair", "--engine", "reset").stdout
    assert "Nothing that was deferred is due." in run(instance.env, "repair", "--deferred").stdout


def test_mass_loss_in_words_and_exit_4(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    key = one_avatar(instance, network)
    instance.media.delete(key)
    for folder in sorted((instance.folder / "public/system").rglob("*"), reverse=True):
        folder.rmdir()
    done = run(instance.env, "check")
    assert done.returncode == 1 and "not mounted" in done.stdout
    done = run(instance.env, "repair", "--apply")
    assert done.returncode == 4 and "--max-missing 100%" in done.stderr
    assert not network.requests
    assert run(instance.env, "repair", "--apply", "--max-missing", "100%").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_an_unreadable_root(make_instance: MakeInstance) -> None:
    from mastomend.errors import StorageError
    from mastomend.storage.filesystem import FilesystemStore

    instance = make_instance()
    one_avatar(instance)
    root = instance.folder / "public/system"
    root.chmod(0o700)
    nobody = pwd.getpwnam("nobody").pw_uid
    child = os.fork()
    if child == 0:
        try:
            os.setuid(nobody)
            FilesystemStore(str(root)).probe()
        except StorageError as error:
            os._exit(33 if error.exit_code == 3 and "cannot be read by this user" in error.message else 1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 33


def test_a_lock_names_its_holder(make_instance: MakeInstance) -> None:
    instance = make_instance()
    one_avatar(instance)
    settings = opened(instance).configuration.database
    with DatabaseLocks(settings, "run-1") as other, other.whole():
        done = run(instance.env, "repair", "--apply")
        assert done.returncode == 4
        assert f"mastomend run-1 pid {os.getpid()} on " in done.stderr
    assert run(instance.env, "repair", "--apply").returncode == 0, "the end of the holder frees the lock"


def test_interrupted_and_gone_on(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nrate = 2\nper_host = 1\n")
    origin = network.add("good.example")
    for n in range(12):
        record(instance, AVATARS, picture(n), origin=origin, name=f"{n}", damage="missing")
    (instance.folder / "public/system/other").write_bytes(b"x")
    command = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    process = subprocess.Popen(
        [*command, "repair", "--apply"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background are born ignoring it
    )
    deadline = time.monotonic() + 30
    while len(network.requests) < 4 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    asked = len(network.requests)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, f"{asked} of 12 had been asked for\n{err}"
    assert "Interrupted" in err and "Traceback" not in err
    done = run(instance.env, "repair", "--apply", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["resumed"], found["outcomes"]["restored"]) == (0, True, 12)
    assert max(network.fetched().values()) <= 2 and sum(network.fetched().values()) <= 13
    assert run(instance.env, "check").returncode == 0


def test_full_disk(make_instance: MakeInstance, network: Fediverse) -> None:
    """A real, tiny file system where root may mount one; elsewhere the conformance suite has the fault by hand."""
    instance = make_instance()
    key = one_avatar(instance, network)
    instance.media.delete(key)
    root = instance.folder / "public/system"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(root)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small file system")
    try:
        (root / "filler").write_bytes(b"x" * 12000)
        stopped = run(instance.env, "repair", "--apply")
        assert stopped.returncode == 4 and "mounted" in stopped.stderr, "a fresh disk is not what was there before"
        done = run(instance.env, "repair", "--apply", "--max-missing", "100%")
        assert done.returncode == 3, done.stdout + done.stderr
        assert "is full" in done.stderr and "goes on where it stopped" in done.stderr
        assert [p.name for p in root.rglob("*") if p.is_file()] == ["filler"], "no half file, no stray"
        subprocess.run(["mount", "-o", "remount,size=4m", str(root)], check=True)
        assert run(instance.env, "repair", "--apply", "--max-missing", "100%").returncode == 0
        assert run(instance.env, "check").returncode == 0
    finally:
        subprocess.run(["umount", str(root)], check=True)
