"""What a hostile reading of runs found, each as a rule: nothing is lost, nothing is said that is not so."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from runs import RESTORED, a_run, plan

from mastomend.actions.actions import (
    Delete,
    Place,
    PreserveFile,
    PutFile,
    QuarantineFile,
    RestoreFile,
    SetColumns,
    SetServing,
)
from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.run import Hold
from mastomend.commands.cleanup import cleanup
from mastomend.commands.undo import undo
from mastomend.database.connection import connect
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ObjectError, StorageError
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS, HEADERS
from mastomend.outcomes import Deferred, Evicted, Outcome, Refused, Restored, SetAside
from mastomend.plans.cleanup import no_longer_needed
from mastomend.reasons import Reason
from mastomend.storage import durable
from mastomend.storage.bodies import measure
from mastomend.storage.filesystem import FilesystemStore
from mastomend.vocabulary import ObjectAt, RowOf, Serving

MONTH = timedelta(days=30)
OLD = "20260101T000000Z-aaaa"
UNDO = "20261125T000000Z-bbbb"


def stray(instance: SimulatedInstance, n: int, data: bytes = b"stray") -> Key:
    key = Key(f"cache/accounts/avatars/000/000/{n:03}/original/stray.png")
    instance.media.write(key, data)
    instance.media.write("cache/accounts/avatars/kept", b"x")
    return key


def aside(key: Key, run: str = "run") -> Plan:
    move = QuarantineFile(key, quarantine_key(run, key))
    return Plan(ObjectAt(key), SetAside(Reason.EXPIRED, files=1), (move,), Rule.SET_ASIDE)


def held(instance: SimulatedInstance) -> list[bytes | None]:
    return [instance.media.read(key) for key in instance.media.keys()]


def finished_long_ago(instance: SimulatedInstance, *plans: Plan) -> None:
    with a_run(instance, OLD) as (run, _, _):
        list(run.execute(plans))
    with contextlib.closing(Journal(instance.state)) as journal:
        ended = "UPDATE runs SET finished_at = '2026-01-01T00:00:00Z', started_at = '2026-01-01T00:00:00Z' WHERE id = ?"
        journal.commit((ended, (OLD,)))


def test_what_the_row_names_stays_though_its_tick_was_lost_and_mastodon_touched_the_row(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance()
    made = record(instance, AVATARS, domain="a.example")
    gif = picture(2)
    put = PutFile.of(Key(f"{made.key.rpartition('/')[0]}/new.png"), measure(gif), "image/png")
    ask = "SELECT avatar_file_name AS n, updated_at::text AS u FROM accounts WHERE id = %s"
    (row,) = instance.db.execute(ask, [made.id]).fetchall()
    before = {"avatar_file_name": row["n"], "updated_at": row["u"]}
    change = SetColumns(
        "accounts", made.id, before, {"avatar_file_name": "new.png", "updated_at": "2026-01-02 00:00:00"}
    )
    with a_run(instance) as (run, journal, _):
        run.change(plan(put, change, subject=RowOf(AVATARS.name, made.id, False, "a.example")))
        journal.commit(("UPDATE steps SET done_at = NULL WHERE position = 1", ()))  # what a crash took
    instance.db.execute("UPDATE accounts SET updated_at = now() WHERE id = %s", [made.id])
    with a_run(instance, "next") as (_, journal, _):
        assert journal.changed("run") == 1, "the journal knows that it was done"
    assert instance.media.read(put.key) == gif


def test_nothing_is_set_aside_over_what_waits_there(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = stray(instance, 1, b"first")
    with a_run(instance) as (run, _, _):
        (first,) = run.execute([aside(key)])
        instance.media.write(key, b"second")
        twice = list(run.execute([aside(key), aside(key)]))
        instance.media.write(key, b"first")  # as a move leaves it that was cut off before its source went
        (again,) = run.execute([aside(key)])
    assert [one.verdict.outcome for one in (first, *twice, again)] == ["set_aside", "refused", "refused", "set_aside"]
    assert sorted(filter(None, held(instance))) == [b"first", b"x"]


@pytest.mark.parametrize("obstacle", ["unreadable", "another"])
def test_nothing_is_overwritten_of_which_no_copy_was_kept(make_instance: MakeInstance, obstacle: str) -> None:
    instance = make_instance()
    made = record(instance, AVATARS, domain="a.example")
    key, waiting = Key(made.key), quarantine_key("run", made.key)
    root = instance.folder / "public/system"
    if obstacle == "unreadable":
        (root / ".mastomend").symlink_to(".mastomend")  # leads to itself: looking at it fails
    else:
        instance.media.write(waiting, b"of another time")
    with a_run(instance) as (run, _, _):
        new = PutFile.of(key, measure(b"new"), "image/png")
        done = run.change(plan(PreserveFile(key, waiting), new, subject=RowOf(AVATARS.name, made.id)))
    assert not isinstance(done.verdict, Restored)
    if obstacle == "unreadable":
        (root / ".mastomend").unlink()
    assert instance.media.read(key) == made.data


def test_a_file_that_appears_while_another_comes_back_is_not_overwritten(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    key = stray(instance, 1)
    move = FilesystemStore.move

    def late(
        self: FilesystemStore, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        if not private:
            instance.media.write(key, b"somebody's")
        return move(self, pairs, private=private, replace=replace)

    with a_run(instance) as (run, _, _):
        list(run.execute([aside(key)]))
        monkeypatch.setattr(FilesystemStore, "move", late)
        restore = RestoreFile(key, quarantine_key("run", key))
        (done,) = run.execute([Plan(ObjectAt(key), RESTORED, (restore,), Rule.TAKE_BACK)])
    assert isinstance(done.verdict, Refused) and "is there again" in done.verdict.detail
    assert sorted(filter(None, held(instance))) == [b"somebody's", b"stray", b"x"]


def test_what_an_undo_of_an_undo_needs_is_not_purged(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = stray(instance, 1)
    finished_long_ago(instance, aside(key, OLD))
    first = undo(opened(instance), OLD, apply=True).run
    second = undo(opened(instance), first, apply=True).run
    assert cleanup(opened(instance), MONTH, apply=True).files == 0
    assert undo(opened(instance), second, apply=True).reverted == 1
    assert instance.media.read(key) == b"stray"


def test_what_an_undo_that_was_cut_off_needs_is_not_purged(make_instance: MakeInstance) -> None:
    instance = make_instance()
    keys = [stray(instance, n) for n in range(1, 3)]
    finished_long_ago(instance, *(aside(key, OLD) for key in keys))
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.begin(UNDO, "undo", OLD, scan=None, undoes=OLD)
    assert cleanup(opened(instance), MONTH, apply=True).files == 0
    assert undo(opened(instance), OLD, apply=True).reverted == 2


def test_which_quarantines_nobody_needs() -> None:
    from datetime import UTC, datetime

    before = datetime(2026, 6, 1, tzinfo=UTC)
    old, young = "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"
    runs = [
        ("a", None, old),
        ("b", None, young),
        ("c", None, None),
        ("d", None, old),
        ("e", "d", old),
        ("f", "e", young),
    ]
    assert no_longer_needed(runs, before) == {"a"}
    assert no_longer_needed([*runs[:5], ("f", "e", old)], before) == {"a", "d", "e", "f"}


def test_a_file_that_was_copied_back_before_the_crash_is_back(make_instance: MakeInstance) -> None:
    """In a bucket a move is a copy and a deletion: both files are there, and they are the same."""
    instance = make_instance()
    key = stray(instance, 1)
    with a_run(instance) as (run, _, _):
        list(run.execute([aside(key)]))
    waiting = quarantine_key("run", key)
    back = Plan(ObjectAt(key), Restored(Reason.UNDONE), (RestoreFile(key, waiting),), Rule.TAKE_BACK, 1)
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.begin(UNDO, "undo", "run", scan=None, undoes="run")
        journal.plan(UNDO, [(1, back)])
    instance.media.write(key, b"stray")
    told = undo(opened(instance), "run", apply=True)
    assert (told.reverted, told.conflicts) == (1, 0)
    assert (instance.media.read(key), instance.media.read(waiting)) == (b"stray", None)


def test_a_disk_that_cannot_sync_ends_the_run_and_the_next_one_knows_what_was_moved(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    key = stray(instance, 1)

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StorageError, match="cannot be relied on"), a_run(instance) as (run, _, _):
        monkeypatch.setattr(durable, "sync_folder", fail)
        list(run.execute([aside(key)]))
    monkeypatch.undo()
    assert instance.media.read(key) is None
    assert undo(opened(instance), "run", apply=True).reverted == 1
    assert instance.media.read(key) == b"stray"


def test_a_dead_run_s_plan_is_not_settled_while_somebody_changes_its_record(make_instance: MakeInstance) -> None:
    instance = make_instance()
    made = record(instance, AVATARS, domain="a.example")
    subject = RowOf(AVATARS.name, made.id)
    with a_run(instance, "service", hold=Hold.SHARED) as (service, journal, _):
        journal.begin("dead", "repair", "x", scan=None)
        journal.plan("dead", [(1, plan(PutFile.of(Key(made.key), measure(made.data), "image/png"), subject=subject))])
        half = durable.temporary(instance.folder / "public/system" / made.key)
        with service.locked(subject) as free:
            assert free
            half.write_bytes(b"the living one is writing this")
            with a_run(instance, "next") as (run, _, _):
                assert run.settled == 0
            assert half.exists()
    with a_run(instance, "later") as (run, _, _):
        assert run.settled == 1 and not half.exists()


def two_changes(instance: SimulatedInstance) -> int:
    """One row changed twice in one run, as avatar and as header."""
    new = instance.insert(
        "accounts", username="bob", domain="s.example", avatar_file_name="a.png", header_file_name="h"
    )
    instance.media.write("cache/accounts/avatars/kept", b"x")
    with a_run(instance) as (made, _, _):
        for kind, before, after in ((AVATARS, "a.png", "b.png"), (HEADERS, "b.png", "c.png")):
            change = SetColumns("accounts", new, {"avatar_file_name": before}, {"avatar_file_name": after})
            made.close(made.change(plan(change, subject=RowOf(kind.name, new, False, "s.example"))))
    return new


def test_an_undo_of_an_undo_goes_through_a_row_s_changes_in_its_own_order(make_instance: MakeInstance) -> None:
    instance = make_instance()
    new = two_changes(instance)
    first = undo(opened(instance), "run", apply=True)
    for apply in (False, True):
        told = undo(opened(instance), first.run, apply=apply)
        assert (told.reverted, told.conflicts) == (2, 0)
    (now,) = instance.db.execute("SELECT avatar_file_name AS n FROM accounts WHERE id = %s", [new]).fetchall()
    assert now == {"n": "c.png"}


def test_a_dry_run_of_an_undo_counts_what_would_come(make_instance: MakeInstance) -> None:
    """A row that somebody changed since, with two changes; a file of one's own user, which is never moved."""
    instance = make_instance()
    new = two_changes(instance)
    instance.db.execute("UPDATE accounts SET avatar_file_name = 'theirs.png' WHERE id = %s", [new])
    local, (key,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    instance.media.delete(key)
    with a_run(instance, "second") as (made, _, _):
        put = PutFile.of(Key(key), measure(instance.files[key]), "image/png")
        made.close(made.change(plan(put, subject=RowOf(AVATARS.name, local, True))))
    for run, numbers in (("run", (0, 2)), ("second", (0, 1))):
        for apply in (False, True):
            told = undo(opened(instance), run, apply=apply)
            assert (told.reverted, told.conflicts) == numbers, (run, apply)
    assert instance.media.read(key) is not None


def test_an_undo_leaves_what_was_put_there_by_hand_though_the_row_is_as_before(make_instance: MakeInstance) -> None:
    instance = make_instance()
    made = record(instance, AVATARS, domain="a.example")
    key, waiting = Key(made.key), quarantine_key("run", made.key)
    instance.media.write(key, b"half")
    size = str(len(made.data))
    actions = (
        PreserveFile(key, waiting),
        PutFile.of(key, measure(b"another picture"), "image/png"),
        SetColumns("accounts", made.id, {"avatar_file_size": size}, {"avatar_file_size": "15"}),
    )
    with a_run(instance) as (run, _, _):
        run.close(run.change(plan(*actions, subject=RowOf(AVATARS.name, made.id))))
    instance.db.execute("UPDATE accounts SET avatar_file_size = %s WHERE id = %s", [size, made.id])
    instance.media.write(key, made.data)
    for apply in (False, True):
        told = undo(opened(instance), "run", apply=apply)
        assert (told.reverted, told.conflicts) == (0, 1)
    assert instance.media.read(key) == made.data


def test_a_plan_of_another_storage_does_not_stop_every_later_run(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = stray(instance, 1)
    copy = SetServing(key, Serving(True), Serving(False), Place("bucket"))
    with a_run(instance, "dead") as (_, journal, _):
        journal.plan("dead", [(1, Plan(ObjectAt(key), Restored(Reason.RESTORED), (copy,), Rule.MEND))])
    assert cleanup(opened(instance), MONTH, apply=True).left == []
    with contextlib.closing(Journal(instance.state)) as journal:
        assert len(journal.open_plans("dead")) == 1, "it is left to the command that knows that storage"


def test_an_eviction_whose_row_is_emptied_deletes_what_it_can(make_instance: MakeInstance) -> None:
    instance = make_instance()
    made = record(instance, AVATARS, domain="a.example")
    other = stray(instance, 77)
    change = SetColumns(
        "accounts", made.id, {"avatar_file_name": made.key.rpartition("/")[2]}, {"avatar_file_name": None}
    )
    actions = (change, Delete(other, 999), Delete(Key(made.key), len(made.data)))
    with a_run(instance) as (run, _, _):
        (done,) = run.execute(
            [Plan(RowOf(AVATARS.name, made.id), Evicted(Reason.EXPIRED, files=2), actions, Rule.EVICT)]
        )
    assert done.verdict.outcome is Outcome.EVICTED and f"{other} stays" in done.verdict.detail
    assert instance.media.read(made.key) is None and instance.media.read(other) == b"stray"


def test_a_row_that_somebody_holds_is_that_row_s_trouble(make_instance: MakeInstance) -> None:
    """PostgreSQL ends whoever waits too long, or in a ring: the other rows of the batch are changed."""
    instance = make_instance()
    ids = [
        instance.insert("accounts", username=f"u{n}", domain="a.example", avatar_file_name="a.png") for n in range(3)
    ]

    def change(record_id: int) -> Plan:
        set_ = SetColumns("accounts", record_id, {"avatar_file_name": "a.png"}, {"avatar_file_name": "b.png"})
        return plan(set_, subject=RowOf(AVATARS.name, record_id), rule=Rule.EVICT, verdict=Evicted(Reason.EXPIRED))

    instance.db.execute("ALTER DATABASE " + instance.db.info.dbname + " SET lock_timeout = '200ms'")
    with (
        connect(opened(instance).configuration.database, "mastodon", read_only=False) as mastodon,
        a_run(instance) as (run, _, _),
        mastodon.transaction(),
    ):
        mastodon.execute("UPDATE accounts SET username = 'held' WHERE id = %s", [ids[1]])
        verdicts = [done.verdict for done in run.execute(map(change, ids))]
    assert [verdict.outcome for verdict in verdicts] == ["evicted", "deferred", "evicted"]
    assert isinstance(verdicts[1], Deferred) and "does not take it" in verdicts[1].detail


def test_a_thread_that_holds_a_record_may_change_all_of_it(make_instance: MakeInstance) -> None:
    """The row's thumbnail while its file is locked: that is one record, and no wait for oneself."""
    instance = make_instance()
    new = instance.insert("accounts", username="bob", domain="s.example", avatar_file_name="a.png")
    change = SetColumns("accounts", new, {"avatar_file_name": "a.png"}, {"avatar_file_name": "b.png"})
    one = plan(change, subject=RowOf("accounts", new))
    with a_run(instance) as (run, _, _), run.locked(RowOf(AVATARS.name, new)) as outer:
        with run.locked(RowOf(HEADERS.name, new)) as inner:
            assert outer and inner
        assert run.change(one).verdict == RESTORED


def test_one_plan_given_twice_is_two_plans(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = stray(instance, 1)
    one = aside(key)
    with a_run(instance) as (run, journal, _):
        first, second = run.execute([one, one])
        assert (first.verdict.outcome, second.verdict.outcome) == ("set_aside", "refused")
        assert journal.open_plans("run") == [] and journal.highest("run") == 2
