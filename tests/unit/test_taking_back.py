"""The plans of an undo, as text: what is taken back, in which order, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from mastomend.actions.actions import (
    MEDIA,
    Action,
    Delete,
    EnqueueJob,
    PreserveFile,
    PutFile,
    QuarantineFile,
    RestoreFile,
    SetColumns,
)
from mastomend.actions.journal import Kept
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.taking_back import TakingBack
from mastomend.actions.world import World
from mastomend.database.changes import Change, Values
from mastomend.mastodon.jobs import Job
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Evicted, Refreshed, Refused, Verdict
from mastomend.reasons import Reason
from mastomend.storage.bodies import measure
from mastomend.storage.memory import MemoryStore
from mastomend.vocabulary import Nobody, Ownership, RowOf

SUBJECT = RowOf("accounts/avatars", 7, False, "a.example")
OLD, NEW = Key("cache/accounts/avatars/7/original/old.gif"), Key("cache/accounts/avatars/7/original/new.png")
KEPT = quarantine_key("run", OLD)
ROW = SetColumns("accounts", 7, {"avatar_file_name": "old.gif"}, {"avatar_file_name": "new.png"})
PUT = PutFile.of(NEW, measure(b"new"), "image/png")
JOB = Job("RedownloadAvatarWorker", 7, 1, "j")


class Rows:
    """One row."""

    def __init__(self, **values: str | None) -> None:
        self.values = values

    def set(self, changes: Sequence[Change]) -> Sequence[str | None]:
        raise AssertionError("a planner changes nothing")

    def are(self, table: str, record_id: int, values: Values) -> bool:
        return all(self.values.get(name) == value for name, value in values.items())


class NobodyS:
    def hidden(self, keys: Sequence[Key]) -> Sequence[bool]:
        return [False] * len(keys)

    def of(self, keys: Sequence[Key]) -> Sequence[Ownership]:
        return [Nobody() for _ in keys]


class Untold:
    """Neither Sidekiq nor a cache hears anything of a planner."""

    def hand_over(self, job: Job, now: float, at: float | None = None) -> bool:
        raise AssertionError

    def take_back(self, job: Job) -> bool:
        raise AssertionError

    def was_handed_over(self, job: Job) -> bool:
        raise AssertionError

    def forget(self, keys: Sequence[str]) -> None:
        raise AssertionError


def taken_back(
    actions: Sequence[Action], files: Mapping[str, bytes], name: str | None, verdict: Verdict | None = None
) -> Plan:
    store = MemoryStore()
    store.objects |= files
    world = World({MEDIA: store}, Rows(avatar_file_name=name), NobodyS(), Untold(), Untold(), "")
    done = frozenset(range(len(actions)))
    plan = Plan(SUBJECT, verdict or Refreshed(Reason.TYPE_CHANGED), tuple(actions), Rule.MEND)
    return TakingBack(world, "undo").plan(Kept(3, plan, done))


REFRESHED: list[Action] = [PUT, ROW, QuarantineFile(OLD, KEPT)]


def test_the_last_is_taken_back_first() -> None:
    found = taken_back(REFRESHED, {NEW: b"new", KEPT: b"old"}, "new.png")
    assert str(found) == (
        "accounts/avatars 7: restored\n"
        f"  bring {OLD} back from the quarantine\n"
        "  set in accounts 7: avatar_file_name new.png → old.gif\n"
        f"  move {NEW} to the quarantine"
    )
    assert (found.rule, found.part) == (Rule.TAKE_BACK, 3)


def test_what_was_overwritten_comes_back_after_what_overwrote_it_has_left() -> None:
    actions: list[Action] = [PreserveFile(NEW, quarantine_key("run", NEW)), PUT]
    found = taken_back(actions, {NEW: b"new", quarantine_key("run", NEW): b""}, "new.png")
    assert str(found) == (
        f"accounts/avatars 7: restored\n  move {NEW} to the quarantine\n  bring {NEW} back from the quarantine"
    )


@pytest.mark.parametrize(
    ("files", "name", "against", "reason"),
    [
        (
            {NEW: b"new", KEPT: b"old"},
            "third.png",
            "accounts 7 was changed by somebody else meanwhile",
            Reason.CONFLICT,
        ),
        ({NEW: b"other", KEPT: b"old"}, "new.png", f"{NEW} is no longer the file that was written", Reason.CONFLICT),
        ({NEW: b"new"}, "new.png", f"{OLD} is no longer in the quarantine (cleanup)", Reason.PURGED),
        ({NEW: b"new", KEPT: b"old", OLD: b"else"}, "new.png", f"there is a file at {OLD} again", Reason.CONFLICT),
    ],
)
def test_what_stands_against_it_is_said_and_nothing_is_done(
    files: Mapping[str, bytes], name: str, against: str, reason: Reason
) -> None:
    found = taken_back(REFRESHED, files, name)
    assert (str(found), found.verdict.reason, found.verdict.detail) == (
        "accounts/avatars 7: refused",
        reason,
        against,
    )


@pytest.mark.parametrize("size", [None, 3])
def test_a_file_that_was_brought_back_and_is_gone_is_seen_by_a_dry_run(size: int | None) -> None:
    """Also where the journal does not know its size."""
    found = taken_back([RestoreFile(OLD, KEPT, size=size)], {}, "old.gif")
    assert isinstance(found.verdict, Refused) and not found.actions
    assert found.verdict.detail == f"{OLD} is there no more"


def test_an_undo_that_stopped_half_way_has_the_rest_to_do() -> None:
    found = taken_back(REFRESHED, {OLD: b"old", NEW: b"new"}, "old.gif")
    assert str(found) == f"accounts/avatars 7: restored\n  move {NEW} to the quarantine"


def test_what_nothing_takes_back_is_said_beside_what_is() -> None:
    row = SetColumns("accounts", 7, {"avatar_file_name": "old.gif"}, {"avatar_file_name": None})
    verdict = Evicted(Reason.EXPIRED, files=1, bytes=9)
    found = taken_back([row, Delete(OLD, 9)], {}, None, verdict)
    assert str(found) == "accounts/avatars 7: restored\n  set in accounts 7: avatar_file_name NULL → old.gif"
    assert found.verdict.detail.startswith(f"delete {OLD} (9 bytes) for good: ")
    nothing = taken_back([Delete(OLD, 9)], {}, "old.gif", verdict)
    assert (str(nothing), nothing.verdict.reason) == ("accounts/avatars 7: refused", Reason.IRREVERSIBLE)


def test_a_job_is_taken_back_before_the_row() -> None:
    row = SetColumns("accounts", 7, {"avatar_file_name": "old.gif"}, {"avatar_file_name": None})
    found = taken_back([row, EnqueueJob(JOB, 0.0)], {}, None)
    assert str(found) == (
        "accounts/avatars 7: restored\n"
        "  take RedownloadAvatarWorker(7) back from Sidekiq\n"
        "  set in accounts 7: avatar_file_name NULL → old.gif"
    )
