"""Each safety rule has a test that tries to break it (product.md)."""

from __future__ import annotations

import contextlib

import pytest
from broken import record
from conftest import MakeInstance, opened
from runs import a_run, plan

from mastomend.actions.actions import Action, PreserveFile, PutFile, QuarantineFile, SetColumns
from mastomend.actions.journal import Journal
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.recovery import recover
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.database.locks import DatabaseLocks
from mastomend.database.reader import MastodonDatabase
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.pictures import picture
from mastomend.errors import DatabaseError, JournalError, SafetyStop
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Deferred, Outcome
from mastomend.storage.bodies import measure


@pytest.mark.parametrize("even_if_expected", [False, True])
def test_a_local_record_s_file_is_never_moved(make_instance: MakeInstance, even_if_expected: bool) -> None:
    instance = make_instance()
    _, (key,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    with a_run(instance) as (run, _, _):
        done = run.change(plan(QuarantineFile(Key(key), quarantine_key("run", key), even_if_expected)))
    assert "local record" in done.verdict.detail
    assert instance.media.read(key) == instance.files[key]


def test_a_file_some_row_expects_is_not_moved(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = record(instance, AVATARS, picture(1), domain="s.example").key
    with a_run(instance) as (run, _, _):
        done = run.change(plan(QuarantineFile(Key(key), quarantine_key("run", key))))
    assert "expected by a record" in done.verdict.detail
    assert instance.media.read(key) is not None


def test_a_row_somebody_else_changed_is_left_alone(make_instance: MakeInstance) -> None:
    instance = make_instance()
    new = instance.insert("accounts", username="bob", domain="s.example", avatar_file_name="theirs.png")
    action = SetColumns("accounts", new, {"avatar_file_name": "ours.png"}, {"avatar_file_name": "new.png"})
    with a_run(instance) as (run, _, _):
        done = run.change(plan(action))
    assert isinstance(done.verdict, Deferred) and "changed by somebody else" in done.verdict.detail
    row = instance.db.execute("SELECT avatar_file_name AS name FROM accounts WHERE id = %s", [new]).fetchone()
    assert row == {"name": "theirs.png"}


def test_nothing_is_done_that_the_journal_does_not_hold(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()

    def full(*_: object) -> None:
        raise JournalError("the disk is full")

    with a_run(instance) as (run, journal, _):
        monkeypatch.setattr(journal, "plan", full)
        put = plan(PutFile.of(Key("a/b.png"), measure(b"x"), "image/png"))
        with pytest.raises(JournalError):
            run.change(put)
        with pytest.raises(JournalError):
            list(run.execute([put]))
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
    folder = "cache/accounts/avatars/000/000/009"
    old, fresh, foreign = Key(f"{folder}/original/x.png"), Key(f"{folder}/static/x.png"), Key("a/static/x.png")
    instance.media.write(old, b"the operator's")
    actions: list[Action] = [
        PreserveFile(old, quarantine_key("run", old)),
        PutFile.of(old, measure(b"ours"), "image/png"),
        PutFile.of(fresh, measure(b"ours too"), "image/png"),
        PutFile.of(foreign, measure(b"ours, too"), "image/png"),
        SetColumns("accounts", new, {"avatar_file_name": "other.png"}, {"avatar_file_name": "new.png"}),
    ]
    with a_run(instance) as (run, journal, _):
        done = run.change(plan(*actions))
        run.close(done)
        assert isinstance(done.verdict, Deferred)
        assert list(journal.plans("run")) == []
    assert instance.media.read(old) == b"the operator's"
    assert instance.media.read(fresh) is None
    assert instance.media.read(foreign) == b"ours, too", "what is not understood is not moved, whoever wrote it"


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
        DatabaseLocks(settings, "one", pooled=True) as one,
        DatabaseLocks(settings, "two", pooled=True) as two,
        one.whole(),
    ):
        with pytest.raises(SafetyStop, match="under way"), two.whole():
            pass
        with one.records(["accounts 1"]) as mine, two.records(["accounts 1", "accounts 2"]) as theirs:
            assert (mine, theirs) == ([True], [False, True])
        with two.records(["accounts 1"]) as theirs:
            assert theirs == [True]
    with MastodonDatabase(settings) as database, pytest.raises(DatabaseError, match="read-only"):
        database.query("UPDATE accounts SET username = 'x' RETURNING id")


def test_a_crash_never_takes_a_local_file_away_again(make_instance: MakeInstance) -> None:
    """A plan that only writes what its rows expect leaves what it wrote where it is."""
    instance = make_instance()
    _, (original, static) = instance.add_image(AVATARS, picture(3, 400, 400, "gif"), username="alice", uri="x:alice")
    data = {key: instance.files[key] for key in (original, static)}
    instance.media.delete(original)
    instance.media.delete(static)
    with a_run(instance) as (_, journal, world):
        actions = [PutFile.of(Key(key), measure(content), "image/gif") for key, content in data.items()]
        journal.plan("run", [(1, plan(*actions))])
        instance.media.write(original, data[original])  # written, by us or by hand, and then the crash
        (kept,) = journal.open_plans("run")
        assert recover(world, journal, "run", kept, 0.0) is None
    assert instance.media.read(original) == data[original]
