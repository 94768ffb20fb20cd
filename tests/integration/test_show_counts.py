"""`show --by`: how many of each server, kind, outcome, reason; and what a check looked at."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance
from tool import run

from mastomend.cli import completion
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, MEDIA_FILES


@pytest.fixture
def mixed(make_instance: MakeInstance, network: Fediverse) -> SimulatedInstance:
    """Three broken avatars of a server that has them no more, one of another that has it, with a post's picture of the same
    account, and one of an own user.
    """
    instance = make_instance()
    gone, there = network.add("gone.example"), network.add("there.example")
    for n in range(3):
        record(instance, AVATARS, picture(n), origin=gone, name=f"g{n}", damage="missing")
    gone.files.clear()
    owner = record(instance, AVATARS, picture(4), origin=there, name="t", damage="empty")
    record(instance, name="alice", damage="missing")
    whole = record(instance, MEDIA_FILES, picture(5), origin=there, name="m", account_id=owner.id)
    for key in whole.keys:
        instance.media.delete(key)
    return instance


def _rows(instance: SimulatedInstance, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(instance.env, "show", *words, "--json").stdout)["rows"]
    return found


def test_how_many_of_each_server(mixed: SimulatedInstance) -> None:
    checked = json.loads(run(mixed.env, "check", "--max-missing", "100%", "--json").stdout)
    assert _rows(mixed, "--by", "domain") == [
        {"domain": "gone.example", "records": 3, "records_local": 0, "files": 3},
        {"domain": "there.example", "records": 2, "records_local": 0, "files": 3},
        {"domain": None, "records": 1, "records_local": 1, "files": 1},
    ]
    whole = json.loads(run(mixed.env, "show", "--by", "kind", "--json").stdout)
    assert (whole["records"], whole["total"]) == (checked["totals"]["records_broken"], 7), "as `check` counts"
    assert whole["looked_at"] == "" and whole["by"] == ["kind"]
    told = run(mixed.env, "show", COLUMNS="200").stdout
    assert "7 findings in 6 records of scan" in told


def test_by_server_and_reason(mixed: SimulatedInstance) -> None:
    run(mixed.env, "repair", "--apply", "--max-missing", "100%")
    assert _rows(mixed, "--by", "domain,outcome,reason")[0] == {
        "domain": "gone.example",
        "outcome": "gone",
        "reason": "not_found",
        "records": 3,
        "records_local": 0,
        "files": 3,
    }
    told = run(mixed.env, "show", "--by", "domain,reason", "--remote", COLUMNS="200").stdout
    lines = told.splitlines()
    assert lines[0].split() == ["server", "why", "records"] and lines[1].startswith("gone.example ")
    assert lines[1].endswith(" 3") and "not_found" not in lines[1]
    # what it ends with shows those three
    words = lines[-1].split(" show ")[1].split()
    assert words[1:] == ["--remote", "--domain", "gone.example", "--reason", "not_found"]
    assert len(_rows(mixed, *words)) == 3
    own = run(mixed.env, "show", "--by", "domain", "--local", COLUMNS="200").stdout
    assert own.splitlines()[1].startswith("this server") and "your own" in own.splitlines()[0]
    assert own.splitlines()[-1].endswith(" --local") and " --local --local" not in own
    kinds = run(mixed.env, "show", "avatars", "--domain", "gone.example", "--by", "kind,domain").stdout
    assert kinds.splitlines()[-1].endswith(" accounts/avatars --domain gone.example")


def test_by_server_and_what_repairs_have_made_of_it(mixed: SimulatedInstance) -> None:
    """Of a check, after several repairs: no single run has all of it."""
    run(mixed.env, "repair", "--apply", "--max-missing", "100%", "--domain", "gone.example")
    run(mixed.env, "check", "--max-missing", "100%")
    counted = [(row["domain"], row["known"], row["records"]) for row in _rows(mixed, "--by", "domain,known")]
    assert counted == [("gone.example", "gone", 3), ("there.example", "new", 2), (None, "new", 1)]
    told = run(mixed.env, "show", "--by", "domain,known", COLUMNS="200").stdout.splitlines()
    words = told[-1].split(" show ")[1].split()
    assert words[1:] == ["--domain", "gone.example", "--outcome", "gone"] and len(_rows(mixed, *words)) == 3
    (repaired,) = (path.parent.name for path in mixed.state.glob("runs/*/outcomes.parquet"))
    refused = run(mixed.env, "show", repaired, "--by", "known")
    assert refused.returncode == 2 and "what is known is of a check" in refused.stderr


def test_what_came_after_a_run_is_told(mixed: SimulatedInstance) -> None:
    """It was taken back, or a check is newer: its counts are not how things are now."""
    done = json.loads(run(mixed.env, "repair", "--apply", "--max-missing", "100%", "--json").stdout)["run"]
    words = ("show", "--by", "domain,reason")
    told = run(mixed.env, *words).stdout
    assert f"of run {done}" in told and "taken back" not in told and "is newer" not in told
    undone = json.loads(run(mixed.env, "undo", done, "--apply", "--json").stdout)["run"]
    assert f"It was taken back by {undone}." in run(mixed.env, *words).stdout
    scan = json.loads(run(mixed.env, "check", "--max-missing", "100%", "--json").stdout)["scan"]
    for line in (words, ("show", "--outcome", "restored"), ("show", "latest", "--reason", "restored")):
        assert (
            f"The check {scan} is newer; only runs have what was asked for."
            in run(mixed.env, *line, COLUMNS="200").stdout
        )
    assert "is newer" not in run(mixed.env, "show", done, "--by", "reason").stdout, "that run was named"


def test_counts_for_a_spreadsheet_and_of_a_plan(mixed: SimulatedInstance) -> None:
    run(mixed.env, "repair")
    rows = list(csv.DictReader(io.StringIO(run(mixed.env, "show", "--by", "outcome,domain", "--csv").stdout)))
    assert [row["records"] for row in rows if row["domain"] == "gone.example"] == ["3"]
    plan = json.loads(run(mixed.env, "repair", "--json").stdout)
    counted = {row["outcome"]: row["records"] for row in _rows(mixed, plan["run"], "--by", "outcome")}
    nothing = plan["plan"].pop("none", 0)
    assert counted == {"would be left": nothing, "would be tried": sum(plan["plan"].values())}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "server"), "Several have commas"),
        (("--by", "domian"), "Did you mean domain?"),
        (("--by", "domain,"), "is none of domain, kind, outcome, reason, known"),
        (("--by", "reason"), "reasons are those of a run"),
    ],
)
def test_what_cannot_be_counted(make_instance: MakeInstance, words: tuple[str, ...], said: str) -> None:
    instance = make_instance()
    record(instance, name="alice", damage="missing")
    run(instance.env, "check")
    scan = json.loads(run(instance.env, "show", "--json").stdout)["of"]
    refused = run(instance.env, "show", scan, *words)
    assert refused.returncode == 2 and said in refused.stderr and refused.stdout == ""


def test_no_command_is_printed_for_what_no_command_names(mixed: SimulatedInstance) -> None:
    """A check's findings by state, of those a repair has come to something with."""
    run(mixed.env, "repair", "--apply", "--max-missing", "100%")
    run(mixed.env, "check", "--max-missing", "100%")
    told = run(mixed.env, "show", "--outcome", "gone", "--by", "outcome").stdout
    assert told.splitlines()[1].startswith("missing") and "record by record" not in told


def test_files_nobody_expects_are_no_records(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.media.write("core.4711", b"x")
    run(instance.env, "usage")
    record(instance, name="alice", damage="missing")
    run(instance.env, "check")
    assert len(_rows(instance, "--outcome", "unrecognized")) == 1, "of the newest look for such files"
    (usage,) = {path.parent.name for path in instance.state.glob("scans/*/strays.parquet")}
    assert _rows(instance, usage, "--by", "outcome") == [
        {"outcome": "unrecognized", "records": 0, "records_local": 0, "files": 1}
    ]


def test_a_spreadsheet_has_its_headings_though_nothing_is_below(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance, name="alice")
    run(instance.env, "check")
    whole, counted = (run(instance.env, "show", "--csv", *words).stdout for words in ((), ("--by", "domain")))
    assert whole.startswith("kind,id,who,") and whole.count("\n") == 1
    assert counted == "domain,records,records_local,files\n"
    both = run(instance.env, "show", "--csv", "--json")
    assert both.returncode == 2 and json.loads(both.stdout)["error"] == "--csv and --json: one of them."


def test_nothing_to_show_yet_says_what_to_do(make_instance: MakeInstance) -> None:
    instance = make_instance()
    for words, hint in (
        (("show",), "To look now: "),
        (("history", "latest"), "What is broken: "),
        (("undo", ""), "See them with: "),
    ):
        done = run(instance.env, *words, COLUMNS="300")
        assert done.returncode == 2 and hint in done.stderr and f" --env {instance.env} " in done.stderr, words


def test_paths_in_json_are_absolute(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    record(instance, name="alice", damage="missing")
    monkeypatch.chdir(instance.folder)
    for words, name in ((("check",), "findings"), (("repair", "--apply"), "report"), (("orphans",), "report")):
        done = run(instance.env, *words, "--state", "relative", "--json", "--max-missing", "100%")
        assert Path(json.loads(done.stdout)[name]).is_absolute() and Path(json.loads(done.stdout)[name]).exists()


def test_completion_of_what_is_counted_by() -> None:
    assert completion.groups("d") == ["domain"]
    assert completion.groups("domain,") == ["domain,kind", "domain,outcome", "domain,reason", "domain,known"]


def test_a_check_of_a_part_is_not_taken_for_one_of_everything(mixed: SimulatedInstance) -> None:
    run(mixed.env, "check", "avatars", "--domain", "there.example", "--max-missing", "100%")
    part = json.loads(run(mixed.env, "show", "--json").stdout)["looked_at"]
    assert part == "avatars; there.example"
    told = run(mixed.env, "show", "--domain", "gone.example", COLUMNS="200").stdout
    assert "That check looked only at avatars; there.example." in told
    assert "Nothing of that was broken, if it was looked at. To look now:" in told
    run(mixed.env, "check", "--max-missing", "100%")
    whole = run(mixed.env, "show", "--domain", "elsewhere.example", COLUMNS="200").stdout
    assert "Nothing of that was broken. To look now:" in whole and "looked only" not in whole
