"""Each safety rule has a test that tries to break it (product.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from conftest import MakeInstance, opened

from mastomend.actions.actions import PutFile, QuarantineFile, SetColumns, quarantine_key
from mastomend.actions.executor import Conflict, Executor
from mastomend.actions.journal import Journal
from mastomend.commands.repair import RepairOptions, changing_parts, repair
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import JournalError
from mastomend.inventory.expectations import DatabaseExpectations
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Outcome, RecordOutcome

OUTCOME = RecordOutcome("accounts/avatars", 1, False, None, None, Outcome.RESTORED, None, "", "")


@contextlib.contextmanager
def executor(instance: SimulatedInstance) -> Iterator[tuple[Executor, Journal]]:
    journal = Journal(instance.state)
    with contextlib.closing(journal), changing_parts(opened(instance)) as (database, store, pool):
        journal.begin("run", "test", "all", scan=None)
        yield Executor("run", journal, store, pool, DatabaseExpectations(database, "")), journal


@pytest.mark.parametrize("even_if_expected", [False, True])
def test_a_local_record_s_file_is_never_moved(make_instance: MakeInstance, even_if_expected: bool) -> None:
    instance = make_instance()
    _, (key,) = instance.add_image(AVATARS, picture(1), username="alice", uri="x:alice")
    with executor(instance) as (run, _), pytest.raises(Conflict, match="local record"):
        run.apply(OUTCOME, [QuarantineFile(Key(key), quarantine_key("run", key), even_if_expected)])
    assert instance.media.read(key) == instance.files[key]


def test_a_file_some_row_expects_is_not_moved(make_instance: MakeInstance) -> None:
    instance = make_instance()
    identity = {"domain": "s.example", "username": "bob", "uri": "x:bob"}
    _, (key,) = instance.add_image(AVATARS, picture(1), **identity)  # type: ignore[arg-type]
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
    identity = {"domain": "good.example", "username": "a", "uri": "x:a"}
    _, keys = instance.add_image(AVATARS, picture(1), remote_url=origin.url("/a"), **identity)  # type: ignore[arg-type]
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
        identity = {"domain": "good.example", "username": f"u{n}", "uri": f"x:{n}"}
        new, (key,) = instance.add_image(AVATARS, picture(n), remote_url=origin.url(f"/{n}"), **identity)  # type: ignore[arg-type]
        instance.media.delete(key)
        ids.append(new)
        keys.append(key)
    (instance.folder / "public/system/x").write_bytes(b"x")
    scan = repair(opened(instance), RepairOptions()).scan
    instance.media.write(keys[0], instance.files[keys[0]])
    instance.db.execute("DELETE FROM accounts WHERE id = %s", [ids[1]])
    instance.db.execute("UPDATE accounts SET avatar_file_name = NULL WHERE id = %s", [ids[2]])
    report = repair(opened(instance), RepairOptions(apply=True, scan=scan))
    assert (report.records, report.outcomes["restored"]) == (1, 1)
    assert set(network.fetched()) == {f"{origin.address}/3"}
