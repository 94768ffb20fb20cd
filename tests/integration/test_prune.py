"""`prune`: what is old or does not fit goes, what people here touched stays."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from broken import outcomes, record, table
from conftest import MakeInstance, opened
from oracle import Oracle, epoch, is_kept
from tool import run as tool
from touches import PEOPLE, Town, possible

from mastomend.commands import prune as prune_module
from mastomend.commands.check import check
from mastomend.commands.policy import Wishes, with_options
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions, PruneReport
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.instance import VERSIONS, DiskMedia, SimulatedInstance
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.inventory.keeping import DAY, FOREVER, Policy, default_terms
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, PREVIEW_CARDS
from mastomend.mastodon.selection import Account, Selection

#: All that tests make is from January 2026.
LATER = datetime(2027, 6, 1, tzinfo=UTC)


def pruned(instance: SimulatedInstance, policy: Policy, *, now: datetime = LATER, **options: object) -> PruneReport:
    return prune(opened(instance), PruneOptions(policy, **options), now=lambda: now)  # type: ignore[arg-type]


def cached(instance: SimulatedInstance) -> set[int]:
    """The attachments that have a file."""
    rows = instance.db.execute("SELECT id FROM media_attachments WHERE file_file_name IS NOT NULL")
    return {row["id"] for row in rows}


@pytest.mark.parametrize("version", VERSIONS)
def test_whatever_somebody_here_did_to_a_post_keeps_its_pictures(make_instance: MakeInstance, version: str) -> None:
    instance = make_instance(version)
    town = Town.of(instance)
    touches = possible(town)
    kept = {}
    for name, touch in touches.items():
        post = town.post()
        kept[town.media(post)] = name
        touch.do(town, post, "2027-05-31")
    others = {town.media(town.post()) for _ in range(5)} | {town.media(None)}
    forever = Policy({"attachments": 30 * DAY}, keep=dict.fromkeys(default_terms(), FOREVER))
    report = pruned(instance, forever)
    assert report.goes.records == len(others) and report.stays.records == len(kept)
    assert set(report.kept) == {touch.relationship for touch in touches.values()}
    assert cached(instance) == set(kept) | others, "nothing was done"
    done = pruned(instance, forever, apply=True)
    left = cached(instance)
    assert {kept[one] for one in kept} - {kept[one] for one in left & set(kept)} == set()
    assert left == set(kept) and (done.evicted.records, done.files, done.left) == (len(others), 2 * len(others), [])
    assert len(instance.media.keys()) == 2 * len(kept)
    assert check(opened(instance)).broken == 0


def goes(report: PruneReport) -> set[tuple[str, int]]:
    return {(row["unit"], row["id"]) for row in table(f"SELECT unit, id FROM '{report.report}'")}


def at_random(town: Town, chance: random.Random) -> None:
    """Posts, pictures and touches, all at random times."""
    touches = possible(town)
    people = [town.they, town.friend, *(town.account() for _ in range(12))]

    def some_time() -> str:
        return f"{datetime(2026, 1, 1) + timedelta(minutes=chance.randrange(700_000)):%Y-%m-%d %H:%M:%S}"

    for _ in range(70):
        author = chance.choice(people)
        post = town.post(author, created_at=some_time())
        for _ in range(chance.choice((0, 1, 1, 2))):
            town.media(post, author, created_at=some_time(), updated_at=some_time())
        for name in chance.sample(sorted(touches), chance.choice((0, 0, 1, 1, 2))):
            with contextlib.suppress(psycopg.errors.UniqueViolation):  # both ways to mention somebody
                touches[name].do(town, post, some_time())
    for account in people:
        town.picture(account, "avatar")
        for name in chance.sample(sorted(PEOPLE), chance.choice((0, 1, 2))):
            if town.has(PEOPLE[name].table):
                PEOPLE[name].do(town, account, some_time())


@pytest.mark.parametrize("seed", range(int(os.environ.get("MASTOMEND_SEEDS", "6"))))
def test_a_slow_oracle_decides_the_same(make_instance: MakeInstance, seed: int) -> None:
    """Random terms and clocks; what the oracle keeps stays, and nothing else does."""
    chance = random.Random(seed)
    instance = make_instance(VERSIONS[seed % len(VERSIONS)])
    at_random(Town.of(instance), chance)
    terms = {name: chance.choice((0, 20 * DAY, 200 * DAY, FOREVER)) for name in default_terms()}
    policy = Policy({"attachments": 60 * DAY, "avatars": 90 * DAY}, keep=terms)
    terms = {**terms, "suspended": FOREVER}  # whatever the policy says
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=chance.randrange(100, 900))
    found, moment = goes(pruned(instance, policy, now=now)), int(now.timestamp())
    oracle = Oracle(instance)
    posts, accounts = oracle.posts(), oracle.people()
    expected = set()
    for row in oracle.rows("media_attachments"):
        used = min(moment, max(epoch(row["created_at"]), epoch(row["updated_at"])))
        ties = posts.get(row["status_id"], []) + [
            tie for tie in accounts.get(row["account_id"], []) if tie[0] == "suspended"
        ]
        if moment - used > 60 * DAY and not is_kept(ties, terms, used, moment, FOREVER):
            expected.add(("attachments", row["id"]))
    for number, row in oracle.accounts.items():
        if row["avatar_file_name"] is not None and row["domain"] is not None:
            used = min(moment, epoch(row["avatar_updated_at"]))
            if moment - used > 90 * DAY and not is_kept(accounts.get(number, []), terms, used, moment, FOREVER):
                expected.add(("avatars", number))
    assert found == expected, seed
    files = len(instance.media.keys())
    done = pruned(instance, policy, now=now, apply=True)
    assert done.evicted.records == len(expected) and done.left == []
    assert len(instance.media.keys()) == files - done.files
    assert goes(pruned(instance, policy, now=now)) == set()


# --- budgets ------------------------------------------------------------------------------------------------------


def row_of(instance: SimulatedInstance, table_name: str, number: int) -> dict[str, object]:
    found = instance.db.execute(f"SELECT * FROM {table_name} WHERE id = %s", [number]).fetchone()
    assert found is not None
    return dict(found)


@pytest.mark.parametrize("budget", [0, 1, 3_333, 7_000, 20_000])
def test_a_budget_is_met_within_one_file(make_instance: MakeInstance, budget: int) -> None:
    instance = make_instance()
    town = Town.of(instance)
    sizes = {town.media(town.post(), size=100 + 37 * i): 100 + 37 * i for i in range(25)}
    total = sum(sizes.values())
    done = pruned(instance, Policy(budget=budget), apply=True)
    left = total - done.evicted.bytes
    assert left <= budget and (total <= budget) == (done.evicted.records == 0)
    assert sum(sizes[one] for one in cached(instance)) == left
    gone = table(f"SELECT bytes FROM '{instance.state}/scans/{done.scan}/evictions.parquet' ORDER BY number")
    if gone:
        assert left + gone[-1]["bytes"] > budget, "no more than it takes"
    again = pruned(instance, Policy(budget=budget), apply=True)
    assert (again.evicted.records, again.over) == (0, 0)


def test_what_is_kept_does_not_fit_and_that_is_said(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    kept = town.post()
    town.media(kept, size=5_000)
    town.media(town.post(), size=2_000)
    possible(town)["bookmark"].do(town, kept, "2026-01-01")
    report = pruned(instance, Policy(budget=1_000))
    assert (report.goes.records, report.over, report.stays.bytes) == (1, 4_000, 5_000)


def test_each_kind_has_its_own_budget_and_nothing_of_ones_own_users_ever_goes(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(4):
        account = town.account()
        town.picture(account, "avatar", 1_000)
        town.picture(account, "header", 2_000)
    record(instance, AVATARS)
    record(instance, HEADERS)
    record(instance, MEDIA_FILES, shortcode="x", remote_url="")
    own = set(instance.files)
    policy = Policy(budgets={"headers": 0, "avatars": 2_000, "attachments": 0})
    done = pruned(instance, policy, apply=True)
    assert {unit: goes.records for unit, (_, _, goes) in done.by_unit.items()} == {"avatars": 2, "headers": 4}
    assert {key for key in instance.media.keys() if "/avatars/" in key} - own != set()
    assert own <= instance.media.keys() and not [key for key in instance.media.keys() - own if "/headers/" in key]


def test_the_least_valuable_goes_first(make_instance: MakeInstance) -> None:
    """Somebody touched it once, whoever posted it is followed, it was used lately: each counts."""
    instance = make_instance()
    town = Town.of(instance)
    plain = town.media(town.post())
    followed = town.media(town.post(town.friend), town.friend)
    touched_post = town.post()
    touched = town.media(touched_post)
    possible(town)["favourite"].do(town, touched_post, "2026-01-02")
    young = town.media(town.post(), created_at="2027-05-30", updated_at="2027-05-30")
    large = town.media(town.post(), size=5_000_000)
    terms = {**default_terms(), "favourited": 10 * DAY}
    report = pruned(instance, Policy(budget=0, keep=terms))
    order = [row["id"] for row in table(f"SELECT id FROM '{report.report}' ORDER BY number")]
    assert order == [large, plain, followed, touched, young]
    standing = [one.standing for one in report.groups for _ in range(one.all.records)]
    assert sorted(standing) == ["followed", "stranger", "stranger", "stranger", "touched"]


def test_a_disk_is_kept_free(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(10):
        town.media(town.post(), size=1_000)

    class Usage:
        free, used = 7_000, 50_000

    monkeypatch.setattr("mastomend.commands.prune.shutil.disk_usage", lambda path: Usage)
    assert pruned(instance, Policy(), keep_free=7_000).goes.records == 0
    report = pruned(instance, Policy(), keep_free=9_500)
    assert (report.to_free, report.goes.records, report.over) == (2_500, 3, 0)
    assert pruned(instance, Policy(), keep_free=20_000).over == 3_000


# --- terms --------------------------------------------------------------------------------------------------------


def test_servers_and_strangers_have_terms_of_their_own(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    near = instance.insert("accounts", username="n", domain="sub.near.example", uri="https://near.example/n")
    when: dict[str, Any] = {"created_at": "2027-05-20", "updated_at": "2027-05-20"}
    stranger = town.media(town.post(), **when)
    friend = town.media(town.post(town.friend), town.friend, **when)
    theirs = town.media(town.post(near), near, **when)
    old = town.media(town.post(town.friend), town.friend)
    base = Policy({"attachments": 30 * DAY})
    assert goes(pruned(instance, base)) == {("attachments", old)}
    for policy, wanted in (
        (Policy({"attachments": 30 * DAY}, strangers=7 * DAY), {old, stranger, theirs}),
        (Policy(strangers=7 * DAY, ages={"attachments": FOREVER}), {stranger, theirs}),
        (Policy({"attachments": 30 * DAY}, domains={"near.example": 3 * DAY}), {old, theirs}),
        (Policy({"attachments": 3 * DAY}, domains={"near.example": FOREVER}), {old, stranger, friend}),
    ):
        assert {number for _, number in goes(pruned(instance, policy))} == wanted, policy


def test_cards_go_by_their_posts_and_emoji_by_name_only(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)

    def card(post: int) -> int:
        made = record(instance, PREVIEW_CARDS, url=f"https://far.example/{post}")
        instance.db.execute(
            "INSERT INTO preview_cards_statuses (preview_card_id, status_id) VALUES (%s, %s)", [made.id, post]
        )
        return made.id

    ours, plain, liked = town.post(town.me), town.post(), town.post()
    possible(town)["favourite"].do(town, liked, "2026-01-01")
    kept, gone = {card(ours), card(liked)}, card(plain)
    emoji = record(instance, EMOJIS, domain="far.example", remote_url="https://far.example/e")
    report = pruned(instance, Policy(budget=0))
    assert goes(report) == set(), "neither is spoken of"
    report = pruned(instance, Policy({"preview_cards": 30 * DAY}))
    assert goes(report) == {("preview_cards", gone)} and report.kept.keys() == {"posted", "favourited"} and kept
    assert goes(pruned(instance, Policy({"emojis": 30 * DAY}))) == {("emojis", emoji.id)}


def test_what_could_not_come_back_stays(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    gone = town.account()
    instance.db.execute("UPDATE accounts SET domain = 'dead.example' WHERE id = %s", [gone])
    instance.insert("unavailable_domains", domain="dead.example")
    town.media(town.post(gone), gone)
    town.picture(gone)
    town.picture(town.friend)
    instance.db.execute("UPDATE accounts SET avatar_remote_url = '' WHERE id = %s", [town.friend])
    instance.db.execute("DELETE FROM follows")
    report = pruned(instance, Policy({"attachments": DAY, "avatars": DAY}))
    assert goes(report) == set() and set(report.kept) == {"unreachable", "no_address"}
    terms = {**default_terms(), "unreachable": 0}
    assert goes(pruned(instance, Policy({"attachments": DAY, "avatars": DAY}, keep=terms))) != set()


@pytest.mark.parametrize("form", ["nginx", "caddy"])
def test_a_look_makes_younger_and_its_absence_evicts_nothing(
    make_instance: MakeInstance, tmp_path: Path, form: str
) -> None:
    instance = make_instance()
    town = Town.of(instance)
    looked, proxied, failed, never = (town.media(town.post()) for _ in range(4))
    path = {
        number: next(key for key in instance.media.keys() if partition_of(number) in key and "/small/" in key)
        for number in (looked, failed)
    }
    asked = [
        (f"/system/{path[looked]}?x=1", 200), (f"/media_proxy/{proxied}/small", 302), (f"/system/{path[failed]}", 404),
        ("/about", 200),
    ]  # fmt: skip
    if form == "nginx":
        lines = [
            f'1.2.3.4 - - [20/May/2027:10:00:00 +0200] "GET {uri} HTTP/2.0" {status} 12 "-" "Mozilla/5.0 (\\"x\\")"'
            for uri, status in asked
        ]
    else:
        lines = [
            json.dumps({"level": "info", "ts": 1810800000.5, "request": {"method": "GET", "uri": uri}, "status": status},
                       separators=(",", ":"))
            for uri, status in asked
        ]  # fmt: skip
    log = tmp_path / "access.log.2.gz"
    log.write_bytes(gzip.compress("\n".join([*lines, "garbage", ""]).encode()))
    report = pruned(instance, Policy({"attachments": 60 * DAY}), access_logs=(log,))
    assert {number for _, number in goes(report)} == {failed, never} and report.looks == 2
    assert {number for _, number in goes(pruned(instance, Policy({"attachments": 60 * DAY})))} == {
        looked, proxied, failed, never,
    }  # fmt: skip
    other = tmp_path / "no.log"
    other.write_text("these are\nno lines of a log\n")
    with pytest.raises(ConfigurationError, match="is no access log"):
        pruned(instance, Policy({"attachments": DAY}), access_logs=(other,))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pruned(instance, Policy({"attachments": DAY}), access_logs=(tmp_path / "missing",))


def partition_of(number: int) -> str:
    digits = f"{number:018d}"
    return "/".join(digits[i : i + 3] for i in range(0, 18, 3))


# --- letting go ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_what_went_comes_back_by_mastodon_s_own_rule_and_is_not_broken(
    make_instance: MakeInstance, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    town = Town.of(instance)
    record(instance, AVATARS)
    own = set(instance.media.keys())
    media = town.media(
        town.post(), thumbnail_file_name="t.png", thumbnail_content_type="image/png", thumbnail_file_size=5
    )
    instance.media.write(f"media_attachments/thumbnails/{partition_of(media)}/original/t.png", b"12345")
    before = row_of(instance, "media_attachments", media)
    done = pruned(instance, Policy({"attachments": DAY}), apply=True)
    assert (done.evicted.records, done.evicted.bytes, done.files) == (1, 105, 3)
    after = row_of(instance, "media_attachments", media)
    names = ("file_name", "content_type", "file_size", "updated_at")
    emptied = {f"{one}_{name}" for one in ("file", "thumbnail") for name in names}
    assert {name for name in after if after[name] != before[name]} <= emptied and not any(
        after[name] for name in emptied
    )
    # Mastodon's own rule (facts §0.3): no file name, and an address
    assert after["file_file_name"] is None and after["remote_url"], "the media proxy fetches it when somebody looks"
    assert instance.media.keys() == own
    found = check(opened(instance))
    assert (found.broken, sum(kind.expected for kind in found.kinds)) == (0, len(own)), "nothing of it is expected"
    back = undo(opened(instance), done.run, apply=True)
    assert (back.reverted, back.irreversible) == (1, 1) and "gone" in back.details[0]
    assert row_of(instance, "media_attachments", media) == before
    assert check(opened(instance)).broken >= 1, "its files are still gone: a repair fetches them"
    assert "3 files deleted for good" in tool(instance.env, "history").stdout
    again = pruned(instance, Policy({"attachments": DAY}), apply=True, max_missing_percent=100.0)
    said = tool(instance.env, "undo", again.run, "--apply")
    assert "They are fetched by:" in " ".join(said.stdout.split()) and "repair --apply" in said.stdout


def test_both_pictures_of_an_account_go_in_one_run(make_instance: MakeInstance) -> None:
    """They are columns of one row, and neither holds the other up."""
    instance = make_instance()
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    people = [town.account() for _ in range(3)]
    for one in people:
        town.picture(one)
        town.picture(one, "header")
    done = pruned(instance, Policy({"avatars": DAY, "headers": DAY}), apply=True)
    assert (done.evicted.records, done.left_alone) == (6, 0), done.left
    rows = instance.db.execute("SELECT avatar_file_name, header_file_name FROM accounts WHERE id = ANY(%s)", [people])
    assert {value for row in rows for value in row.values()} == {None}


def test_whoever_touches_it_meanwhile_keeps_it(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the judgement and the deed: a favourite, a re-download, a new owner, an open transaction."""
    instance = make_instance()
    town = Town.of(instance)
    posts = [town.post() for _ in range(5)]
    liked, viewed, ours, busy, gone = (town.media(post) for post in posts)
    town.picture(people := town.account())
    real = prune_module._planned

    def planned(*arguments: object) -> PruneReport:
        report = real(*arguments)  # type: ignore[arg-type]
        possible(town)["favourite"].do(town, posts[0], "2026-01-01")
        PEOPLE["follow"].do(town, people, "2026-01-01")
        instance.db.execute("UPDATE media_attachments SET created_at = '2027-05-31' WHERE id = %s", [viewed])
        instance.db.execute("UPDATE media_attachments SET remote_url = '' WHERE id = %s", [ours])
        return report

    monkeypatch.setattr(prune_module, "_planned", planned)
    with psycopg.connect(**instance.db.info.get_parameters()) as other:  # type: ignore[arg-type]
        other.execute("UPDATE media_attachments SET blurhash = 'x' WHERE id = %s", [busy])
        done = pruned(instance, Policy({"attachments": DAY, "avatars": DAY}), apply=True)
    assert cached(instance) == {liked, viewed, ours, busy} and done.evicted.records == 1
    assert {number: one.reason for number, one in outcomes(done).items() if one.reason != "aged"} == {
        liked: "kept", viewed: "used", ours: "local", busy: "in_flight", people: "kept",
    }  # fmt: skip
    assert gone not in cached(instance)


def test_an_unmounted_disk_empties_no_row(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    made = {town.media(town.post()) for _ in range(60)}
    for key in sorted(instance.media.keys())[:80]:
        instance.media.delete(key)
    report = pruned(instance, Policy({"attachments": DAY}))
    assert report.stops and report.goes.records == 60
    with pytest.raises(SafetyStop, match="missing"):
        pruned(instance, Policy({"attachments": DAY}), apply=True)
    assert cached(instance) == made
    done = pruned(instance, Policy({"attachments": DAY}), apply=True, max_missing_percent=100)
    assert cached(instance) == set() and done.evicted.records == 60


def test_two_prunings_at_once_and_a_limit(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(12):
        town.media(town.post())
    planned = pruned(instance, Policy({"attachments": DAY}), limit=5)
    assert planned.taken.records == 5 < planned.goes.records
    done = pruned(instance, Policy({"attachments": DAY}), apply=True, limit=5)
    assert done.evicted.records == 5 and len(cached(instance)) == 7
    stopped: list[BaseException] = []

    def other() -> None:
        try:
            pruned(instance, Policy({"attachments": DAY}), apply=True)
        except SafetyStop as stop:
            stopped.append(stop)

    threads = [threading.Thread(target=other) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cached(instance) == set() and len(stopped) <= 2
    assert check(opened(instance)).broken == 0 and repair(opened(instance), RepairOptions()).records == 0


def test_what_may_not_be_looked_at_stays(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    record(instance, AVATARS)
    one, other = town.media(town.post()), town.media(town.post())
    assert isinstance(instance.media, DiskMedia)
    loop = instance.media.root / f"cache/media_attachments/files/{partition_of(one)}/small"
    shutil.rmtree(loop)
    loop.symlink_to(loop)
    report = pruned(instance, Policy({"attachments": DAY}))
    assert goes(report) == {("attachments", other)} and report.kept.keys() == {"unseen"}
    assert pruned(instance, Policy(budget=0), apply=True).evicted.records == 1 and cached(instance) == {one}


@pytest.mark.parametrize("number", [3, 20])
def test_a_disk_that_is_unmounted_meanwhile_empties_no_row(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    instance = make_instance()
    town = Town.of(instance)
    made = {town.media(town.post()) for _ in range(number)}
    real = prune_module._planned

    def planned(*arguments: object) -> PruneReport:
        report = real(*arguments)  # type: ignore[arg-type]
        for key in instance.media.keys():
            instance.media.delete(key)
        return report

    monkeypatch.setattr(prune_module, "_planned", planned)
    if number > 10:
        with pytest.raises(SafetyStop, match="unmounted meanwhile"):
            pruned(instance, Policy({"attachments": DAY}), apply=True)
    else:
        assert pruned(instance, Policy({"attachments": DAY}), apply=True).left_alone == number
    assert cached(instance) == made


def test_strangers_and_servers_alone_are_no_age_for_everybody(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    stranger, friend = town.media(town.post()), town.media(town.post(town.friend), town.friend)
    for given, gone in (([("strangers", "7d")], {stranger}), ([("domain-term", "far.example=7d")], {stranger, friend})):
        wanted = with_options(Wishes(), given)
        assert {number for _, number in goes(pruned(instance, wanted.policy))} == gone
    assert with_options(Wishes(), [("domain-term", "elsewhere.example=1d")]).policy.ages == {}
    assert with_options(Wishes(), [("keep", "thread=3d")]).policy.ages == {"attachments": 30 * DAY}


def test_what_an_own_user_brought_along_is_theirs(make_instance: MakeInstance) -> None:
    """It has an address elsewhere, as imports from other software leave it."""
    instance = make_instance()
    town = Town.of(instance)
    brought = town.media(town.post(town.me), town.me)
    orphaned = town.media(None, town.they)
    instance.db.execute("UPDATE media_attachments SET account_id = NULL WHERE id = %s", [orphaned])
    done = pruned(instance, Policy(budget=0), apply=True)
    assert cached(instance) == {brought} and done.evicted.records == 1


def test_a_limit_does_not_make_it_fit(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    for _ in range(6):
        town.media(town.post(), size=1_000)
    assert pruned(instance, Policy(budget=1_000), apply=True, limit=1).over == 4_000


def test_a_wrong_bucket_shows_whatever_is_selected(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    record(instance, AVATARS)
    lonely = town.account("lonely")
    mine = {town.media(town.post(lonely), lonely) for _ in range(4)}
    for _ in range(12):
        town.media(town.post())
    for key in instance.media.keys():
        if "media_attachments" in key:
            instance.media.delete(key)
    only = Selection(accounts=(Account("lonely", "far.example"),))
    with pytest.raises(SafetyStop, match="taken at random"):
        pruned(instance, Policy({"attachments": DAY}), selection=only, apply=True)
    assert mine <= cached(instance)


def test_options_about_what_is_left_out_are_refused(make_instance: MakeInstance) -> None:
    """They would be ignored silently: somebody would wait for room that never comes."""
    instance = make_instance()
    for words in (["headers", "--attachments", "60d"], ["avatars", "--budget", "headers=1GB"],
                  ["--exclude", "preview_cards", "--preview-cards", "9d"]):  # fmt: skip
        done = tool(instance.env, "prune", *words)
        assert done.returncode == 2 and "is about what is left out" in done.stderr, (words, done.stderr)
    assert tool(instance.env, "prune", "headers", "--headers", "60d").returncode == 0
