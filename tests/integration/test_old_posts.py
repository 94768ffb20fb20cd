"""`prune --statuses`: nobody's posts go, and come back row by row."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from broken import table
from conftest import MakeInstance, opened
from oracle import Oracle
from tool import run as tool
from touches import Town, possible

from mastomend.commands import old_posts
from mastomend.commands.old_posts import prune_posts
from mastomend.commands.prune_report import PruneReport
from mastomend.commands.undo import undo
from mastomend.database.busy import rest
from mastomend.database.reader import MastodonDatabase
from mastomend.demo.instance import VERSIONS, SimulatedInstance
from mastomend.errors import ConfigurationError

LATER = datetime(2027, 6, 1, tzinfo=UTC)


def pruned(instance: SimulatedInstance, days: int = 90, *, now: datetime = LATER, **options: Any) -> PruneReport:
    return prune_posts(opened(instance), timedelta(days=days), now=lambda: now, **{"apply": False, **options})


def everything(instance: SimulatedInstance) -> dict[str, Counter[str]]:
    """Every row of every table, as text."""
    tables = [
        row["relname"]
        for row in instance.db.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    ]
    return {
        name: Counter(row["row"] for row in instance.db.execute(f"SELECT to_jsonb(t)::text AS row FROM {name} t"))
        for name in tables
    }


def posts(instance: SimulatedInstance) -> set[int]:
    return {row["id"] for row in instance.db.execute("SELECT id FROM statuses")}


def burdened(town: Town, post: int) -> None:
    """All that goes with a post or changes when it goes, and says of nobody here that they care."""
    instance = town.instance
    town.media(post)
    town.insert("status_edits", status_id=post, account_id=town.they, text="ä \\ \" 'quoted'")
    town.insert("status_stats", status_id=post)
    town.insert("favourites", account_id=town.friend, status_id=post)
    town.insert("mentions", account_id=town.friend, status_id=post)
    poll = town.insert("polls", account_id=town.they, status_id=post, options=["a", "b"])
    town.insert("poll_votes", account_id=town.friend, poll_id=poll)
    tag = town.insert("tags", name=f"t{post}")
    instance.db.execute("INSERT INTO statuses_tags (status_id, tag_id) VALUES (%s, %s)", [post, tag])
    town.post(town.they, reblog_of_id=post)
    if town.has("quotes"):
        town.insert("quotes", account_id=town.they, status_id=post, state=1)
        town.insert("quotes", account_id=town.they, status_id=town.post(town.friend), quoted_status_id=post, state=1)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_goes_comes_back_row_by_row(make_instance: MakeInstance, version: str) -> None:
    instance = make_instance(version)
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    gone = [town.post() for _ in range(4)]
    for post in gone:
        burdened(town, post)
    before, there = everything(instance), posts(instance)
    report = pruned(instance)
    assert report.goes.records == 4 and everything(instance) == before, "with a boost of each; nothing was done"
    done = pruned(instance, apply=True)
    assert (done.left, posts(instance)) == ([], there - set(gone) - boosts_of(before, gone))
    assert everything(instance) != before
    assert not instance.db.execute("SELECT 1 FROM media_attachments WHERE status_id IS NOT NULL").fetchone()
    back = undo(opened(instance), done.run, apply=True)
    assert (back.conflicts, back.irreversible) == (0, 0)
    after = everything(instance)
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}
    again = undo(opened(instance), back.run, apply=True)
    assert posts(instance) & set(gone) == set() and again.conflicts == 0
    undo(opened(instance), again.run, apply=True)
    assert everything(instance) == before


def boosts_of(before: dict[str, Counter[str]], gone: list[int]) -> set[int]:
    rows = [json.loads(row) for row in before["statuses"]]
    return {row["id"] for row in rows if row["reblog_of_id"] in gone}


@pytest.mark.parametrize("seed", range(int(os.environ.get("MASTOMEND_SEEDS", "6"))))
def test_what_goes_is_less_than_what_tootctl_removes_and_nobody_s(make_instance: MakeInstance, seed: int) -> None:
    """On random posts, touches and boosts; tootctl's rule and the oracle are replayed in Python."""
    chance = random.Random(seed)
    instance = make_instance(VERSIONS[seed % len(VERSIONS)])
    instance.media.write("kept", b"x")
    town = Town.of(instance)
    touches = possible(town)
    people = [town.they, town.friend, town.account(), town.account()]
    made: list[int] = []
    for _ in range(80):
        when = f"{datetime(2026, 1, 1) + timedelta(days=chance.randrange(700)):%Y-%m-%d}"
        number = (int(datetime.fromisoformat(when).timestamp() * 1000) << 16) + len(made)
        values: dict[str, Any] = {"id": number, "created_at": when}
        if made and chance.random() < 0.3:
            values[chance.choice(("in_reply_to_id", "reblog_of_id"))] = chance.choice(made)
        account = town.me if chance.random() < 0.1 else chance.choice(people)
        made.append(town.post(account, **values))
        for name in chance.sample(sorted(touches), chance.choice((0, 0, 0, 1))):
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                touches[name].do(town, made[-1], when)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=chance.randrange(200, 900))
    oracle, before = Oracle(instance), posts(instance)
    cut_off = now - timedelta(days=60)
    ties, removable = oracle.posts(), tootctl(oracle, cut_off)
    done = pruned(instance, 60, now=now, apply=True)
    gone = before - posts(instance)
    assert gone <= removable, "tootctl would have spared it"
    assert not [one for one in gone if one in ties], "somebody here cares for it"
    expected = {one for one in removable if one not in ties}
    while held := {
        one
        for one in expected
        if any(s["reblog_of_id"] == one and n not in expected for n, s in oracle.statuses.items())
    }:
        expected -= held
    assert gone == expected and done.evicted.records <= len(gone) and done.left_alone == 0
    undo(opened(instance), done.run, apply=True)
    assert posts(instance) == before


def tootctl(oracle: Oracle, cut_off: datetime) -> set[int]:
    """What `tootctl statuses remove` would delete (facts §8.4)."""
    first = int(cut_off.timestamp() * 1000) << 16
    statuses = oracle.statuses

    def local(one: dict[str, Any]) -> bool:
        return bool(one["local"]) or one["uri"] is None

    answered = {one["in_reply_to_id"] for one in statuses.values()}
    boosted = {one["reblog_of_id"] for number, one in statuses.items() if local(one) or number >= first}
    touched = {row["status_id"] for row in oracle.rows("status_pins")}
    for name in ("mentions", "favourites", "bookmarks"):
        touched |= {row["status_id"] for row in oracle.rows(name) if row["account_id"] in oracle.here}
    followed = {row["target_account_id"] for row in oracle.rows("follows")}
    return {
        number
        for number, one in statuses.items()
        if number < first
        and not local(one)
        and one["deleted_at"] is None
        and number not in answered | boosted | touched
        and not (one["reblog_of_id"] and local(statuses[one["reblog_of_id"]]))
        and one["account_id"] not in followed
    }


def test_what_is_touched_meanwhile_stays_and_what_mastodon_fetched_again_is_left(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    liked, answered, busy, gone, again = (town.post() for _ in range(5))
    real = old_posts._plans

    def plans(*arguments: Any) -> Any:
        possible(town)["favourite"].do(town, liked, "2026-01-01")
        town.post(town.friend, in_reply_to_id=answered)
        return real(*arguments)

    monkeypatch.setattr(old_posts, "_plans", plans)
    with psycopg.connect(**instance.db.info.get_parameters()) as other:  # type: ignore[arg-type]
        other.execute("SELECT 1 FROM statuses WHERE id = %s FOR UPDATE", [busy])
        done = pruned(instance, apply=True)
    assert (done.evicted.records, done.left_alone) == (2, 3) and {liked, answered, busy} <= posts(instance)
    words = "\n".join(done.left)
    assert "care for it: favourited" in words and "answered or boosted" in words and "right now" in words
    uri = instance.db.execute("SELECT uri FROM statuses WHERE id = %s", [gone]).fetchone()
    assert uri is None
    (archive,) = (instance.state / "runs" / done.run).glob("statuses-*.parquet.0")
    (kept,) = [json.loads(row["row"]) for row in table(f"SELECT * FROM read_parquet('{archive}') WHERE post = {again}")]
    fetched = instance.insert("statuses", account_id=town.they, uri=kept["uri"], local=False)
    back = undo(opened(instance), done.run, apply=True)
    assert (back.reverted, back.conflicts) == (1, 1) and f"fetched it again, as {fetched}" in back.details[0]
    assert gone in posts(instance) and again not in posts(instance)


def test_mastodon_s_own_retention_is_no_company(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.insert("settings", var="content_cache_retention_period", value="--- 30\n")
    with pytest.raises(ConfigurationError, match="content cache retention is set"):
        pruned(instance)
    with pytest.raises(ConfigurationError, match="seven days"):
        pruned(instance, 3)


def test_search_hears_of_it_where_there_is_one(make_instance: MakeInstance, redis_port: int) -> None:
    import redis

    instance = make_instance("4.5", redis_port=redis_port)
    instance.env.write_text(instance.env.read_text() + "ES_ENABLED=true\n")
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    post = town.post()
    done = pruned(instance, apply=True)
    with redis.Redis(port=redis_port) as server:
        assert server.smembers("chewy:queue:StatusesIndex") == {str(post).encode()}
        server.flushall()
        undo(opened(instance), done.run, apply=True)
        assert server.smembers("chewy:queue:PublicStatusesIndex") == {str(post).encode()}


def test_one_that_quotes_another_comes_back_as_well(make_instance: MakeInstance) -> None:
    """Whichever of the two is the older."""
    instance = make_instance("4.6")
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    made = [town.post() for _ in range(4)]
    for quoting, quoted in ((0, 1), (3, 2)):
        town.insert("quotes", account_id=town.they, status_id=made[quoting], quoted_status_id=made[quoted], state=1)
    before = everything(instance)
    done = pruned(instance, apply=True)
    assert done.evicted.records == 4
    assert undo(opened(instance), done.run, apply=True).conflicts == 0
    assert everything(instance) == before


def test_a_redo_that_meets_conflicts_loses_nothing(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of an undo and a redo need not be those of the archive: what is archived is never written over."""
    instance = make_instance()
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    monkeypatch.setattr(old_posts, "TOGETHER", 4)
    monkeypatch.setattr("mastomend.actions.run.BATCH", 3)
    monkeypatch.setattr("mastomend.actions.taking_back.BATCH", 3)
    made = [town.post() for _ in range(10)]
    uris = {row["id"]: row["uri"] for row in instance.db.execute("SELECT id, uri FROM statuses")}
    done = pruned(instance, apply=True)
    taken = instance.insert("statuses", account_id=town.they, uri=uris[made[4]], local=False)
    back = undo(opened(instance), done.run, apply=True)
    assert (back.reverted, back.conflicts) == (9, 1)
    instance.db.execute("DELETE FROM statuses WHERE id = %s", [taken])
    redone = undo(opened(instance), back.run, apply=True)
    assert redone.conflicts == 0 and posts(instance) & set(made) == set()
    assert undo(opened(instance), redone.run, apply=True).reverted == 9
    assert posts(instance) & set(made) == set(made) - {made[4]}


def test_a_newer_version_and_a_fork_s_own_column_are_no_hindrance(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    instance.db.execute("ALTER TABLE statuses ADD COLUMN searched text GENERATED ALWAYS AS (text || 'x') STORED")
    post = town.post(text="a")
    done = pruned(instance, apply=True)
    instance.db.execute("ALTER TABLE statuses ADD COLUMN later integer NOT NULL DEFAULT 7")
    assert undo(opened(instance), done.run, apply=True).conflicts == 0
    row = instance.db.execute("SELECT later, searched FROM statuses WHERE id = %s", [post]).fetchone()
    assert row == {"later": 7, "searched": "ax"}


def test_what_its_author_deleted_is_not_brought_back_nor_what_no_archive_has(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    instance.media.write("kept", b"x")
    town.post()
    uri = instance.db.execute("SELECT uri FROM statuses WHERE uri IS NOT NULL").fetchone()
    done = pruned(instance, apply=True)
    instance.insert("tombstones", account_id=town.they, uri=uri["uri"])  # type: ignore[index]
    back = undo(opened(instance), done.run, apply=True)
    assert (back.reverted, back.conflicts) == (0, 1) and "author has deleted it" in back.details[0]
    (archive,) = (instance.state / "runs" / done.run).glob("*.parquet.0")
    archive.write_bytes(archive.read_bytes()[:100])
    assert "cannot be read" in undo(opened(instance), done.run, apply=True).details[0]
    archive.unlink()
    dry = undo(opened(instance), done.run, apply=False)
    assert (dry.reverted, dry.conflicts) == (0, 1) and "is gone" in dry.details[0]


def test_who_votes_or_boosts_while_it_goes_is_waited_for_or_archived(make_instance: MakeInstance) -> None:
    """What refers to what goes is locked: a vote comes before, and keeps it, or finds no poll."""
    instance = make_instance()
    town = Town.of(instance)
    post = town.post()
    poll = town.insert("polls", account_id=town.they, status_id=post)
    with psycopg.connect(**instance.db.info.get_parameters()) as other:  # type: ignore[arg-type]
        vote = "INSERT INTO poll_votes (account_id, poll_id, created_at, updated_at) VALUES (%s, %s, now(), now())"
        other.execute(vote, [town.me, poll])
        done = pruned(instance, apply=True)
        assert (done.evicted.records, done.left_alone) == (0, 1) and "right now" in done.left[0]
    assert post in posts(instance) and pruned(instance).goes.records == 0, "the vote was counted"


def test_a_busy_database_is_left_alone(make_instance: MakeInstance) -> None:
    """Others' statements are waited for, a minute at most; replicas by `read_lag_s` in the same way."""
    instance = make_instance()
    slept: list[float] = []
    with (
        contextlib.ExitStack() as stack,
        MastodonDatabase(opened(instance).configuration.database, "mastomend test") as database,
    ):
        rest(database, 0.5, slept.append)
        assert slept == [0.5], "nobody else is there"
        many = [stack.enter_context(psycopg.connect(**instance.db.info.get_parameters())) for _ in range(14)]  # type: ignore[arg-type]
        threads = [threading.Thread(target=one.execute, args=["SELECT pg_sleep(2)"]) for one in many]
        for thread in threads:
            thread.start()
        slept.clear()

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            time.sleep(0.1)

        rest(database, 20, sleep)
        assert slept[0] == 5.0 and 2 < len(slept) < 61
        for thread in threads:
            thread.join()


def test_as_from_a_shell(make_instance: MakeInstance) -> None:
    """The dry run says what a limited run takes; the history, and the way back, speak of posts."""
    instance = make_instance()
    town = Town.of(instance)
    for n in range(3):
        old = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n)
        town.post(id=int(old.timestamp() * 1000) << 16, created_at=f"{old:%Y-%m-%d}")
    instance.media.write("kept", b"x")
    words = ["prune", "--statuses", "90d", "--limit", "2"]
    said = tool(instance.env, *words)
    assert "3 posts would be archived" in said.stdout and "this run takes 2 posts, the oldest" in said.stdout
    assert json.loads(tool(instance.env, *words, "--json").stdout)["records"] == 2
    assert tool(instance.env, *words, "--apply").returncode == 0 and len(posts(instance)) == 1
    past = tool(instance.env, "history").stdout
    assert "2 archived; 2 posts deleted" in past and "set aside" not in past
    assert tool(instance.env, "undo", "latest", "--apply").returncode == 0 and len(posts(instance)) == 3
    (back, first) = json.loads(tool(instance.env, "history", "--json").stdout)["runs"]
    assert (first["posts_deleted"], back["posts_restored"]) == (2, 2)


def test_it_goes_alone(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    town.post()
    for words in (
        ["--domain", "a.example"],
        ["--exclude", "b.example"],
        ["--lifecycle"],
        ["--budget", "1GB"],
        ["avatars"],
    ):
        done = tool(instance.env, "prune", "--statuses", "90d", "--apply", *words)
        assert done.returncode == 2 and "goes alone" in done.stderr, words
    assert len(posts(instance)) == 1
