"""Every action as text, in the journal's form, and taken back."""

from __future__ import annotations

import json

import pytest

from mastomend.actions.actions import (
    Action,
    CancelJob,
    CopyFile,
    Delete,
    DeletePost,
    EnqueueJob,
    ForgetCached,
    Irreversible,
    Place,
    PreserveFile,
    PutFile,
    QuarantineFile,
    RestoreFile,
    RestorePost,
    SetColumns,
    SetServing,
    Transfer,
    from_json,
    inverse,
    to_json,
)
from mastomend.actions.plan import Plan, Rule
from mastomend.mastodon.jobs import Job, cache_buster_job
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Evicted, Purged, Refused
from mastomend.reasons import Reason
from mastomend.storage.bodies import measure
from mastomend.vocabulary import ObjectAt, RowOf, Serving

KEY, ASIDE = Key("cache/accounts/avatars/000/000/001/original/a.png"), Key(".mastomend/quarantine/r/x")
JOB = Job("RedownloadMediaWorker", 7, 3, "j")
BUCKET = Place("s3://new")
PUBLIC, PRIVATE = Serving(True, "image/png", "immutable"), Serving(False)

#: Each action, its sentence, and the sentence of what takes it back in the run `undo`; None: nothing does.
GOLDEN: list[tuple[Action, str, str | None]] = [
    (
        PutFile.of(KEY, measure(b"x" * 1_234), "image/png"),
        f"put 1,234 bytes (image/png) at {KEY}",
        f"move {KEY} to the quarantine",
    ),
    (
        PutFile.of(KEY, measure(b"x"), "image/png", BUCKET),
        f"put 1 bytes (image/png) at {KEY} in s3://new",
        f"move {KEY} to the quarantine in s3://new",
    ),
    (CopyFile(KEY, Key("old/a"), 3, "0" * 64), f"copy 3 bytes from old/a to {KEY}", f"move {KEY} to the quarantine"),
    (
        Transfer(Place("file:///old"), BUCKET, 1_200, 9_000),
        "copy 1,200 files (9,000 bytes) from file:///old to s3://new",
        None,
    ),
    (PreserveFile(KEY, ASIDE), f"keep a copy of {KEY} in the quarantine", f"bring {KEY} back from the quarantine"),
    (QuarantineFile(KEY, ASIDE), f"move {KEY} to the quarantine", f"bring {KEY} back from the quarantine"),
    (QuarantineFile(KEY, ASIDE, size=5), f"move {KEY} to the quarantine", f"bring {KEY} back from the quarantine"),
    (RestoreFile(KEY, ASIDE), f"bring {KEY} back from the quarantine", f"move {KEY} to the quarantine"),
    (Delete(KEY, 1_000), f"delete {KEY} (1,000 bytes) for good", None),
    (
        SetServing(KEY, PRIVATE, PUBLIC),
        f"serve {KEY}: private → public, image/png, immutable",
        f"serve {KEY}: public, image/png, immutable → private",
    ),
    (
        SetColumns("accounts", -99, {"a": None, "b": "1"}, {"b": "2"}),
        "set in accounts -99: b 1 → 2",
        "set in accounts -99: b 2 → 1",
    ),
    (
        EnqueueJob(JOB, 5.0),
        "hand RedownloadMediaWorker(7) to Sidekiq",
        "take RedownloadMediaWorker(7) back from Sidekiq",
    ),
    (CancelJob(JOB), "take RedownloadMediaWorker(7) back from Sidekiq", "hand RedownloadMediaWorker(7) to Sidekiq"),
    (
        EnqueueJob(cache_buster_job("https://x/a.png", "run")),
        "hand CacheBusterWorker(https://x/a.png) to Sidekiq",
        "hand CacheBusterWorker(https://x/a.png) to Sidekiq",
    ),
    (ForgetCached(("a", "b")), "forget the cached a, b", "forget the cached a, b"),
    (
        DeletePost(7, "runs/r/a.parquet", 9),
        "delete the post 7 (archived in runs/r/a.parquet)",
        "bring the post 7 back from runs/r/a.parquet",
    ),
    (
        RestorePost(7, "runs/r/a.parquet", 9),
        "bring the post 7 back from runs/r/a.parquet",
        "delete the post 7 (archived in runs/undo/a.parquet)",
    ),
]


@pytest.mark.parametrize(("action", "sentence", "back"), GOLDEN, ids=lambda value: type(value).__name__)
def test_an_action_reads_as_a_sentence_and_so_does_what_takes_it_back(
    action: Action, sentence: str, back: str | None
) -> None:
    assert str(action) == sentence
    found = inverse(action, "undo")
    if back is None:
        assert isinstance(found, Irreversible) and str(found).startswith(f"{sentence}: ")
    else:
        assert str(found) == back


def test_every_action_is_among_them() -> None:
    assert {type(action) for action, _, _ in GOLDEN} == set(Action.__args__)


@pytest.mark.parametrize("action", [action for action, _, _ in GOLDEN], ids=lambda value: type(value).__name__)
def test_an_action_survives_the_journal(action: Action) -> None:
    assert from_json(json.loads(json.dumps(to_json(action)))) == action


@pytest.mark.parametrize(
    "document", [{"action": "explode"}, {"action": "put"}, {"action": "set", "table": "a", "what": 1}, {}]
)
def test_what_the_journal_says_and_nobody_understands_is_an_error(document: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_json(document)


def test_what_is_refused_has_nothing_to_be_done() -> None:
    with pytest.raises(ValueError, match="nothing to be done"):
        Plan(ObjectAt(KEY), Refused(Reason.CONFLICT, "no"), (Delete(KEY, 1),), Rule.PURGE)


def test_a_plan_reads_as_sentences() -> None:
    """The row with all its attachments; an object of nobody's."""
    medium = Plan(
        RowOf("media_attachments", 42, False, "a.example"),
        Evicted(Reason.EXPIRED, files=1, bytes=9),
        (SetColumns("media_attachments", 42, {"file_file_name": "a.png"}, {"file_file_name": None}), Delete(KEY, 9)),
        Rule.EVICT,
    )
    assert str(medium) == (
        "media_attachments 42: evicted\n"
        "  set in media_attachments 42: file_file_name a.png → NULL\n"
        f"  delete {KEY} (9 bytes) for good"
    )
    stray = Plan(ObjectAt(ASIDE), Purged(Reason.EXPIRED), (Delete(ASIDE, 9),), Rule.PURGE)
    assert str(stray) == f"{ASIDE}: purged\n  delete {ASIDE} (9 bytes) for good"
    assert (RowOf("media_attachments/files", 42).table, RowOf("media_attachments", 42).table) == (
        "media_attachments",
        "media_attachments",
    )
