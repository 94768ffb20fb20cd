"""What is known of a record is known of the file it had then."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import run

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.selection import Selection

APPLY = RepairOptions(apply=True, max_missing_percent=100)


def _another(instance: SimulatedInstance, record_id: int, key: str) -> str:
    """The account gets another avatar, as Mastodon gives it one; its key."""
    instance.db.execute("UPDATE accounts SET avatar_file_name = 'another.png' WHERE id = %s", [record_id])
    new = f"{key.rpartition('/')[0]}/another.png"
    instance.media.write(new, instance.files[key])
    return new


def test_what_has_to_be_waited_for_is_waited_for(make_instance: MakeInstance, network: Fediverse) -> None:
    """Nobody is asked before it is due, by hand either, and no try is used up; `--again` asks all the same."""
    instance = make_instance()
    origin = network.add("slow.example")
    record(instance, AVATARS, picture(1), origin=origin, name="a", damage="missing")
    origin.statuses["/a"] = 503
    assert repair(opened(instance), APPLY).outcomes == {"deferred": 1}
    due = json.loads(run(instance.env, "show", "--outcome", "deferred", "--json").stdout)["rows"][0]["next_try"]
    asked = network.fetched()
    for _ in range(2):
        assert (repair(opened(instance), RepairOptions()).resting, repair(opened(instance), APPLY).resting) == (1, 1)
    assert network.fetched() == asked
    (row,) = json.loads(run(instance.env, "show", "--outcome", "deferred", "--json").stdout)["rows"]
    assert row["next_try"] == due, "a run that did not try moves nothing"
    assert repair(opened(instance), replace(APPLY, deferred=True)).records == 0, "it is not due"
    told = run(instance.env, "repair", COLUMNS="200").stdout
    assert "1 record is not asked for again yet" in told and "--again" in told and "Next:" not in told
    origin.statuses.clear()
    assert repair(opened(instance), replace(APPLY, again=True, deferred=True)).outcomes == {"restored": 1}


def test_due_times_are_those_of_what_is_selected(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    for domain in ("a.example", "b.example"):
        origin = network.add(domain)
        record(instance, AVATARS, picture(1), origin=origin, name=domain[0], damage="missing")
        origin.statuses[f"/{domain[0]}"] = 503
    repair(opened(instance), APPLY)
    repair(opened(instance), replace(APPLY, again=True, selection=Selection(domains=("b.example",))))
    checks = {
        d: check(opened(instance), CheckOptions(selection=Selection(domains=(d,)))) for d in ("a.example", "b.example")
    }
    first, second = checks["a.example"].next_try, checks["b.example"].next_try
    assert first is not None and second is not None and second - first > timedelta(hours=2)


@pytest.mark.parametrize("is_local", [True, False])
def test_new_damage_to_a_record_that_was_given_up_is_new(
    make_instance: MakeInstance, network: Fediverse, is_local: bool
) -> None:
    instance = make_instance()
    origin = None if is_local else network.add("gone.example")
    made = record(instance, AVATARS, picture(1), origin=origin, name="alice", damage="missing")
    record(instance, name="bob")
    if origin is not None:
        origin.files.clear()
    repair(opened(instance), APPLY)
    told = json.loads(run(instance.env, "check", "--json").stdout)
    assert (told["new"], sum(told["known"].values())) == (0, 1)
    new = _another(instance, made.id, made.key)
    assert run(instance.env, "check").returncode == 0
    instance.media.delete(new)
    told = json.loads(run(instance.env, "check", "--json").stdout)
    assert (told["new"], sum(told["known"].values())) == (1, 0)
    quiet = run(instance.env, "check", "--new", "-q")
    assert quiet.returncode == 1 and "1 record is newly broken" in quiet.stdout
    (row,) = json.loads(run(instance.env, "show", "--new", "--json").stdout)["rows"]
    assert row["id"] == str(made.id) and not row["known"], "what is known is of another file"
    if origin is not None:
        origin.files["/alice"] = picture(1)
        assert repair(opened(instance), APPLY).outcomes.total() == 1, (
            "it does not rest, as another file's origin said no"
        )
        assert run(instance.env, "check").returncode == 0
