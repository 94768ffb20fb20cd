"""Which run still stands, of a run and the undos that are about it, plan by plan; undos may be cut off anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastomend.actions.actions import PutFile
from mastomend.actions.journal import Journal, JournaledRun
from mastomend.actions.lineage import Lineage
from mastomend.actions.plan import Plan, Rule
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS, HEADERS
from mastomend.outcomes import Restored
from mastomend.reasons import Reason
from mastomend.storage.bodies import measure
from mastomend.vocabulary import Done, RowOf

PLANS = 4


@contextlib.contextmanager
def _journal(folder: Path) -> Iterator[Journal]:
    with contextlib.closing(Journal(folder)) as made:
        yield made


def _plan(number: int, part: int = 0) -> Plan:
    put = PutFile.of(Key(f"a/{number}"), measure(b"x"), "image/png")
    rule = Rule.TAKE_BACK if part else Rule.MEND
    return Plan(RowOf(AVATARS.name, number), Restored(Reason.UNDONE if part else Reason.RESTORED), (put,), rule, part)


def _did(journal: Journal, run: str, undoes: str | None, numbers: list[int], *, ends: bool = True) -> None:
    journal.begin(run, "undo" if undoes else "repair", undoes or "all", scan=None, undoes=undoes)
    for number in numbers:
        plan = _plan(number, number if undoes else 0)
        journal.plan(run, [(number, plan)])
        journal.done(run, [(number, 0)])
        journal.outcome(run, (Done(plan.subject, plan.verdict, plan.part), [number]))
    if ends:
        journal.finish(run, {"reverted": len(numbers)} if undoes else {})


def _standing(journal: Journal, run: str) -> set[int]:
    found = {kept.number for kept in journal.plans(run, but_taken_back=True)}
    assert len(found) == journal.standing(run)
    return found


@given(st.data())
def test_what_stands_is_as_it_was_left(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Against a model of the world: an undo of a first run makes a state of its own (what it took away waits in its
    quarantine); an undo of an undo makes the state before that one.
    """
    everything = list(range(1, PLANS + 1))
    with _journal(tmp_path_factory.mktemp("journal")) as journal:
        _did(journal, "run-000", None, everything)
        runs = ["run-000"]
        before = {("run-000", n): "nothing" for n in everything}
        after = {("run-000", n): "mended" for n in everything}
        now, last = dict.fromkeys(everything, "mended"), dict.fromkeys(everything, "run-000")
        for step in range(1, data.draw(st.integers(1, 8)) + 1):
            asked = data.draw(st.sampled_from(runs))
            stands = sorted(_standing(journal, asked))
            if not stands:
                continue
            done = data.draw(st.lists(st.sampled_from(stands), unique=True, min_size=1))  # then it is cut off
            name = f"run-{step:03}"
            _did(journal, name, asked, done)
            runs.append(name)
            for n in done:
                before[name, n] = now[n]
                after[name, n] = name if asked == "run-000" else before[asked, n]
                now[n], last[n] = after[name, n], name
        for run in runs:
            for n in _standing(journal, run):
                assert after[run, n] == now[n], "what would be taken back is as that run left it"
        for n in everything:
            assert n in _standing(journal, last[n]), "what was done last can always be taken back"
            assert (n in _standing(journal, "run-000")) == (now[n] == "mended")


def test_an_undo_that_was_cut_off_leaves_the_rest_within_reach(tmp_path: Path) -> None:
    with _journal(tmp_path) as journal:
        _did(journal, "a", None, [1, 2, 3, 4])
        _did(journal, "b", "a", [1, 2, 3, 4])
        _did(journal, "c", "b", [1, 2], ends=False)
        for _ in range(2):
            assert [_standing(journal, one) for one in "abc"] == [{1, 2}, {3, 4}, {1, 2}]
            journal.finish("c", {"cut_off": True, "reverted": 2})
        _did(journal, "d", "a", [1, 2])
        assert (_standing(journal, "b"), _standing(journal, "c"), _standing(journal, "d")) == ({3, 4}, set(), {1, 2})
        _did(journal, "e", "d", [1, 2])
        assert (_standing(journal, "a"), _standing(journal, "b")) == ({1, 2}, {3, 4})
        _did(journal, "f", "b", [3, 4])
        assert _standing(journal, "a") == {1, 2, 3, 4}


def test_what_came_after_it_and_is_taken_back_already_is_nothing_to_wait_for(tmp_path: Path) -> None:
    """Two plans of one row: a dry run trusts that the later one will be gone by then, if that is still to go."""
    with _journal(tmp_path) as journal:
        journal.begin("a", "repair", "all", scan=None)
        plans = [_plan(1), replace(_plan(1), subject=RowOf(HEADERS.name, 1))]
        journal.plan("a", list(enumerate(plans, 1)))
        journal.done("a", [(1, 0), (2, 0)])
        journal.outcome("a", *((Done(plan.subject, plan.verdict), [n]) for n, plan in enumerate(plans, 1)))
        found = [(kept.is_followed, kept.is_replaced) for kept in journal.plans("a", but_taken_back=True)]
        assert found == [(True, False), (False, False)], "they share the row, and no file"
        journal.begin("b", "undo", "a", scan=None, undoes="a")
        journal.outcome("b", (Done(plans[1].subject, Restored(Reason.UNDONE), 2), []))
        assert [kept.is_followed for kept in journal.plans("a", but_taken_back=True)] == [False]
    with _journal(tmp_path / "refused") as journal:
        journal.begin("a", "repair", "all", scan=None)
        journal.plan("a", list(enumerate(plans, 1)))
        journal.done("a", [(1, 0)])
        assert [kept.is_followed for kept in journal.plans("a")] == [False], "the later one has changed nothing"


def test_no_plan_looks_through_all_outcomes(tmp_path: Path) -> None:
    """A journal holds millions: each plan looks up its own."""
    with _journal(tmp_path) as journal:
        _did(journal, "a", None, [1])
        asked: list[str] = []
        journal.query = lambda sql, parameters=(): asked.append(sql) or Journal.query(journal, sql, parameters)  # type: ignore[method-assign, func-returns-value]
        assert journal.standing("a") == len(list(journal.plans("a", but_taken_back=True))) == 1
        for sql in asked:
            steps = [
                row["detail"] for row in Journal.query(journal, f"EXPLAIN QUERY PLAN {sql}", ["a"] * sql.count("?"))
            ]
            assert not [step for step in steps if step.startswith(("SCAN o", "SCAN plans", "SCAN steps", "SCAN s"))], (
                steps
            )


def _run(name: str, undoes: str | None = None, **summary: int) -> JournaledRun:
    at = f"2026-01-01T00:00:0{ord(name) - ord('a')}+00:00"
    return JournaledRun(name, "undo" if undoes else "repair", "", None, at, at, dict(summary), undoes)


@pytest.mark.parametrize(
    ("more", "asked", "by"),
    [
        ([], "a", "c"),
        ([_run("d", "a", reverted=0, conflicts=9)], "a", "c"),  # it did nothing
        ([_run("d", "c", cut_off=1)], "a", "d"),  # it may have
        ([_run("d"), _run("e", "d", reverted=1)], "a", "c"),  # another family
    ],
)
def test_the_newest_that_did_something_is_named(more: list[JournaledRun], asked: str, by: str) -> None:
    chain = [_run("a"), _run("b", "a", reverted=9), _run("c", "b", reverted=9)]
    found = Lineage([*chain, *more]).overtaken_by(asked)
    assert found is not None and found.id == by
    assert Lineage(chain).overtaken_by("c") is None, "b came before"
