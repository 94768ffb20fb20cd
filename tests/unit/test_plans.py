"""Plans as text: what is decided for one record, readable like a sentence (facts §10)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mastomend.actions.actions import CopyFile, PutFile
from mastomend.actions.quarantine import quarantine_key
from mastomend.inventory.inspect import target
from mastomend.mastodon.jobs import redownload_job
from mastomend.mastodon.keys import Key, Record
from mastomend.mastodon.kinds import AVATARS, PREVIEW_CARDS, SITE_UPLOADS, Kind
from mastomend.mastodon.moderation import Moderation
from mastomend.outcomes import Source
from mastomend.plans.cleanup import Kept, no_longer_needed, purge
from mastomend.plans.repair import (
    Naming,
    NewFiles,
    Situation,
    plan_record,
    plan_stored,
    undownloadable,
    untouchable,
)
from mastomend.plans.reset import plan_reset
from mastomend.storage.bodies import measure
from mastomend.vocabulary import Finding, Row, State, Target

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
BASE = "cache/accounts/avatars/000/000/007"


def avatar(file_name: str = "aaaa.png", content_type: str = "image/png", size: int = 5) -> Target:
    record = Record(7, False, file_name, content_type, size, 1)
    return target(AVATARS, Row(record, "s.example", "https://s.example/a", False, False), "")


def broken(t: Target, style: str = "original", state: State = State.MISSING) -> Finding:
    key = next((f.key for f in t.files if f.style == style), "")
    record = t.row.record
    return Finding(t.kind.name, 7, style, key, state, False, "s.example", None, record.file_name, None, None, None, "")


def plan(t: Target, findings: list[Finding], present: dict[str, int], made: NewFiles, **columns: str | None) -> str:
    record = t.row.record
    known = {
        "avatar_file_name": record.file_name,
        "avatar_content_type": record.content_type,
        "avatar_file_size": str(record.file_size),
        "avatar_updated_at": "2026-01-01 00:00:00",
        "avatar_storage_schema_version": "1",
        "updated_at": "2026-01-01 00:00:00",
        **columns,
    }
    return str(plan_record(t, findings, made, Situation(present, known), Naming("run", "", "f" * 16, NOW)))


PNG = NewFiles("image/png", {"original": measure(b"12345")}, {}, None, 5)


def test_same_bytes_same_key_row_untouched() -> None:
    t = avatar()
    assert plan(t, [broken(t)], {}, PNG) == (
        f"accounts/avatars 7: restored\n  put 5 bytes (image/png) at {BASE}/original/aaaa.png"
    )


def test_other_bytes_keep_what_is_overwritten_and_correct_the_size() -> None:
    t = avatar(size=9)
    key = f"{BASE}/original/aaaa.png"
    assert plan(t, [broken(t, state=State.TRUNCATED)], {key: 3}, PNG) == (
        "accounts/avatars 7: restored\n"
        f"  keep a copy of {key} in the quarantine\n"
        f"  put 5 bytes (image/png) at {key}\n"
        "  set in accounts 7: avatar_file_size 9 → 5"
    )


def test_other_bytes_that_are_stored_as_they_came_are_another_picture() -> None:
    t = avatar(size=9)
    made = replace(PNG, unchanged=True)
    assert plan(t, [broken(t)], {}, made).startswith("accounts/avatars 7: refreshed\n")
    moved = plan(t, [broken(t)], {}, replace(PNG, url="https://s.example/b"), avatar_remote_url="https://s.example/a")
    assert moved.endswith(
        "set in accounts 7: avatar_file_size 9 → 5, avatar_remote_url https://s.example/a → https://s.example/b"
    )


def test_another_type_gets_a_new_name_and_the_old_files_leave_last() -> None:
    t = avatar("aaaa.gif", "image/gif")
    assert plan(t, [broken(t)], {f"{BASE}/static/aaaa.png": 4}, PNG) == (
        "accounts/avatars 7: refreshed\n"
        f"  put 5 bytes (image/png) at {BASE}/original/ffffffffffffffff.png\n"
        "  set in accounts 7: avatar_file_name aaaa.gif → ffffffffffffffff.png, "
        "avatar_updated_at 2026-01-01 00:00:00 → 2026-11-22 20:00:00, avatar_content_type image/gif → image/png, "
        "updated_at 2026-01-01 00:00:00 → 2026-11-22 20:00:00\n"
        f"  move {BASE}/static/aaaa.png to the quarantine"
    )


def test_a_wrong_recorded_type_is_corrected_when_the_name_fits() -> None:
    t = avatar("aaaa.png", "image/jpeg")
    assert plan(t, [broken(t)], {}, PNG).endswith("set in accounts 7: avatar_content_type image/jpeg → image/png")


def test_only_what_is_broken_is_written_when_the_bytes_are_the_same() -> None:
    t = avatar("aaaa.gif", "image/gif")
    made = NewFiles("image/gif", {"original": measure(b"12345"), "static": measure(b"123")}, {}, None, 5)
    text = plan(t, [broken(t, "static")], {f"{BASE}/original/aaaa.gif": 5}, made)
    assert text == f"accounts/avatars 7: restored\n  put 3 bytes (image/png) at {BASE}/static/aaaa.png"


@pytest.mark.parametrize(
    ("kind", "local", "reason"),
    [(AVATARS, True, "local"), (SITE_UPLOADS, True, "local"), (PREVIEW_CARDS, False, None), (AVATARS, False, None)],
)
def test_what_is_never_downloaded(kind: Kind, local: bool, reason: str | None) -> None:
    row = Row(Record(1, local, "a.png", "image/png", 1, 1), "s.example", "https://x/y", False, False)
    found = undownloadable(target(kind, row, ""), Moderation(), frozenset({"own.example"}))
    assert (found.reason if found else None) == reason


def test_own_domain_is_never_asked() -> None:
    row = Row(Record(1, False, "a.png", "image/png", 1, 1), "own.example", "https://own.example/a", False, False)
    found = undownloadable(target(AVATARS, row, ""), Moderation(), frozenset({"own.example"}))
    assert found is not None and found.reason == "own_domain"


def test_what_was_stored_once_is_put_back_and_the_rest_is_made_of_it() -> None:
    """The row is not touched; what is overwritten is kept first."""
    record = Record(7, False, "aaaa.gif", "image/gif", 5, 1)
    t = target(AVATARS, Row(record, "s.example", "https://s.example/a", False, False), "")
    original, static = f"{BASE}/original/aaaa.gif", f"{BASE}/static/aaaa.png"
    found = Key("accounts/avatars/000/000/007/original/aaaa.gif")
    writing: dict[str, PutFile | CopyFile] = {
        "static": PutFile.of(Key(static), measure(b"123"), "image/png"),
        "original": CopyFile(Key(original), found, 5, "0" * 64),
    }
    made = plan_stored(t, Source.ELSEWHERE, writing, {static: 0}, Naming("run", "", "f" * 16, NOW))
    assert str(made) == (
        "accounts/avatars 7: restored\n"
        f"  copy 5 bytes from {found} to {original}\n"
        f"  keep a copy of {static} in the quarantine\n"
        f"  put 3 bytes (image/png) at {static}"
    )


def test_a_record_is_handed_to_mastodon_by_emptying_exactly_what_it_empties() -> None:
    t = avatar()
    key = f"{BASE}/original/aaaa.png"
    columns = {
        "avatar_file_name": "aaaa.png", "avatar_content_type": "image/png", "avatar_file_size": "5",
        "avatar_updated_at": "2026-01-01 00:00:00", "updated_at": "2026-01-01 00:00:00", "avatar_remote_url": "https://x",
    }  # fmt: skip
    emptied = (
        "  set in accounts 7: avatar_file_name aaaa.png → NULL, avatar_content_type image/png → NULL, "
        "avatar_file_size 5 → NULL, avatar_updated_at 2026-01-01 00:00:00 → NULL"
    )
    job = redownload_job(AVATARS, 7, "run")
    assert job is not None
    assert str(plan_reset(t, columns, {key: 5}, job, 0.0, "run", "")) == (
        "accounts/avatars 7: deferred\n"
        f"{emptied}\n"
        f"  move {key} to the quarantine\n"
        "  hand RedownloadAvatarWorker(7) to Sidekiq"
    )
    assert str(plan_reset(t, columns, {}, None, 0.0, "run", "")) == f"accounts/avatars 7: deferred\n{emptied}"


def test_of_the_quarantine_only_what_no_undo_needs_is_deleted() -> None:
    """An undo keeps the quarantine of the run it is about; what no run of this journal put there is not understood."""
    old, young = "2026-01-01T00:00:00+00:00", "2026-11-01T00:00:00+00:00"
    runs = [("one", None, old), ("two", None, old), ("undo-of-two", "two", young), ("three", None, None)]
    objects = [(quarantine_key(run, Key("a/b.png")), 9) for run in ("one", "two", "undo-of-two", "three", "somebody-s")]
    before = datetime(2026, 6, 1, tzinfo=UTC)
    kept = Kept()
    plans = list(purge(objects, no_longer_needed(runs, before), {run for run, _, _ in runs}, kept, ""))
    assert [str(one) for one in plans] == [f"{objects[0][0]}: purged\n  delete {objects[0][0]} (9 bytes) for good"]
    assert (kept.files, kept.unknown) == (3, 1)


@pytest.mark.parametrize(
    ("in_flight", "suspended", "state", "reason"),
    [
        (True, False, State.MISSING, "in_flight"),
        (False, True, State.MISSING, "suspended"),
        (False, False, State.UNSERVABLE, "unreadable"),
        (False, False, State.EMPTY, None),
    ],
)
def test_what_is_left_alone_whatever_could_be_done(
    in_flight: bool, suspended: bool, state: State, reason: str | None
) -> None:
    row = Row(Record(1, False, "a.png", "image/png", 1, 1), "s.example", "https://x/y", suspended, in_flight)
    t = target(AVATARS, row, "")
    found = untouchable(t, [broken(t, state=state)])
    assert (found.reason if found else None) == reason


def test_quarantine_keys_can_never_look_like_mastodon_s() -> None:
    deep = quarantine_key("run", "cache/accounts/avatars/109/876/543/210/987/654/original/a%2Fb.png", "pre")
    assert deep.count("/") == 4
    assert quarantine_key("run", "a/b%2Fc") != quarantine_key("run", "a/b/c")
    assert len(quarantine_key("run", "x/" * 300).rpartition("/")[2].encode()) <= 255
