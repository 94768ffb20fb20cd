"""Ticks are written behind what they tell of: a crash may take the last of them, and nothing may hang on that."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from conftest import MakeInstance, opened
from runs import a_run, plan

from mastomend.actions.actions import PutFile, SetColumns
from mastomend.actions.journal import Journal
from mastomend.actions.recovery import recover
from mastomend.commands.undo import undo
from mastomend.demo.pictures import picture
from mastomend.errors import JournalError
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS
from mastomend.storage.bodies import measure
from mastomend.vocabulary import RowOf


def test_a_row_that_was_changed_counts_as_changed_though_its_tick_was_lost(make_instance: MakeInstance) -> None:
    """Two new files, the row, a crash; then one of the files goes away: the other is what the row names, and stays."""
    instance = make_instance()
    record, keys = instance.add_image(AVATARS, picture(1), username="u", uri="x:1", domain="a.example")
    folder = keys[0].rpartition("/")[0]
    gif = picture(2, form="gif")
    puts = [
        PutFile.of(Key(f"{folder}/new.gif"), measure(gif), "image/gif"),
        PutFile.of(Key(f"{folder.replace('original', 'static')}/new.png"), measure(picture(2)), "image/png"),
    ]
    (row,) = instance.db.execute("SELECT avatar_file_name AS name FROM accounts WHERE id = %s", [record]).fetchall()
    change = SetColumns("accounts", record, {"avatar_file_name": row["name"]}, {"avatar_file_name": "new.gif"})
    here = opened(instance)
    with a_run(instance) as (run, journal, world):
        run.change(plan(*puts, change, subject=RowOf("accounts/avatars", record, False, "a.example")))
        journal.commit(("UPDATE steps SET done_at = NULL", ()))  # what the crash took
        instance.media.delete(puts[1].key)
        (kept,) = journal.open_plans("run")
        assert recover(world, journal, "run", kept, 0.0) is None, "it is not finished"
        assert instance.media.read(puts[0].key) == gif, "the row names it"
    assert undo(here, "run", apply=True).conflicts == 0
    (now,) = instance.db.execute("SELECT avatar_file_name AS name FROM accounts WHERE id = %s", [record]).fetchall()
    assert now == row, "and the row can be taken back"


def test_what_cannot_be_ticked_off_stops_the_run(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the journal fills up: nobody waits for the tick, but nothing is done after it."""
    state = opened(make_instance()).state
    with closing(Journal(state)) as journal:
        journal.begin("run", "repair", "all", scan=None)
        with sqlite3.connect(state / "journal.sqlite3") as other:
            other.execute("CREATE TRIGGER full BEFORE UPDATE ON steps BEGIN SELECT raise(ABORT, 'disk is full'); END")
            other.execute("INSERT INTO steps (run, plan, position, action) VALUES ('run', 1, 0, '{}')")
        journal.done("run", [(1, 0)])
        with pytest.raises(JournalError, match="disk is full"):
            journal.commit(("SELECT 1", ()))
        with pytest.raises(JournalError, match="disk is full"):
            journal.query("SELECT 1")
