"""What a repair takes up, and what the journal and the ledger tell of it, where there may be millions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from mastomend.actions.actions import Action, ForgetCached, PutFile
from mastomend.actions.deferral import Deferral
from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.actions.plan import Plan, Rule
from mastomend.errors import JournalError
from mastomend.inventory.findings import FINDINGS as REPORT
from mastomend.inventory.work_list import WorkList, work_list
from mastomend.inventory.workspace import MEBIBYTE, scratch
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Deferred, Gone, Outcome, Restored, SetAside, Source, Verdict
from mastomend.reasons import Reason
from mastomend.storage.bodies import measure
from mastomend.vocabulary import Done, Finding, ObjectAt, RowOf, State

AVATARS, HEADERS = "accounts/avatars", "accounts/headers"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finding(kind: str, record: int, host: str, style: str = "original", state: State = State.MISSING) -> Finding:
    url = f"https://{host}/{record}.png"
    return Finding(
        kind, record, style, f"k/{record}/{style}", state, False, host, url, "f.png", "image/png", 1, None, ""
    )


FINDINGS = [
    *(finding(AVATARS, n, "big.example") for n in range(1, 8)),
    finding(AVATARS, 20, "small.example"),
    finding(AVATARS, 20, "small.example", "static", State.CORRUPT),
    finding(HEADERS, 3, "big.example"),
    finding(HEADERS, 21, "small.example"),
]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[WorkList]:
    with duckdb.connect(":memory:") as connection:
        REPORT.create(connection, "findings")
        REPORT.append(connection, "findings", FINDINGS)
        REPORT.save(connection, "findings", tmp_path / "findings.parquet")
    with work_list(tmp_path / "run", 0, tmp_path / "findings.parquet", [AVATARS, HEADERS]) as made:
        yield made


def taken_up(records: WorkList, *kinds: str) -> list[tuple[str, int]]:
    return [(kind, n) for batch in records.batches(kinds or (AVATARS, HEADERS)) for kind, n, _ in batch]


def test_hosts_take_turns_and_each_record_comes_once(records: WorkList) -> None:
    order = taken_up(records)
    assert order == [
        *[(AVATARS, 1), (AVATARS, 20)],
        *[(AVATARS, 2), (HEADERS, 21)],
        *[(AVATARS, n) for n in range(3, 8)],
        (HEADERS, 3),
    ]
    assert len(records) == len(order) == 10
    assert taken_up(records, HEADERS) == [(HEADERS, 21), (HEADERS, 3)]
    (corrupt,) = [styles for batch in records.batches([AVATARS]) for _, n, styles in batch if n == 20]
    assert corrupt == {"static"}


def test_what_is_decided_is_left_out_and_what_is_not_due_is_not_kept(records: WorkList) -> None:
    records.leave_out([(AVATARS, 1), (HEADERS, 21), (HEADERS, 1), ("custom_emojis/images", 2)])
    assert taken_up(records, HEADERS) == [(HEADERS, 3)]
    assert (AVATARS, 1) not in taken_up(records)
    records.keep([(AVATARS, 1), ("custom_emojis/images", 5), (AVATARS, 5), (HEADERS, 3)])
    assert taken_up(records) == [(AVATARS, 5), (HEADERS, 3)]
    records.keep([])
    assert len(records) == 0
    assert taken_up(records) == []


def test_sound_is_what_these_kinds_have_no_finding_of(records: WorkList) -> None:
    known = [(AVATARS, 1), (AVATARS, 99), (HEADERS, 3), (HEADERS, 20), ("custom_emojis/images", 5)]
    assert list(records.sound(known)) == [(AVATARS, 99), (HEADERS, 20)]
    mixed = [(kind, n) for n in range(100, 140) for kind in (HEADERS, AVATARS)]
    assert [kind for kind, _ in records.sound(mixed)] == [AVATARS] * 40 + [HEADERS] * 40, "kind by kind"


def test_several_lists_of_one_run_are_read_side_by_side(records: WorkList) -> None:
    one, other = records.batches([AVATARS]), records.batches([HEADERS])
    assert {n for _, n, _ in next(other)} == {21, 3}
    assert len(next(one)) == 8


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(JournalError, match="file/run cannot be used: Not a directory") as caught,
        scratch(tmp_path / "file" / "run", 0),
    ):
        pass
    assert "--state" in str(caught.value.hint)


def test_two_at_once_do_not_share_their_spill(tmp_path: Path) -> None:
    """A dry run's list is read while its report is written."""
    with scratch(tmp_path, 64 * MEBIBYTE) as one:
        one.execute("CREATE TABLE t AS SELECT n, md5(n::VARCHAR) AS x FROM range(1500000) r(n)")
        with scratch(tmp_path, 64 * MEBIBYTE) as other:
            other.execute("CREATE TABLE t AS SELECT n, md5((n + 1)::VARCHAR) AS x FROM range(1500000) r(n)")
            assert other.execute("SELECT count(*) FROM t WHERE x <> md5((n + 1)::VARCHAR)").fetchone() == (0,)
        assert one.execute("SELECT count(*) FROM t WHERE x <> md5(n::VARCHAR)").fetchone() == (0,)


def test_what_a_killed_process_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    for name in ("old", "young"):
        (tmp_path / name / "spill-x").mkdir(parents=True)
        (tmp_path / name / "spill-x" / "file").write_text("x")
    with scratch(tmp_path / "alive", 0):
        (alive,) = (tmp_path / "alive").iterdir()
        for old in (tmp_path / "old" / "spill-x", alive):
            os.utime(old, (0, 0))
        with scratch(tmp_path / "run", 0):
            assert [p.parent.name for p in tmp_path.glob("*/spill-x")] == ["young"]
            assert alive.exists(), "a run may take days"


# --- the journal ------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "state")) as made:
        made.begin("run", "repair", "all", scan=None)
        yield made


def row_of(record: int) -> RowOf:
    return RowOf(AVATARS, record, False, "a.example")


def restored(record: int, *actions: Action) -> Plan:
    return Plan(row_of(record), Restored(Reason.RESTORED), actions, Rule.MEND)


PUT = PutFile.of(Key("a/b"), measure(b"x"), "image/png")


def test_plans_come_in_pages_in_either_order(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mastomend.actions.journal.PAGE", 3)
    order = [5, 3, 9, 1, 7, 2, 8, 4]
    for number, record in enumerate(order, 1):
        journal.plan("other", [(number, restored(record, PUT))])  # two runs in one file
        journal.plan("run", [(number, restored(record, PUT, ForgetCached(("c",))))])
        if record != 9:
            journal.done("run", [(number, 0)])
    made = [row_of(n) for n in order if n != 9]
    assert [kept.plan.subject for kept in journal.plans("run")] == made
    assert [kept.plan.subject for kept in journal.plans("run", newest_first=True)] == made[::-1]
    assert journal.changed("run") == len(made)
    assert journal.actions_done("run") == {"put": len(made)}
    assert list(journal.plans("none")) == []
    assert journal.changed("none") == 0


def test_plans_may_be_closed_while_they_are_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mastomend.actions.journal.PAGE", 2)
    journal.plan("run", [(number, restored(number, PUT)) for number in range(1, 8)])
    journal.done("run", [(number, 0) for number in range(1, 8)])
    journal.begin("undo", "undo", "run", scan=None, undoes="run")
    seen = []
    for kept in journal.plans("run", newest_first=True, but_taken_back=True):
        seen.append(kept.number)
        journal.plan("undo", [(kept.number, replace(kept.plan, actions=()))])
        undone = Done(kept.plan.subject, Restored(Reason.UNDONE), kept.number)
        journal.outcome("undo", (undone, [kept.number]))
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert journal.outcome_counts("undo") == {Outcome.RESTORED: 7}
    assert sorted(journal.decided("undo")) == [(AVATARS, n) for n in range(1, 8)]
    assert journal.standing("run") == 0 and journal.changed("run") == 7
    assert list(journal.plans("run", newest_first=True, but_taken_back=True)) == []
    assert journal.open_plans("undo") == []


def test_two_plans_for_one_record_in_one_run_are_two(journal: Journal) -> None:
    """The second does not take the place of the first: both are taken back, the later one first."""
    journal.plan("run", [(1, restored(1, PUT)), (2, restored(1, ForgetCached(("c",))))])
    journal.done("run", [(1, 0), (2, 0)])
    journal.outcome("run", (Done(row_of(1), Restored(Reason.RESTORED)), [1]))
    assert [kept.number for kept in journal.open_plans("run")] == [2], "an outcome closes the plan it comes from"
    journal.outcome("run", (Done(row_of(1), Restored(Reason.RESTORED)), [2]))
    kept = list(journal.plans("run", newest_first=True))
    assert [one.plan.actions for one in kept] == [(ForgetCached(("c",)),), (PUT,)]


@pytest.mark.parametrize(
    "verdict",
    [
        Restored(Reason.RESTORED, Source.BACKUP, 2, 12, tried="origin: gone"),
        SetAside(Reason.EXPIRED, None, 1, 3, "x stays: it is in use"),
        Gone(Reason.NOT_FOUND, "404", Source.ORIGIN),
        Deferred(Reason.TIMEOUT),
    ],
)
def test_verdicts_and_subjects_survive_the_journal(journal: Journal, verdict: Verdict) -> None:
    for subject in (RowOf(AVATARS, 5, True, None, "https://a/b"), ObjectAt(Key("cache/ä b"))):
        journal.outcome("run", (Done(subject, verdict), []))
    at, of = journal.outcomes("run")
    assert (at.subject, at.verdict) == (ObjectAt(Key("cache/ä b")), verdict)
    assert isinstance(of.subject, RowOf) and (of.subject.is_local, of.subject.remote_url) == (True, "https://a/b")
    assert of.verdict == verdict and of.row().outcome is verdict.outcome


def test_a_glance_does_not_wait_and_a_question_does(journal: Journal) -> None:
    number = journal.note(("INSERT INTO runs (id, command, scope, started_at) VALUES ('x', 'repair', 'all', '')", ()))
    assert [row["id"] for row in journal.query("SELECT id FROM runs WHERE id = 'x'")] == ["x"]
    assert journal.written >= number
    assert [row["id"] for row in journal.glance("SELECT id FROM runs WHERE id = 'x'")] == ["x"]
    with journal._lock:  # nobody can commit now
        journal.note(("DELETE FROM runs WHERE id = 'x'", ()))
        assert len(journal.glance("SELECT id FROM runs WHERE id = 'x'")) == 1
    assert journal.query("SELECT id FROM runs WHERE id = 'x'") == []


def test_a_record_settled_twice_at_once_counts_both_tries(journal: Journal) -> None:
    """The first entry may not be in the file yet when the second is made."""
    ledger = Ledger(journal, Deferral(tries=50))
    deferred = Deferred(Reason.TIMEOUT)
    with journal._lock:
        ledger.settle(row_of(1), deferred, NOW)
        later = threading.Thread(target=ledger.settle, args=(row_of(1), deferred, NOW + timedelta(days=1)))
        later.start()
        later.join(0.2)
        assert later.is_alive(), "it has to wait for the first"
    later.join()
    entry = ledger.entry(AVATARS, 1)
    assert entry is not None
    assert (entry.tries, entry.first_seen) == (2, NOW)


def test_what_the_ledger_remembers_of_the_unwritten_stays_short(journal: Journal) -> None:
    ledger = Ledger(journal, Deferral())
    for record in range(500):
        ledger.settle(row_of(record), Gone(Reason.NOT_FOUND), NOW)
        if record % 50 == 0:
            journal.commit()
    assert len(ledger._unwritten) < 60
    assert len(list(ledger.records(handed_over=False))) == 500
    ledger.forget((AVATARS, n) for n in range(499))
    assert [entry.id for entry in ledger.lost()] == [499]
    assert len(ledger._unwritten) < 60, "what is forgotten together is written when that returns"


def test_many_are_forgotten_in_few_transactions(journal: Journal) -> None:
    ledger = Ledger(journal, Deferral())
    before = journal.written
    ledger.forget((AVATARS, n) for n in range(5_000))
    journal.commit()
    assert journal.written - before == 6
