"""What people who used it for the first time stumbled over: each of them once."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken import keep_folders, record
from conftest import MakeInstance, opened
from tool import run

from mastomend.cli.app import run as app_run
from mastomend.commands.history import history
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.systemd import units
from mastomend.commands.undo import undo
from mastomend.commands.unit_owner import foreign_owner
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES


def mended(instance: SimulatedInstance) -> str:
    return repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100)).run


# --- what comes next ----------------------------------------------------------------------------------------------------


def test_a_timer_that_found_nothing_is_not_the_latest(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    made = record(instance, origin=origin, name="one", damage="missing")
    del origin.files["/one"]
    assert run(instance.env, "repair", "--apply", "--max-missing", "100%").returncode == 1
    quiet = run(instance.env, "repair", "--deferred", "--apply", "-q")
    assert (quiet.returncode, quiet.stdout) == (0, ""), "24 lines a day in a journal help nobody"
    assert "Nothing that was deferred is due." in run(instance.env, "repair", "--deferred", "--apply").stdout
    shown = json.loads(run(instance.env, "show", "latest", "--json").stdout)
    assert [row["id"] for row in shown["rows"]] == [str(made.id)]


def test_what_cannot_be_taken_back_is_not_offered(make_instance: MakeInstance, tmp_path: Path) -> None:
    """No file of one's own users is ever taken away, so an undo of its restoration has nothing to do."""
    instance = make_instance()
    made = record(instance, damage="missing")
    backup = tmp_path / "backup" / made.key
    backup.parent.mkdir(parents=True)
    backup.write_bytes(made.data)
    words = ("repair", "--from", str(tmp_path / "backup"), "--apply", "--max-missing", "100%")
    done = run(instance.env, *words)
    assert "1 of 1 record mended" in done.stdout and "To take this back" not in done.stdout
    latest = run(instance.env, "undo", "latest")
    assert latest.returncode == 2 and "What was brought back for your own users stays." in latest.stderr
    (past,) = history(opened(instance))
    assert "undo" not in run(instance.env, "history", past.run.id).stdout
    refused = run(instance.env, "undo", past.run.id)
    assert "no file of theirs is ever taken away" in refused.stdout and "1 record would stay as it is" in refused.stdout


def test_what_stays_broken_is_one_command_away(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    for name in ("here", "gone"):
        record(instance, origin=origin, name=name, damage="missing")
    record(instance, damage="missing")
    del origin.files["/gone"]
    done = run(instance.env, "repair", "--apply", "--max-missing", "100%")
    command = done.stdout.splitlines()[-1]
    assert command.startswith("What stays broken, and why: ") and command.endswith("--outcome gone --outcome lost")
    shown = run(instance.env, *command.partition(str(instance.state))[2].split())
    assert "2 outcomes" in shown.stdout, shown.stdout
    lost = run(instance.env, "history", "--lost").stdout
    own, others = lost.split("1 record of other servers is gone at its origin, or lost.")
    assert "1 file of your own users is lost." in own and "repair --local --from DIR" in own and "a.example" not in own
    assert "@gone@a.example" in others


def test_what_is_new_comes_first(make_instance: MakeInstance, network: Fediverse) -> None:
    """A mail of cron begins with what it is about."""
    instance = make_instance()
    origin = network.add("a.example")
    record(instance, origin=origin, name="gone", damage="missing")
    keep_folders(instance)
    del origin.files["/gone"]
    mended(instance)
    assert run(instance.env, "check", "--new", "-q").stdout == ""
    record(instance, origin=origin, name="fresh", damage="missing")
    lines = run(instance.env, "check", "--new", "-q", "--max-missing", "100%").stdout.splitlines()
    assert lines[:2] == ["1 record is newly broken:", "  @fresh@a.example  accounts/avatars"]
    assert sum("@fresh@a.example" in line for line in lines) == 1
    shown = run(instance.env, "show", "--new").stdout
    assert "@fresh@a.example" in shown and "@gone@a.example" not in shown and "1 finding of scan" in shown
    assert "is a run" in run(instance.env, "show", mended(instance), "--new").stderr


def test_how_long_it_takes_is_said_before(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(30):
        record(instance, origin=origin, name=f"u{n}", damage="missing")
    asked = run(instance.env, "repair", "--max-missing", "100%").stdout
    assert "30 of them are of a.example, and a server is asked 2 times a second at most: that alone takes 15 s" in asked
    assert not network.requests, "nobody was asked for that"


def test_where_it_came_from_is_told_after_who_had_it_no_more(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("moved.example")
    made = record(instance, origin=origin, name="u", damage="missing")
    del origin.files["/u"]
    origin.files["/new"] = picture(3)
    uri = origin.publish("/actor", {"type": "Person", "icon": {"type": "Image", "url": origin.url("/new")}})
    instance.db.execute("UPDATE accounts SET uri = %s WHERE id = %s", [uri, made.id])
    name = mended(instance)
    shown = run(instance.env, "show", name).stdout
    assert re.search(r"asked: origin \(.*\(404\)\).*; then from: the address its account tells now", shown), shown


def test_a_reader_that_has_seen_enough_is_no_error(make_instance: MakeInstance, network: Fediverse) -> None:
    """`mastomend show | head`."""
    instance = make_instance()
    for n in range(400):
        record(instance, name=f"u{n}", damage="missing")
    run(instance.env, "check", "--max-missing", "100%")
    command = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    with subprocess.Popen(
        [*command, "show", "--limit", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as show:
        assert show.stdout is not None and show.stderr is not None
        assert show.stdout.readline()
        show.stdout.close()
        assert show.stderr.read() == "" and show.wait(60) != 0


# --- what an undo says before and does after ----------------------------------------------------------------------------


def test_a_header_that_was_changed_keeps_no_avatar(make_instance: MakeInstance, network: Fediverse) -> None:
    """Both pictures of one account: what is said of one is not said of the other."""
    instance = make_instance()
    origin = network.add("a.example")
    made = record(instance, AVATARS, origin=origin, name="a", damage="missing")
    origin.files["/h"] = picture(7)
    header = record(instance, HEADERS, picture(7), origin=origin, name="h")
    names = ("file_name", "content_type", "file_size", "updated_at", "remote_url", "storage_schema_version")
    row = instance.db.execute("SELECT * FROM accounts WHERE id = %s", [header.id]).fetchone()
    assert row is not None
    values = [row[f"header_{name}"] for name in names]
    instance.db.execute(
        f"UPDATE accounts SET {', '.join(f'header_{name} = %s' for name in names)} WHERE id = %s", [*values, made.id]
    )
    instance.db.execute("DELETE FROM accounts WHERE id = %s", [header.id])
    name = mended(instance)
    keys = [key for key in instance.media.keys() if "/headers/" in key and not key.startswith(".")]
    there = [key for key in keys if f"{made.id:018d}"[-3:] in key]
    assert there, keys
    for key in there:
        instance.media.write(key, b"changed by somebody")
    foreseen = undo(opened(instance), name, apply=False)
    done = undo(opened(instance), name, apply=True)
    assert (foreseen.reverted, foreseen.conflicts) == (done.reverted, done.conflicts) == (1, 1)


# --- units --------------------------------------------------------------------------------------------------------------


def test_what_deletes_is_not_switched_on_with_the_rest(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = make_instance()
    folder = instance.folder / "units"
    folder.mkdir()
    words = ["--env", str(instance.env), "--state", str(instance.state), "systemd", "--apply", "--user", "root"]
    elsewhere = run(instance.env, "systemd", "--apply", "--user", "root", "--folder", str(folder)).stdout
    assert "systemd looks for them in /etc/systemd/system." in elsewhere and "enable" not in elsewhere
    monkeypatch.setattr("mastomend.commands.unit_files.FOLDER", folder)
    assert app_run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    (following,) = (line for line in lines if line.startswith("Next: "))
    assert "mastomend-check.timer mastomend-deferred.timer" in following and "guard" not in following
    assert "If you want that: systemctl enable --now mastomend-guard.timer" in lines


def test_a_state_directory_that_a_service_cannot_make_is_made_before(make_instance: MakeInstance) -> None:
    instance = make_instance()
    own = Path("/var/lib/mastomend/example.social")
    assert (
        "StateDirectory=mastomend"
        in units(opened(instance), ["/bin/true"], instance.env, own, "root")["mastomend-check.service"]
    )
    missing = instance.folder / "not there"
    told = run(instance.env, "--state", str(missing), "systemd", "--user", "root").stdout
    assert f"install -d -o root -g root -m 700 '{missing}'" in told


def test_a_state_directory_elsewhere_has_none_beside_it(make_instance: MakeInstance) -> None:
    """An empty `/var/lib/mastomend` would be taken for the state directory by every command by hand."""
    instance = make_instance()
    with_own = units(opened(instance), ["/bin/true"], instance.env, None, "root")["mastomend-check.service"]
    elsewhere = units(opened(instance), ["/bin/true"], instance.env, Path("/srv/state"), "root")[
        "mastomend-check.service"
    ]
    assert "StateDirectory=mastomend" in with_own
    assert "StateDirectory" not in elsewhere and "ReadWritePaths=-/srv/state\n" in elsewhere
    assert "PrivateTmp=no" in elsewhere, "this instance is below /tmp, which would be empty"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_whom_the_media_belong_to_is_told_from_whom_the_settings_do(make_instance: MakeInstance) -> None:
    instance = make_instance()
    (instance.folder / "public/system").mkdir(parents=True, exist_ok=True)
    assert foreign_owner(opened(instance), "root") is None
    os.chown(instance.folder / "public/system", pwd.getpwnam("nobody").pw_uid, -1)
    assert foreign_owner(opened(instance), "root") == "nobody"
    told = run(instance.env, "systemd", "--user", "root").stdout
    assert "The media belong to nobody." in told and "--user nobody" in told
    os.chown(instance.env, pwd.getpwnam("daemon").pw_uid, -1)
    only = " ".join(run(instance.env, "systemd").stdout.split())
    assert (
        "mastomend-guard.timer can do nothing so: the media belong to nobody, and these run as daemon. Leave them"
        in only
    )


# --- the rest -----------------------------------------------------------------------------------------------------------


def test_what_prune_took_away_comes_back_by_the_command_that_is_printed(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    """Most of a kind is missing after that undo, which is no unmounted disk."""
    instance = make_instance()
    origin = network.add("a.example")
    owner = instance.insert("accounts", username="far", domain="a.example", uri="x:far")
    for n in range(12):
        record(instance, MEDIA_FILES, origin=origin, name=f"m{n}", row={"account_id": owner})
    record(instance)  # what is left on the disk
    instance.db.execute("UPDATE media_attachments SET created_at = now() - interval '1 year'")
    instance.db.execute("UPDATE media_attachments SET updated_at = now() - interval '1 year'")
    gone = run(instance.env, "prune", "--attachments", "30d", "--apply")
    assert "12 records let go" in gone.stdout, gone.stdout
    back = run(instance.env, "undo", "latest", "--apply").stdout
    (command,) = (line for line in back.splitlines() if line.startswith("The rows name files that were deleted."))
    assert "it looks like an unmounted disk" in back
    done = run(instance.env, *command.partition(str(instance.state))[2].split(), "--max-missing", "100%")
    assert "12 of 12 records mended" in done.stdout, done.stdout + done.stderr


def test_a_profile_is_found_where_names_and_pages_have_two_hosts(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    made = record(instance, origin=network.add("short.example"), name="bob", damage="missing")
    keep_folders(instance)
    page = "https://social.short.example/@bob"
    instance.db.execute("UPDATE accounts SET url = %s WHERE id = %s", [page, made.id])
    done = run(instance.env, "check", "--account", f"{page}?x", "--json", "--max-missing", "100%")
    assert json.loads(done.stdout)["totals"]["records_broken"] == 1, done.stdout


def test_what_was_changed_is_told_though_nobody_reads(make_instance: MakeInstance, network: Fediverse) -> None:
    """`repair --apply | head` has changed something; a socket that breaks is no reader that has gone."""
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="one", damage="missing")
    command = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    with subprocess.Popen(
        [*command, "repair", "--apply", "--max-missing", "100%"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as repairing:
        assert repairing.stdout is not None and repairing.stderr is not None
        repairing.stdout.close()
        said = repairing.stderr.read()
    assert "The output was closed" in said and said.endswith("history\n"), said


def test_guard_s_way_out_exists(make_instance: MakeInstance) -> None:
    """Its safety stop names an option, and it has that."""
    done = run(make_instance().env, "guard", "--max-missing", "100%")
    assert done.returncode in (0, 1), done.stderr


def test_who_may_not_log_in_is_told_what_lets_them(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.db.execute("DROP ROLE IF EXISTS asleep")
    instance.db.execute("CREATE ROLE asleep NOLOGIN")
    text = instance.env.read_text(encoding="utf-8")
    instance.env.write_text(text.replace("DB_USER=postgres", "DB_USER=asleep"), encoding="utf-8")
    done = run(instance.env, "check")
    assert done.returncode == 3 and 'ALTER ROLE "asleep" LOGIN;' in done.stderr and "is running" not in done.stderr


def test_a_budget_that_nothing_meets_is_no_next_command(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    owner = instance.insert("accounts", username="far", domain="a.example", uri="x:far")
    record(instance, MEDIA_FILES, origin=network.add("a.example"), name="m", row={"account_id": owner})
    disk = shutil.disk_usage(instance.folder)
    done = run(instance.env, "prune", "--keep-free", f"{disk.used + disk.free - 1_000_000}B")
    assert "With --apply all of it goes, and that is not enough" in done.stdout and "Next:" not in done.stdout
