"""Deferred work comes due again, at growing intervals, and ends; what is lost is named, local files first."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened

from mastomend.actions.deferral import Deferral
from mastomend.commands.lost import lost
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions, RepairReport
from mastomend.commands.systemd import units
from mastomend.commands.unit_files import install
from mastomend.demo.fediverse import Fediverse, Manners
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Outcome

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def run(instance: SimulatedInstance, hours: float, *, deferred: bool = True, apply: bool = True) -> RepairReport:
    options = RepairOptions(apply=apply, max_missing_percent=100, deferred=deferred)
    return repair(opened(instance), options, now=lambda: START + timedelta(hours=hours))


def broken_avatar(instance: SimulatedInstance, url: str | None, domain: str | None, name: str) -> int:
    made = record(instance, AVATARS, picture(1), remote_url=url, domain=domain, name=name, damage="missing")
    return made.id


def test_deferred_work_comes_due_grows_rarer_and_ends(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    settings = "settle_seconds = 0\n[politeness]\nbackoff_s = 0.01\ntries = 1\n[deferred]\ntries = 3\nfirst_hours = 1\n"
    (instance.folder / "mastomend.toml").write_text(settings + "factor = 4\n")
    down = network.add("down.example", Manners.BROKEN)
    back = network.add("back.example", Manners.BROKEN)
    back.files["/a"] = picture(1)
    gone = network.add("gone.example", Manners.GONE)
    broken_avatar(instance, down.url("/a"), "down.example", "a")
    broken_avatar(instance, back.url("/a"), "back.example", "b")
    broken_avatar(instance, gone.url("/a"), "gone.example", "c")
    broken_avatar(instance, None, None, "local")
    first = run(instance, 0, deferred=False)
    assert first.outcomes == {"deferred": 2, "gone": 1, "lost": 1}
    assert run(instance, 0.5).records == 0, "nothing is due yet"
    assert run(instance, 1.1, apply=False).plan == {"origin": 2}, "a dry run says what is due"
    assert run(instance, 1.1).outcomes == {"deferred": 2}
    assert run(instance, 2.2).records == 0, "the second interval is four times the first"
    back.manners = Manners.GOOD
    assert run(instance, 5.2).outcomes == {"restored": 1, "lost": 1}
    (entry,) = [e for e in lost(opened(instance)) if e.reason == "gave_up"]
    assert (entry.tries, entry.first_seen, entry.dead_since) == (3, START, START)
    assert "deferred 3 times since 2026-11-22" in entry.detail and "its origin has trouble of its own" in entry.detail
    assert run(instance, 1000).records == 0, "what is lost is not tried by itself"
    ledger = lost(opened(instance))
    assert [(e.is_local, e.outcome.value, e.reason) for e in ledger] == [
        (True, "lost", "local"), (False, "lost", "gave_up"), (False, "gone", "gone")
    ]  # fmt: skip
    assert ledger[0].dead_since is None
    down.manners = Manners.GOOD
    down.files["/a"] = picture(1)
    assert run(instance, 1001, deferred=False).outcomes[Outcome.RESTORED] == 1, "asked for by hand it is tried again"
    assert [e.reason for e in lost(opened(instance))] == ["local", "gone"]


def test_what_is_whole_again_leaves_the_ledger(make_instance: MakeInstance) -> None:
    instance = make_instance()
    new, keys = instance.add_image(AVATARS, picture(1), username="me", uri="x")
    instance.media.delete(keys[0])
    assert run(instance, 0, deferred=False).outcomes == {"lost": 1}
    assert [e.id for e in lost(opened(instance))] == [new]
    instance.media.write(keys[0], instance.files[keys[0]])
    assert run(instance, 1).records == 0
    assert lost(opened(instance)) == []


def test_what_is_our_own_affair_costs_no_try(make_instance: MakeInstance) -> None:
    instance = make_instance()
    with instance.env.open("a") as file:
        file.write("FFMPEG_BINARY=/nowhere\n")
    from mastomend.mastodon.kinds import MEDIA_FILES

    (key, _) = instance.add_plain(MEDIA_FILES, b"x", "a.mp4", "video/mp4", remote_url="https://x.example/a", type=2)
    instance.media.delete(key)
    for hours in range(0, 40, 2):
        assert run(instance, hours).outcomes in ({}, {"deferred": 1})
    assert run(instance, 100, deferred=False).outcomes == {"deferred": 1}
    assert lost(opened(instance)) == []


def test_intervals_grow_to_a_limit() -> None:
    policy = Deferral()
    hours = [policy.wait_s(n) / 3600 for n in range(1, policy.tries)]
    assert hours == [1, 4, 16, 64, 168, 168, 168]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd")
def test_the_units_are_well_formed_and_hardened(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    texts = units(opened(instance), ["/bin/true"], instance.env, None, "root")
    install(texts, tmp_path, apply=True)
    for job in ("check", "deferred"):
        timer, service = (str(tmp_path / f"mastomend-{job}.{kind}") for kind in ("timer", "service"))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", timer], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0 and "mastomend" not in done.stderr, done.stderr
        command = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", service]
        rated = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert rated.returncode == 0, rated.stdout[-300:]


def test_the_service_says_what_it_promises(make_instance: MakeInstance) -> None:
    instance = make_instance()
    service = configparser.RawConfigParser(strict=False)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read_string(
        units(opened(instance), ["mastomend"], instance.env, None, "root")["mastomend-deferred.service"]
    )
    values = dict(service["Service"])
    assert values["NoNewPrivileges"] == "yes" and values["ProtectSystem"] == "strict"
    assert values["StateDirectory"] == "mastomend" and "--state" not in values["ExecStart"]
    assert values["ExecStart"].endswith("repair --deferred --apply -q") and values["SuccessExitStatus"] == "1"


def test_what_its_origin_said_no_to_rests_for_a_while(make_instance: MakeInstance, network: Fediverse) -> None:
    """A repair a minute later, and its dry run, do not promise or ask again what was answered."""
    instance = make_instance()
    origin = network.add("a.example")
    origin.files |= {"/html": b"<!DOCTYPE html><title>no picture</title>"}
    broken_avatar(instance, origin.url("/gone"), "a.example", "a")
    broken_avatar(instance, origin.url("/html"), "a.example", "b")
    broken_avatar(instance, None, None, "local")
    first = run(instance, 0, deferred=False)
    assert first.outcomes == {"gone": 1, "refused": 1, "lost": 1}
    asked = len(network.requests)
    plan = run(instance, 0.1, deferred=False, apply=False)
    assert (plan.plan, plan.resting) == ({"none": 1}, 2), "what asks nobody is told as before"
    again = run(instance, 0.1, deferred=False)
    assert (again.records, again.resting, again.undone) == (1, 2, 3)
    assert len(network.requests) == asked
    asking = RepairOptions(apply=True, max_missing_percent=100, again=True)
    assert repair(opened(instance), asking, now=lambda: START + timedelta(hours=1)).records == 3
    assert len(network.requests) > asked
    origin.files["/gone"] = picture(1)
    week_later = run(instance, 24 * 7 + 2, deferred=False)
    assert week_later.outcomes == {"restored": 1, "refused": 1, "lost": 1} and week_later.resting == 0


def test_a_backup_is_asked_for_what_rests(make_instance: MakeInstance, network: Fediverse) -> None:
    """Only strangers are left alone."""
    instance = make_instance()
    made = record(instance, origin=network.add("a.example", Manners.GONE), damage="missing")
    assert run(instance, 0, deferred=False).outcomes == {"gone": 1}
    backup = instance.folder / "backup"
    (backup / made.key).parent.mkdir(parents=True)
    (backup / made.key).write_bytes(made.data)
    options = RepairOptions(apply=True, max_missing_percent=100, backups=(backup,))
    assert repair(opened(instance), options, now=lambda: START + timedelta(hours=1)).outcomes == {"restored": 1}


def test_what_this_server_kept_from_being_stored_does_not_rest(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    made = record(instance, origin=network.add("a.example"), damage="missing")
    place = instance.folder / "public" / "system" / made.key
    place.mkdir(parents=True)
    (place / "in_the_way").touch()
    assert run(instance, 0, deferred=False).outcomes == {"refused": 1}
    shutil.rmtree(place)
    assert run(instance, 0.1, deferred=False).outcomes == {"restored": 1}
