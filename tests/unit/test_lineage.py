"""Which run still stands, of a run and the undos that are about it."""

from __future__ import annotations

import pytest

from mastomend.actions.journal import JournaledRun
from mastomend.actions.lineage import Lineage


def _run(name: str, undoes: str | None = None, **summary: int) -> JournaledRun:
    at = f"2026-01-01T00:00:0{ord(name) - ord('a')}+00:00"
    return JournaledRun(name, "undo" if undoes else "repair", "", None, at, at, dict(summary), undoes)


_CHAIN = [_run("a"), _run("b", "a", reverted=9), _run("c", "b", reverted=9)]


@pytest.mark.parametrize(
    ("later", "asked", "by"),
    [
        ([], "a", None),  # c took b back
        ([], "b", "c"),
        ([], "c", None),
        ([_run("d", "a", reverted=9)], "c", "d"),
        ([_run("d", "a", reverted=8, conflicts=1)], "c", "d"),  # what c brought back is gone again, but for one
        ([_run("d", "a", reverted=8, conflicts=1)], "a", None),  # and the one may be asked for again
        ([_run("d", "a", reverted=0, conflicts=9)], "c", None),  # it did nothing
        ([_run("d", "c", reverted=8, conflicts=1)], "c", None),
        ([_run("d", "c", reverted=8, conflicts=1)], "b", "d"),
    ],
)
def test_what_went_over_it_since_is_in_its_way(later: list[JournaledRun], asked: str, by: str | None) -> None:
    found = Lineage([*_CHAIN, *later]).overtaken_by(asked)
    assert (found.id if found else None) == by


def test_an_undo_that_left_something_is_told_until_it_is_taken_back_itself() -> None:
    partial = [_run("a"), _run("b", "a", reverted=8, conflicts=1)]
    found = Lineage(partial).partly_taken_back("a")
    assert found is not None and found.id == "b"
    assert Lineage([*partial, _run("c", "b", reverted=8)]).partly_taken_back("a") is None
    again = Lineage([*partial, _run("c", "a", reverted=0, conflicts=1)]).partly_taken_back("a")
    assert again is not None and again.id == "b", "a second try that did nothing has taken nothing back"
