"""What a run promises, whichever command makes it: who may work beside it, what a batch is, what a crash means."""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from runs import RESTORED, a_run, plan

from mastomend.actions.actions import (
    MEDIA,
    Action,
    CopyFile,
    Delete,
    Place,
    PutFile,
    QuarantineFile,
    SetColumns,
    SetServing,
    Transfer,
)
from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import Statement
from mastomend.actions.owners import owned
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.recovery import recover
from mastomend.actions.run import Hold, preview, run
from mastomend.commands.parts import ground
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.database.locks import DatabaseLocks
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES
from mastomend.outcomes import Copied, Deferred, Evicted, Outcome, Purged, Refused, SetAside
from mastomend.reasons import Reason
from mastomend.storage import durable
from mastomend.storage.bodies import measure
from mastomend.vocabulary import Done, Foreign, Nobody, ObjectAt, Owned, RowOf, Serving

FOLDER = "cache/accounts/avatars/000/000/{:03}/original"


def stray(instance: SimulatedInstance, n: int, data: bytes = b"stray") -> Key:
    """A file no row expects."""
    key = Key(f"{FOLDER.format(n)}/stray.png")
    instance.media.write(key, data)
    return key


def aside(key: Key, run_id: str = "run", size: int | None = None) -> Plan:
    """The plan that moves it to the quarantine."""
    action = QuarantineFile(key, quarantine_key(run_id, key), size=size)
    return Plan(ObjectAt(key), SetAside(Reason.EXPIRED, files=1), (action,), Rule.SET_ASIDE)


# --- holds ------------------------------------------------------------------------------------------------------------


def test_one_run_on_the_whole_instance_at_a_time_and_services_beside_it(make_instance: MakeInstance) -> None:
    instance = make_instance()
    with a_run(instance, "first"):
        with pytest.raises(SafetyStop, match="under way"), a_run(instance, "second"):
            pass
        with a_run(instance, "service", hold=Hold.SHARED), a_run(instance, "another", hold=Hold.SHARED):
            pass
    with a_run(instance, "third"):
        pass


def test_what_a_living_run_has_begun_is_left_alone(make_instance: MakeInstance, network: Fediverse) -> None:
    """Its plan stays open and its temporary file where it is; once it is dead both are settled."""
    instance = make_instance()
    origin = network.add("good.example")
    made = record(instance, AVATARS, origin=origin, name="a", damage="missing")
    other = record(instance, AVATARS, origin=origin, name="b", damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    put = plan(PutFile.of(Key(made.key), measure(made.data), "image/png"), subject=RowOf(AVATARS.name, made.id))
    folder = (instance.folder / "public/system" / made.key).parent
    with contextlib.ExitStack() as life:
        run_, journal, _ = life.enter_context(a_run(instance, "service", hold=Hold.SHARED))
        journal.plan("service", [(1, put)])
        folder.mkdir(parents=True, exist_ok=True)
        half = durable.temporary(folder / made.key.rpartition("/")[2])
        half.write_bytes(b"half")
        life.enter_context(run_.locked(put.subject))
        report = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
        assert half.read_bytes() == b"half"
        assert [kept.number for kept in journal.open_plans("service")] == [1]
        assert report.recovered == 0
        assert report.reasons == {(Outcome.RESTORED, "restored"): 1, (Outcome.DEFERRED, "in_flight"): 1}
        assert instance.media.read(other.key) == other.data
    again = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert again.recovered == 1 and not half.exists()
    assert instance.media.read(made.key) == made.data


def test_a_record_is_changed_by_one_at_a_time(make_instance: MakeInstance) -> None:
    """In another process it is deferred; in another thread it waits."""
    instance = make_instance()
    keys = [stray(instance, n) for n in range(3)]
    with (
        a_run(instance, "one") as (one, _, _),
        a_run(instance, "two", hold=Hold.SHARED) as (two, _, _),
        contextlib.ExitStack() as one_is_free,
    ):
        assert one_is_free.enter_context(one.locked(ObjectAt(keys[0])))
        busy, free = two.execute([aside(keys[0], "two"), aside(keys[1], "two")])
        assert busy.verdict == Deferred(Reason.IN_FLIGHT, "another Mastomend is changing it right now")
        assert isinstance(free.verdict, SetAside)
        assert isinstance(two.change(aside(keys[0], "two")).verdict, Deferred)
        done: list[Done] = []
        waiting = threading.Thread(target=lambda: done.append(one.change(aside(keys[0], "one"))))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive() and not done
        one_is_free.close()
        waiting.join(10)
        assert done and isinstance(done[0].verdict, SetAside)


def test_plans_for_one_row_in_one_run_are_all_taken_back_the_newest_first(make_instance: MakeInstance) -> None:
    instance = make_instance()
    new = instance.insert(
        "accounts", username="bob", domain="s.example", avatar_file_name="a.png", header_file_name="h"
    )
    row, header = (RowOf(kind.name, new, False, "s.example") for kind in (AVATARS, HEADERS))
    with a_run(instance) as (made, _, _):
        for subject, before, after in ((row, "a.png", "b.png"), (header, "b.png", "c.png"), (row, "c.png", "d.png")):
            change = SetColumns("accounts", new, {"avatar_file_name": before}, {"avatar_file_name": after})
            made.close(made.change(plan(change, subject=subject)))
    instance.media.write("cache/accounts/avatars/kept", b"x")
    for apply in (False, True):
        told = undo(opened(instance), "run", apply=apply)
        assert (told.reverted, told.conflicts) == (3, 0)
    (now,) = instance.db.execute("SELECT avatar_file_name AS n FROM accounts WHERE id = %s", [new]).fetchall()
    assert now == {"n": "a.png"}


def test_a_run_that_is_under_way_is_not_taken_back(make_instance: MakeInstance) -> None:
    instance = make_instance()
    key = stray(instance, 1)
    with a_run(instance, "service", hold=Hold.SHARED) as (service, _, _):
        list(service.execute([aside(key, "service")]))
        with pytest.raises(SafetyStop, match="still under way"):
            undo(opened(instance), "service", apply=True)
    assert undo(opened(instance), "service", apply=True).reverted == 1
    assert instance.media.read(key) == b"stray"


# --- owners -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "prefix"), [("4.2", ""), ("4.7", ""), ("4.7", "pre/fix")])  # 4.2 knows no prefix
def test_whom_a_key_belongs_to(make_instance: MakeInstance, version: str, prefix: str) -> None:
    instance = make_instance(version, *(["s3"] if prefix else []), **({"key_prefix": prefix} if prefix else {}))
    _, (local,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    remote = record(instance, MEDIA_FILES, remote_url="https://a.example/x", domain="a.example")
    base = f"{prefix}/" if prefix else ""
    with a_run(instance) as (_, _, world):
        asked = [
            Key(local),
            *map(Key, remote.keys),
            Key(f"{remote.key}x"),
            Key(f"{base}cache/accounts/avatars/109/876/543/210/987/654/original/a.png"),
            Key("other-tenant/secret.bin"),
            Key(f"{base}accounts/avatars/000/000/001/huge/a.png"),
            Key(f"{base}cache/site_uploads/files/000/000/001/original/a.png"),
            Key(f"{base}imports/data/000/000/001/original/a.csv"),
            Key(f"{base}.mastomend/quarantine/run/x"),
            Key("elsewhere/accounts/avatars/000/000/001/original/a.png"),
        ]
        found = world.owners.of(asked)
        assert world.owners.of([]) == []
    assert found[0] == Owned(True, RowOf(AVATARS.name, 1)) or (isinstance(found[0], Owned) and found[0].is_local)
    owned = found[1 : 1 + len(remote.keys)]
    assert all(isinstance(one, Owned) and not one.is_local and one.row.id == remote.id for one in owned)
    nobody, unknown, *foreign = found[1 + len(remote.keys) :]
    assert (nobody, unknown) == (Nobody(), Nobody())
    imports = Nobody() if version == "4.2" else Foreign()
    assert foreign == [Foreign(), Foreign(), Foreign(), imports, Foreign(), Foreign()]


@pytest.mark.parametrize("action", ["quarantine", "delete"])
def test_what_is_not_understood_is_never_touched(make_instance: MakeInstance, action: str) -> None:
    instance = make_instance()
    local_id, (local,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    remote = record(instance, AVATARS, domain="a.example")
    theirs = Key("other-tenant/secret.bin")
    instance.media.write(theirs, b"secret")
    changed = stray(instance, 5, b"longer than it was")
    keys = [theirs, Key(local), Key(remote.key), changed]
    before = {key: instance.media.read(key) for key in keys}
    sizes = {key: len(data or b"") for key, data in before.items()} | {changed: 3}
    with a_run(instance) as (made, _, _):
        plans = [
            aside(key, size=sizes[key])
            if action == "quarantine"
            else Plan(ObjectAt(key), Purged(Reason.EXPIRED), (Delete(key, sizes[key]),), Rule.PURGE)
            for key in keys
        ]
        verdicts = [done.verdict for done in made.execute(plans)]
    assert all(isinstance(verdict, Refused) and verdict.reason is Reason.CONFLICT for verdict in verdicts)
    assert {key: instance.media.read(key) for key in keys} == before
    assert local_id


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_question_one_commit_and_one_sync(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    keys = [stray(instance, n) for n in range(1, 41)]
    synced: list[Path] = []
    sync = durable.sync_folder

    def syncing(folder: Path) -> None:
        sync(folder)
        synced.append(folder)

    monkeypatch.setattr(durable, "sync_folder", syncing)
    with a_run(instance) as (made, journal, world):
        questions: list[int] = []
        ask = world.owners.of

        def counted(some: Sequence[Key]) -> Sequence[object]:
            questions.append(len(some))
            return ask(some)

        monkeypatch.setattr(world.owners, "of", counted)
        commits: list[int] = []
        commit = journal.commit

        def committing(*statements: Statement) -> None:
            commits.append(len(statements))
            commit(*statements)

        monkeypatch.setattr(journal, "commit", committing)
        done = list(made.execute(aside(key) for key in keys))
        assert (questions, len(commits)) == ([40, 40], 1), "before and after the move, of all of them at once"
        quarantine = instance.folder / "public/system/.mastomend/quarantine/run"
        assert synced.count(quarantine) == 1 and set(synced) <= {quarantine, *quarantine.parents}
        assert [one.verdict for one in done] == [SetAside(Reason.EXPIRED, files=1)] * 40
        assert journal.open_plans("run") == []
    assert all(instance.media.read(quarantine_key("run", key)) == b"stray" for key in keys)
    assert not (instance.folder / "public/system/cache").exists(), "empty folders went, as Mastodon does it"


def test_rows_of_a_batch_change_together_and_each_has_its_answer(make_instance: MakeInstance) -> None:
    """One was changed by somebody else, one does not take it: the others are changed."""
    instance = make_instance()
    ids = [
        instance.insert("accounts", username=f"u{n}", domain="a.example", avatar_file_name="a.png") for n in range(4)
    ]
    instance.db.execute("UPDATE accounts SET avatar_file_name = 'theirs.png' WHERE id = %s", [ids[1]])

    def change(record_id: int, size: str) -> Plan:
        after = {"avatar_file_name": "b.png", "avatar_file_size": size}
        set_ = SetColumns("accounts", record_id, {"avatar_file_name": "a.png"}, after)
        return plan(set_, subject=RowOf(AVATARS.name, record_id), rule=Rule.EVICT, verdict=Evicted(Reason.EXPIRED))

    with a_run(instance) as (made, _, _):
        sizes = ["1", "1", "no number", "1"]
        verdicts = [one.verdict for one in made.execute(map(change, ids, sizes))]
    assert [verdict.outcome for verdict in verdicts] == ["evicted", "deferred", "deferred", "evicted"]
    assert "somebody else" in verdicts[1].detail and "does not take it" in verdicts[2].detail
    names = [r["n"] for r in instance.db.execute("SELECT avatar_file_name AS n FROM accounts WHERE id > 0 ORDER BY id")]
    assert names == ["b.png", "theirs.png", "a.png", "b.png"]


def test_a_dry_run_shows_the_plans_and_the_numbers_that_would_come(make_instance: MakeInstance) -> None:
    instance = make_instance()
    keys = [stray(instance, n) for n in range(1, 4)]
    plans = [aside(key) for key in keys]
    told: list[str] = []
    foreseen = list(preview(plans, lambda one: told.append(str(one))))
    assert told[0] == f"{keys[0]}: set_aside\n  move {keys[0]} to the quarantine"
    assert all(instance.media.read(key) for key in keys), "nothing was done"
    with a_run(instance) as (made, _, _):
        assert list(made.execute(plans)) == foreseen


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_copy_between_storages_that_was_cut_off_is_nobody_s_to_settle(make_instance: MakeInstance) -> None:
    instance = make_instance()
    action = Transfer(MEDIA, Place("s3://new"), 5, 500)
    made = Plan(ObjectAt(Key("s3://new")), Copied(Reason.COPIED, files=5), (action,), Rule.TRANSFER)
    with a_run(instance, "dead") as (run, journal, world):
        assert "only the command that began that copy" in run.change(made).verdict.detail
        journal.plan("dead", [(7, made)])
        kept = next(one for one in journal.open_plans("dead") if one.number == 7)
        assert recover(world, journal, "dead", kept, 0.0) is None
        assert 7 not in [one.number for one in journal.open_plans("dead")]


def test_a_storage_that_is_not_at_hand_is_an_error_in_words(make_instance: MakeInstance) -> None:
    instance = make_instance()
    put = PutFile.of(Key(f"{FOLDER.format(1)}/a.png"), measure(b"x"), "image/png", Place("s3://gone"))
    with pytest.raises(ConfigurationError, match="s3://gone"), a_run(instance) as (made, _, _):
        made.change(plan(put))


def test_how_a_file_is_served_is_changed_if_it_still_is_and_taken_back(make_instance: MakeInstance) -> None:
    instance = make_instance()
    made_ = record(instance, AVATARS, domain="a.example")
    path = instance.folder / "public/system" / made_.key
    path.chmod(0o600)
    subject = RowOf(AVATARS.name, made_.id)
    with a_run(instance) as (made, _, _):
        wrong = SetServing(Key(made_.key), Serving(True), Serving(False))
        right = SetServing(Key(made_.key), Serving(False), Serving(True))
        refused, done = (made.change(plan(one, subject=subject)) for one in (wrong, right))
        assert isinstance(refused.verdict, Deferred) and "no longer handed out" in refused.verdict.detail
        assert done.verdict == RESTORED and path.stat().st_mode & 0o004
        made.close(done)
    assert undo(opened(instance), "run", apply=True).reverted == 1
    assert path.stat().st_mode & 0o077 == 0


def test_undo_says_beforehand_what_nothing_takes_back(make_instance: MakeInstance) -> None:
    """A row that was emptied comes back; the file that was deleted does not."""
    instance = make_instance()
    made_ = record(instance, AVATARS, domain="a.example")
    key, gone = Key(made_.key), stray(instance, 7)
    name = key.rpartition("/")[2]
    evict = Plan(
        RowOf(AVATARS.name, made_.id),
        Evicted(Reason.EXPIRED, files=1),
        (
            SetColumns("accounts", made_.id, {"avatar_file_name": name}, {"avatar_file_name": None}),
            Delete(key, len(made_.data)),
        ),
        Rule.EVICT,
    )
    purge = Plan(ObjectAt(gone), Purged(Reason.EXPIRED, files=1), (Delete(gone, 5),), Rule.PURGE)
    with a_run(instance) as (made, _, _):
        assert [one.verdict.outcome for one in made.execute([evict, purge])] == ["evicted", "purged"]
    assert instance.media.read(key) is None and instance.media.read(gone) is None
    instance.media.write("cache/accounts/avatars/kept", b"x")
    for apply in (False, True):
        told = undo(opened(instance), "run", apply=apply)
        assert (told.reverted, told.conflicts, told.irreversible) == (1, 0, 2)
        assert any(f"delete {gone}" in line and "is gone" in line for line in told.details)
    (now,) = instance.db.execute("SELECT avatar_file_name AS n FROM accounts WHERE id = %s", [made_.id]).fetchall()
    assert now == {"n": name}


# --- what a crash means ------------------------------------------------------------------------------------------------


def left_open(instance: SimulatedInstance, made: Plan, ticks: Sequence[int]) -> tuple[Done | None, list[Action]]:
    """A plan a crash left with those ticks, settled; what became of it, and what the journal says was done."""
    with a_run(instance, "dead") as (_, journal, world):
        journal.plan("dead", [(1, made)])
        journal.done("dead", [(1, position) for position in ticks])
        (kept,) = journal.open_plans("dead")
        done = recover(world, journal, "dead", kept, 0.0)
        (after,) = list(journal.plans("dead")) or [kept]
        return done, after.performed if done is not None else []


@pytest.mark.parametrize("rule", [Rule.SET_ASIDE, Rule.PURGE])
def test_where_every_action_stands_for_itself_what_happened_happened(make_instance: MakeInstance, rule: Rule) -> None:
    """The rest is not done later, when nobody has looked again."""
    instance = make_instance()
    there, gone = stray(instance, 1), Key(f"{FOLDER.format(2)}/stray.png")
    if rule is Rule.SET_ASIDE:
        instance.media.write(quarantine_key("dead", gone), b"stray")
        made = Plan(
            ObjectAt(there),
            SetAside(Reason.EXPIRED, files=2),
            tuple(QuarantineFile(key, quarantine_key("dead", key)) for key in (there, gone)),
            rule,
        )
    else:
        made = Plan(
            ObjectAt(there), Purged(Reason.EXPIRED, files=2, bytes=10), (Delete(there, 5), Delete(gone, 5)), rule
        )
    done, performed = left_open(instance, made, [])
    assert instance.media.read(there) == b"stray"
    assert done is not None and done.verdict.files == 1 and performed == [made.actions[1]]


@pytest.mark.parametrize("has_changed", [False, True])
def test_an_eviction_is_finished_once_its_row_is_changed(make_instance: MakeInstance, has_changed: bool) -> None:
    instance = make_instance()
    made_ = record(instance, AVATARS, domain="a.example")
    key = Key(made_.key)
    change = SetColumns("accounts", made_.id, {"avatar_file_name": key.rpartition("/")[2]}, {"avatar_file_name": None})
    if has_changed:
        instance.db.execute("UPDATE accounts SET avatar_file_name = NULL WHERE id = %s", [made_.id])
    actions = (change, Delete(key, len(made_.data)))
    made = Plan(RowOf(AVATARS.name, made_.id), Evicted(Reason.EXPIRED, files=1), actions, Rule.EVICT)
    done, _ = left_open(instance, made, [])
    assert (done is not None) == has_changed
    assert (instance.media.read(key) is None) == has_changed


def test_a_copy_that_changed_before_it_was_made_is_a_conflict_and_a_defect_is_one_record_s(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    keys = [stray(instance, n) for n in range(3)]
    target = Key(f"{FOLDER.format(9)}/copy.png")
    with a_run(instance) as (made, _, world):
        copy = CopyFile(target, keys[0], 5, "0" * 64)
        assert "no longer the file" in made.change(plan(copy)).verdict.detail
        store = world.store()

        def defect(key: Key) -> Serving | None:
            if key == keys[1]:
                raise RuntimeError("a defect")
            return Serving(True)

        monkeypatch.setattr(store, "serving", defect)
        serve = [plan(SetServing(key, Serving(True), Serving(False)), subject=ObjectAt(key)) for key in keys]
        outcomes = [one.verdict for one in made.execute(serve)]
    assert [one.outcome for one in outcomes] == ["restored", "deferred", "restored"]
    assert outcomes[1].reason is Reason.INTERNAL_ERROR


def test_a_run_of_the_same_kind_that_was_cut_off_goes_on(make_instance: MakeInstance) -> None:
    instance = make_instance()
    keys = [stray(instance, n) for n in range(1, 3)]
    here = opened(instance)
    with (
        contextlib.suppress(KeyboardInterrupt),
        a_run(instance, "20261101T000000Z-first") as (first, _, _),
    ):
        list(first.execute([aside(keys[0], first.id)]))
        raise KeyboardInterrupt
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.commit(("UPDATE runs SET started_at = ? WHERE id = ?", (_recently(), "20261101T000000Z-first")))
    with a_run(instance, "20261102T000000Z-second") as (second, _, _):
        assert (second.id, second.resumed) == ("20261101T000000Z-first", True)
        list(second.execute([aside(keys[1], second.id)]))
    with ground(here, "x", lambda text: None) as where, run(where, "test", "another scope", "x"):
        assert where.journal.changed("20261101T000000Z-first") == 2
        assert where.journal.runs()[0].finished_at is not None
    assert undo(here, "20261101T000000Z-first", apply=True).reverted == 2


def _recently() -> str:
    return datetime.now(UTC).isoformat()


def test_a_lock_is_given_back_with_the_last_record(make_instance: MakeInstance) -> None:
    """Also when nobody asks for another one."""
    settings = opened(make_instance()).configuration.database
    with DatabaseLocks(settings, "one") as ours, DatabaseLocks(settings, "two") as theirs:
        with ours.records(["a 1", "a 2"]) as free:
            assert free == [True, True]
            with theirs.records(["a 2", "a 3"]) as there:
                assert there == [False, True]
        with theirs.records(["a 1", "a 2", "a 3"]) as free:
            assert free == [True, True, True]


def test_who_opens_a_dead_run_s_file_as_its_owner_ends_does_not_own_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock would be on a file that nobody finds any more: a second one could own the same run."""
    really = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        (tmp_path / "owners" / "run").unlink()  # the owner ends right now
        really(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with owned(tmp_path, "run") as is_ours:
        assert not is_ours
    monkeypatch.undo()
    with owned(tmp_path, "run") as is_ours, owned(tmp_path, "run") as theirs:
        assert (is_ours, theirs) == (True, False)
