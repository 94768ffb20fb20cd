"""`guard`: a mark that is passed is met again, and what a person should do is said."""

from __future__ import annotations

import errno
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import MakeInstance, opened
from tool import run as tool
from touches import Town, possible

from mastomend.cli.guard import exit_code
from mastomend.commands.guard import guard
from mastomend.commands.guard_report import GuardOptions, GuardReport, Marks, marks
from mastomend.commands.policy import wishes
from mastomend.commands.usage import count_usage
from mastomend.commands.usage_report import UsageOptions
from mastomend.demo.instance import SimulatedInstance
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.inventory.keeping import Policy
from mastomend.mastodon.retention import parse_days
from mastomend.plans.prices import Price

LATER = datetime(2027, 6, 1, tzinfo=UTC)


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def full(monkeypatch: pytest.MonkeyPatch, total: int, used: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk(total, used, total - used))


def looked(instance: SimulatedInstance, *, now: datetime = LATER, table: Any = None, **options: Any) -> GuardReport:
    wanted = wishes({} if table is None else table, "here")
    return guard(opened(instance), GuardOptions(wishes=wanted, **options), now=lambda: now)


def test_a_full_disk_is_brought_below_its_mark(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    town = Town.of(instance)
    kept = town.post()
    town.media(kept, size=1_000)
    possible(town)["favourite"].do(town, kept, "2026-01-01")
    for _ in range(20):
        town.media(town.post(), size=1_000)
    full(monkeypatch, 100_000, 85_000)
    quiet = looked(instance, apply=True)
    assert (quiet.passed, quiet.pruned, exit_code(quiet)) == ([], None, 0)
    full(monkeypatch, 100_000, 93_000)
    dry = looked(instance)
    assert "93 % full" in dry.passed[0] and dry.pruned is not None and dry.pruned.goes.records == 8
    assert exit_code(dry) == 1 and len(instance.media.keys()) == 42, "to 15 % free"
    done = looked(instance, apply=True)
    assert done.pruned is not None and (done.pruned.evicted.records, exit_code(done)) == (8, 0)
    full(monkeypatch, 100_000, 99_999)
    over = looked(instance, apply=True)
    assert over.pruned is not None and over.pruned.evicted.records == 12 and over.pruned.over > 0
    assert exit_code(over) == 1 and "Something else fills it" in over.warnings[-1] and len(instance.media.keys()) == 2


def test_a_mark_that_cannot_be_met_takes_only_what_comes_back(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else fills the disk: faces that Mastodon does not fetch again when somebody looks do not go for that."""
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(3):
        town.media(town.post(), size=1_000)
    town.picture(town.account())
    full(monkeypatch, 100_000, 99_999)
    within = looked(instance, apply=True, table={"budget": "1MB"})
    assert (
        within.pruned is not None
        and within.pruned.evicted.records == 0
        and "asks for goes, and no more" in within.warnings[0]
    )
    dry = looked(instance)
    assert dry.pruned is not None and (dry.pruned.goes.records, dry.pruned.units) == (3, ("attachments",))
    done = looked(instance, apply=True)
    assert (
        done.pruned is not None and done.pruned.evicted.records == 3 and "avatars and headers stay" in done.warnings[0]
    )
    assert len([key for key in instance.media.keys() if "/avatars/" in key]) == 1 and exit_code(done) == 1
    named = looked(instance, apply=True, table={"avatars": "1d"})
    assert named.pruned is not None and named.pruned.evicted.records == 1, "these somebody has named"


def test_nothing_goes_where_it_would_not_help(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes are cached, and a hundred megabytes are needed: that is no reason to let all pictures go."""
    instance = make_instance()
    town = Town.of(instance)
    town.media(town.post(), size=1_000)
    full(monkeypatch, 1_000_000_000, 999_999_999)
    held = instance.media.keys()
    done = looked(instance, apply=True)
    assert done.pruned is None and "nothing goes, as it would not help" in done.warnings[0] and exit_code(done) == 1
    assert instance.media.keys() == held
    named = looked(instance, apply=True, table={"attachments": "1d"})
    assert named.pruned is not None and named.pruned.evicted.records == 1, "that somebody has named"


def test_what_is_out_of_sight_is_no_reason_to_look_elsewhere(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is not mounted weighs nothing: that stops, as it did."""
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(60):
        town.media(town.post(), size=1_000)
    for key in list(instance.media.keys()):
        if key.startswith("cache/"):
            instance.media.delete(key)
    instance.media.write("accounts/avatars/kept", b"x")
    full(monkeypatch, 1_000_000_000, 999_999_999)
    dry = looked(instance)
    assert dry.pruned is not None and dry.pruned.stops and exit_code(dry) == 1
    with pytest.raises(SafetyStop):
        looked(instance, apply=True)


def test_strangers_are_named(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    town = Town.of(instance)
    town.media(town.post(), size=1_000)
    full(monkeypatch, 1_000_000_000, 999_999_999)
    assert looked(instance, table={"strangers": "1d"}).pruned is not None


def test_a_mark_that_faces_meet_is_met(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its margin need not be: 92 % of a disk, the mark is 90, and all that is cached is three percent of it."""
    instance = make_instance()
    town = Town.of(instance)
    town.media(town.post(), size=1_000)
    town.picture(town.account(), size=2_000)
    full(monkeypatch, 100_000, 92_000)
    done = looked(instance, apply=True)
    assert done.pruned is not None and (done.pruned.evicted.records, done.pruned.over) == (2, 4_000)
    assert not any("stay" in one and "faces" in one for one in done.warnings)


def test_a_state_directory_on_the_full_disk_is_no_hindrance(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(5):
        town.media(town.post(), size=1_000)
    full(monkeypatch, 10_000, 9_500)

    def no_room(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mastomend.commands.disk_watch.replace_text", no_room)
    done = looked(instance, apply=True)
    assert "cannot be kept" in done.warnings[0] and done.pruned is not None and done.pruned.evicted.records == 1


def test_it_warns_before_the_disk_is_full(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    for day, used in enumerate((500_000, 510_000, 520_000)):
        full(monkeypatch, 1_000_000, used)
        report = looked(instance, now=LATER + timedelta(days=day))
    assert report.bytes_per_day == 10_000 and report.full_on == (LATER + timedelta(days=2 + 48)).date()
    assert report.warnings == [] and exit_code(report) == 0
    assert exit_code(looked(instance, now=LATER + timedelta(days=2), marks=Marks(warn_days=60))) == 1
    full(monkeypatch, 1_000_000, 480_000)
    assert looked(instance, now=LATER + timedelta(days=3)).full_on is None, "it empties"
    (instance.state / "guard.json").write_text("{")
    assert looked(instance, now=LATER + timedelta(days=4)).bytes_per_day is None


def test_a_budget_is_kept_whatever_the_disk(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(5):
        town.media(town.post(), size=1_000)
    full(monkeypatch, 1_000_000, 10)
    report = looked(instance, apply=True, table={"budget": "2KB"})
    assert report.pruned is not None and report.pruned.evicted.records == 3 and report.passed == []


@pytest.mark.parametrize("version", ["4.2", "4.3", "4.4", "4.7"])
def test_mastodon_s_own_settings_that_fight_it_are_said(
    make_instance: MakeInstance, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance(version)
    full(monkeypatch, 1_000_000, 10)
    assert looked(instance).warnings == []
    instance.insert("settings", var="media_cache_retention_period", value="--- 14\n")
    if "thing_type" in instance.columns("settings"):  # somebody's own setting of that name
        instance.insert(
            "settings", var="content_cache_retention_period", value="--- 3\n", thing_type="User", thing_id=1
        )
    said = looked(instance).warnings
    assert len(said) == 1 and "14 days" in said[0]
    instance.insert("settings", var="content_cache_retention_period", value="--- 90\n")
    said = looked(instance).warnings
    assert len(said) == 2 and "90 days" in said[1] and exit_code(looked(instance)) == 1
    Town.of(instance).media(None)
    dead = looked(instance).warnings[-1]
    assert "1 attachments are older" in dead and "vacuum" in dead


@pytest.mark.parametrize(
    ("value", "days"),
    [("--- 14\n", 14), ("--- 14\n...\n", 14), ("--- ''\n", None), ("---\n", None), ("--- 0\n", None), ("--- -3\n", None),
     ("--- 1.5\n", None), (None, None), ("--- true\n", None)],
)  # fmt: skip
def test_only_a_positive_whole_number_is_a_period(value: str | None, days: int | None) -> None:
    assert parse_days(value) == days


def test_a_bill_passes_its_mark(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5", "s3")
    town = Town.of(instance)
    for _ in range(4):
        town.media(town.post(), size=250_000)
    assert "no price is known" in looked(instance, marks=Marks(bill_usd=1.0)).warnings[0]
    (instance.folder / "mastomend-prices.toml").write_text(
        '[[provider]]\nname = "here"\nendpoint = "127.0.0.1"\nlist = 0.0\nhead = 0.0\nread_on = 2026-11-24\n'
        "gigabyte_month = 1000.0\n"
    )
    assert looked(instance, marks=Marks(bill_usd=0.5)).warnings == [
        "What a month costs cannot be said: nothing was counted lately (run usage)."
    ]
    today = datetime.now(UTC)
    count_usage(opened(instance), UsageOptions(), now=lambda: today - timedelta(days=1))
    report = looked(instance, marks=Marks(bill_usd=0.6), apply=True, now=today)
    assert report.usd_month == pytest.approx(1.0, rel=0.01) and "the mark is" in report.passed[0]
    assert report.pruned is not None and report.pruned.evicted.records == 2, "two fifths, in whole files"
    assert looked(instance, marks=Marks(bill_usd=5.0), now=today).pruned is None
    again = looked(instance, marks=Marks(bill_usd=0.6), apply=True, now=today)
    assert again.passed == [] and again.pruned is None, "what went since the count is known"


def test_a_bill_is_shown_by_what_prune_would_do(make_instance: MakeInstance) -> None:
    """In a bucket no room can be kept free; and a minimum that is billed whatever is kept is a warning, no wrong usage."""
    instance = make_instance("4.5", "s3")
    town = Town.of(instance)
    for _ in range(4):
        town.media(town.post(), size=250_000)
    prices = instance.folder / "mastomend-prices.toml"
    prices.write_text(
        '[[provider]]\nname = "here"\nendpoint = "127.0.0.1"\nlist = 0.0\nhead = 0.0\nread_on = 2026-11-24\n'
        "gigabyte_month = 1000.0\n"
    )
    count_usage(opened(instance), UsageOptions())
    told = tool(instance.env, "guard", "--bill", "0.6").stdout
    (command,) = (line for line in told.splitlines() if line.startswith("Which, and what stays:"))
    shown = tool(instance.env, *command.partition(str(instance.state))[2].split())
    went = r"([\d,]+) records? of attachments would go"
    assert re.search(went, shown.stdout), shown.stdout + shown.stderr
    assert f"{re.findall(went, shown.stdout)[0]} records would go" in told
    prices.write_text(prices.read_text() + "minimum_gb = 1000\n")
    done = tool(instance.env, "guard", "--bill", "0.6")
    assert done.returncode == 1 and "its minimum is billed" in done.stdout and "Nothing goes." in done.stdout, (
        done.stderr
    )


def test_what_is_free_and_what_is_billed_at_least_is_reckoned_with() -> None:
    price = Price("p", "e", 0, 0, date(2026, 1, 1), gigabyte_month=0.1, free_gb=10, minimum_gb=2)
    assert price.most_for(0.5, 10**12) == 15 * 10**9 and price.most_for(0.1, 10**12) is None
    assert price.most_for(1e6, 10**12) == 10**12


def test_from_the_shell(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    done = tool(instance.env, "guard", "--disk", "100%", "--textfile", str(tmp_path), "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    numbers = (tmp_path / "mastomend_guard.prom").read_text()
    assert 'mastomend_guard_marks_passed{domain="example.social"} 0' in numbers and "guard_disk_free_bytes" in numbers
    found = json.loads(tool(instance.env, "guard", "--disk", "5%", "--json").stdout)
    assert found["exit_code"] == 1 and found["passed"] and found["pruned"] is None and found["warnings"]
    found = json.loads(tool(instance.env, "guard", "--disk", "5%", "--budget", "1MB", "--json").stdout)
    assert found["exit_code"] == 1 and found["passed"] and found["pruned"]["applied"] is False
    (instance.folder / "mastomend.toml").write_text('[guard]\ndisc = "80%"\n')
    wrong = tool(instance.env, "guard")
    assert wrong.returncode == 2 and "guard.disc is not a setting" in wrong.stderr


def test_settings_are_those_of_the_tables(tmp_path: Path) -> None:
    assert marks({"disk": "80%", "bill": 20, "warn_days": 3}, "x") == Marks(80.0, 20.0, 3)
    for wrong in (
        {"bill": "much"},
        {"disk": "120%"},
        {"warn_days": -1},
        {"warn_days": float("inf")},
        {"warn_days": 10**10},
    ):
        with pytest.raises(ConfigurationError, match="x\\."):
            marks(wrong, "x")
    made = wishes(
        {
            "attachments": "30d", "strangers": "7d", "budget": "2GB", "keep_free": "1GB", "access_log": ["/a", "/b"],
            "budgets": {"headers": "0"}, "keep": {"thread": "forever", "favourited": "2w"}, "domains": {"a.example": "never"},
        },
        "prune",
    )  # fmt: skip
    policy = made.policy
    assert (
        policy.ages == {"attachments": 30 * 86_400}
        and policy.budgets == {"headers": 0}
        and policy.budget == 2_000_000_000
    )
    assert policy.keep["favourited"] == 14 * 86_400 and policy.keep["thread"] == policy.keep["bookmarked"]
    assert made.keep_free == 1_000_000_000 and [str(one) for one in made.access_logs] == ["/a", "/b"]
    assert wishes({}, "prune").says_nothing and not made.says_nothing and Policy().has_budget is False
    for table in (
        {"attachment": "3d"},
        {"keep": {"thred": "3d"}},
        {"budgets": {"heads": "1GB"}},
        {"strangers": "soon"},
        {"keep": 3},
    ):
        with pytest.raises(ConfigurationError, match="prune"):
            wishes(table, "prune")


def test_a_media_directory_that_is_not_mounted_stops_it(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    town.media(town.post())
    root = instance.folder / "public/system"
    root.rename(instance.folder / "public/elsewhere")
    root.mkdir()
    for words in ((), ("--apply", "-q")):
        done = tool(instance.env, "guard", *words)
        assert done.returncode == 4 and "is empty, and records name files in it" in done.stderr, done.stderr


@pytest.mark.parametrize("value", ["20", 20, "20.5"])
def test_a_bound_without_a_unit_is_refused(value: object) -> None:
    """Twenty bytes would let nearly everything go."""
    for name in ("budget", "keep_free"):
        with pytest.raises(ConfigurationError, match="needs a unit"):
            wishes({name: value}, "mastomend.toml: prune")
    assert wishes({"budget": 0}, "x").policy.budget == 0
