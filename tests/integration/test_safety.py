"""Each safety rule has a test that tries to break it (product.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from broken import record
from conftest import MakeInstance, opened

from mastomend.actions.actions import Action, PreserveFile, PutFile, QuarantineFile, SetColumns, quarantine_key
from mastomend.actions.executor import Conflict, Executor
from mastomend.actions.journal import Journal
from mastomend.actions.lock import changing_run
from mastomend.commands.parts import changing_parts
from mastomend.commands.repair import RepairOptions, repair
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import DatabaseError, JournalError, SafetyStop
from mastomend.inventory.database import MastodonDatabase, connect
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Outcome, RecordOutcome

OUTCOME = RecordOutcome("accounts/avatars", 1, False, None, None, Outcome.RESTORED, None, "", "")


@contextlib.contextmanager
def executor(instance: SimulatedInstance) -> Iterator[tuple[Executor, Journal]]:
    journal = Journal(instance.state)
    with contextlib.closing(journal), changing_parts(opened(instance)) as parts:
        journal.begin("run", "test", "all", scan=None)
        yield parts.executor("run", journal), journal


@pytest.mark.parametrize("even_if_expected", [False, True])
def test_a_local_record_s_file_is_never_moved(make_instance: MakeInstance, even_if_expected: bool) -> None:
    instance = make_instance()
    _, (key,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    with executor(instance) as (run, _), pytest.raises(Conflict, match="local record"):
        run.apply(OUTCOME, [QuarantineFile(Key(key), quarantine_key("run", key), even_if_expected)])
    assert instance.media.read(key) == instance.files[key]


def test_a_file_some_row_expects_is_not_moved(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = record(instance, AVATARS, picture(1), domain="s.example").key
    with executor(instance) as (run, _), pytest.raises(Conflict, match="expected by a record"):
        run.apply(OUTCOME, [QuarantineFile(Key(key), quarantine_key("run", key))])
    assert instance.media.read(key) is not None


def test_a_row_somebody_else_changed_is_left_alone(make_instance: MakeInstance) -> None:
    instance = make_instance()
    new = instance.insert("accounts", username="bob", domain="s.example", avatar_file_name="theirs.png")
    action = SetColumns("accounts", new, {"avatar_file_name": "ours.png"}, {"avatar_file_name": "new.png"})
    with executor(instance) as (run, _), pytest.raises(Conflict, match="changed by somebody else"):
        run.apply(OUTCOME, [action])
    row = instance.db.execute("SELECT avatar_file_name AS name FROM accounts WHERE id = %s", [new]).fetchone()
    assert row == {"name": "theirs.png"}


def test_nothing_is_done_that_the_journal_does_not_hold(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()

    def full(*_: object) -> None:
        raise JournalError("the disk is full")

    with executor(instance) as (run, journal):
        monkeypatch.setattr(journal, "plan", full)
        with pytest.raises(JournalError):
            run.apply(OUTCOME, [PutFile.of(Key("a/b.png"), b"x", "image/png")])
    assert instance.media.keys() == set()


def test_without_apply_nothing_outside_the_state_directory_changes(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    origin.files["/a"] = picture(1)
    keys = record(instance, AVATARS, picture(1), origin=origin, name="a").keys
    instance.media.delete(keys[0])
    (instance.folder / "public/system/x").write_bytes(b"x")
    before = instance.media.keys(), instance.db.execute("SELECT t::text FROM accounts t").fetchall()
    repair(opened(instance), RepairOptions())
    assert (instance.media.keys(), instance.db.execute("SELECT t::text FROM accounts t").fetchall()) == before
    assert not network.requests
    done = repair(opened(instance), RepairOptions(apply=True))
    held = instance.media.keys()
    undo(opened(instance), done.run, apply=False)
    assert instance.media.keys() == held


def test_apply_acts_on_what_is_true_now(make_instance: MakeInstance, network: Fediverse) -> None:
    """Findings of an old scan: one record mended since, one deleted since, one renamed since. Only true ones count."""
    instance = make_instance()
    origin = network.add("good.example")
    ids, keys = [], []
    for n in range(4):
        origin.files[f"/{n}"] = picture(n)
        made = record(instance, AVATARS, picture(n), origin=origin, name=f"{n}", damage="missing")
        ids.append(made.id)
        keys.append(made.key)
    (instance.folder / "public/system/x").write_bytes(b"x")
    scan = repair(opened(instance), RepairOptions()).scan
    instance.media.write(keys[0], instance.files[keys[0]])
    instance.db.execute("DELETE FROM accounts WHERE id = %s", [ids[1]])
    instance.db.execute("UPDATE accounts SET avatar_file_name = NULL WHERE id = %s", [ids[2]])
    report = repair(opened(instance), RepairOptions(apply=True, scan=scan))
    assert (report.records, report.outcomes[Outcome.RESTORED]) == (1, 1)
    assert set(network.fetched()) == {f"{origin.address}/3"}


def test_a_conflict_takes_back_what_was_put_before_it(make_instance: MakeInstance) -> None:
    """A file that was overwritten comes back; one that was not there before goes; nothing counts as done."""
    instance = make_instance()
    new = instance.insert("accounts", username="bob", domain="s.example", avatar_file_name="theirs.png")
    old, fresh = Key("a/original/x.png"), Key("a/static/x.png")
    instance.media.write(old, b"the operator's")
    actions: list[Action] = [
        PreserveFile(old, quarantine_key("run", old)),
        PutFile.of(old, b"ours", "image/png"),
        PutFile.of(fresh, b"ours too", "image/png"),
        SetColumns("accounts", new, {"avatar_file_name": "other.png"}, {"avatar_file_name": "new.png"}),
    ]
    with executor(instance) as (run, journal), pytest.raises(Conflict):
        run.apply(OUTCOME, actions)
    assert instance.media.read(old) == b"the operator's"
    assert instance.media.read(fresh) is None
    with contextlib.closing(Journal(instance.state)) as journal:
        assert list(journal.plans("run")) == []


def test_a_run_that_was_taken_back_does_not_go_on(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    origin.files["/a"] = picture(1)
    key = record(instance, AVATARS, picture(1), origin=origin, name="a").key
    instance.media.write("cache/accounts/avatars/kept", b"x")
    instance.media.delete(key)
    run = repair(opened(instance), RepairOptions(apply=True)).run
    with contextlib.closing(Journal(instance.state)) as journal:  # as if it had been cut off before its end
        journal.commit(("UPDATE runs SET finished_at = NULL WHERE id = ?", (run,)))
    assert undo(opened(instance), run, apply=True).reverted == 1
    again = repair(opened(instance), RepairOptions(apply=True))
    assert (again.resumed, again.outcomes[Outcome.RESTORED]) == (False, 1)
    assert instance.media.read(key) == picture(1)


def test_undo_stops_at_an_empty_storage(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    origin.files["/a"] = picture(1)
    key = record(instance, AVATARS, picture(1), origin=origin, name="a").key
    root = instance.folder / "public/system"
    (root / "x").write_bytes(b"x")
    instance.media.delete(key)
    run = repair(opened(instance), RepairOptions(apply=True)).run
    root.rename(instance.folder / "unmounted")
    root.mkdir()
    with pytest.raises(SafetyStop, match="not mounted"):
        undo(opened(instance), run, apply=True)
    root.rmdir()
    (instance.folder / "unmounted").rename(root)
    assert undo(opened(instance), run, apply=True).reverted == 1


def test_what_may_not_be_read_is_not_overwritten(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    key = record(instance, AVATARS, picture(1), origin=origin, name="a").key
    path = instance.folder / "public/system" / key
    path.unlink()
    path.symlink_to(path.name)  # a loop: something is there, and looking at it fails
    report = repair(opened(instance), RepairOptions(apply=True))
    assert report.reasons == {(Outcome.REFUSED, "unreadable"): 1}
    assert path.is_symlink() and not network.requests


def test_behind_a_pooler_reading_is_still_read_only_and_the_lock_holds(make_instance: MakeInstance) -> None:
    instance = make_instance()
    settings = opened(instance).configuration.database
    with (
        connect(settings, "one", read_only=False) as one,
        connect(settings, "two", read_only=False) as two,
        changing_run(one, instance.folder / "s1", "one", pooled=True),
        pytest.raises(SafetyStop, match="under way"),
        changing_run(two, instance.folder / "s2", "two", pooled=True),
    ):
        pass
    with MastodonDatabase(settings) as database, pytest.raises(DatabaseError, match="read-only"):
        database.query("UPDATE accounts SET username = 'x' RETURNING id")


def test_a_crash_never_takes_a_local_file_away_again(make_instance: MakeInstance) -> None:
    """A plan that only writes what its rows expect leaves what it wrote where it is."""
    instance = make_instance()
    _, (original, static) = instance.add_image(AVATARS, picture(3, 400, 400, "gif"), username="alice", uri="x:alice")
    data = {key: instance.files[key] for key in (original, static)}
    instance.media.delete(original)
    instance.media.delete(static)
    with executor(instance) as (run, journal):
        actions = [PutFile.of(Key(key), content, "image/gif") for key, content in data.items()]
        journal.plan("run", OUTCOME, actions)
        instance.media.write(original, data[original])  # written, by us or by hand, and then the crash
        (plan,) = journal.open_plans("run")
        assert run.recover(plan) is None
    assert instance.media.read(original) == data[original]
