"""What first-time users stumbled over in a third round: each of them once, as a rule."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from broken import keep_folders, record
from conftest import MakeInstance, opened
from tool import run

from mastomend.actions.journal import Journal
from mastomend.commands.names import refuse_unknown
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.database.reader import MastodonDatabase
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError, DatabaseError, JournalError
from mastomend.inventory.keeping import Policy
from mastomend.inventory.workspace import scratch
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.selection import Selection, parse_account
from mastomend.progress import Silent
from mastomend.storage.filesystem import FilesystemStore

APPLY = RepairOptions(apply=True, max_missing_percent=100)


class Listening(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


# --- after cleanup ----------------------------------------------------------------------------------------------------


def test_what_cleanup_has_taken_is_named_as_that(make_instance: MakeInstance, network: Fediverse) -> None:
    """A run that was taken back, and whose files are gone for good: nobody is sent to an undo that can do nothing."""
    instance = make_instance()
    record(instance, AVATARS, picture(1), origin=network.add("good.example"), name="a", damage="missing")
    keep_folders(instance)
    first = repair(opened(instance), APPLY).run
    back = undo(opened(instance), first, apply=True)
    assert back.reverted == 1
    with pytest.raises(ConfigurationError) as told:
        undo(opened(instance), "latest", apply=False)
    assert told.value.hint.endswith(f"To take that one back: mastomend undo {back.run} --apply")
    assert run(instance.env, "cleanup", "--older-than", "0d", "--apply").returncode == 0
    with contextlib.closing(Journal(instance.state)) as journal:
        newest = journal.runs()[0].id
    with pytest.raises(ConfigurationError) as told:
        undo(opened(instance), "latest", apply=False)
    assert f"cleanup {newest} has removed: they come back by a repair." in told.value.hint
    assert "undo" not in told.value.hint.removeprefix("Older runs that still stand are in history. ")
    for one, why in (
        (first, f"the cleanup {newest} has removed it"),
        (back.run, "it is an undo"),
        (newest, "it removed what was old"),
    ):
        shown = run(instance.env, "show", one, COLUMNS="200")
        assert shown.returncode == 2 and why in shown.stderr and f"history {one}" in shown.stderr
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.begin("20991126T000000Z-cut", "prune", "all", scan=None)
    assert "it was cut off before it decided anything" in run(instance.env, "show", "20991126T000000Z-cut").stderr


# --- who is meant -----------------------------------------------------------------------------------------------------


def test_a_slip_of_the_finger_in_a_name(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, name="alice")
    made = record(instance, origin=network.add("art.example"), name="user3")
    for given, meant in (
        ("@alcie", "@alice"),
        ("@usr3@art.example", "@user3@art.example"),
        ("@user3@arts.example", "@user3@art.example"),
    ):
        told = run(instance.env, "check", "--account", given, COLUMNS="200")
        assert told.returncode == 2 and f"Did you mean {meant}?" in told.stderr
    with MastodonDatabase(opened(instance).configuration.database) as database:
        with pytest.raises(ConfigurationError) as nobody:
            refuse_unknown(database, Selection(accounts=(parse_account("@quentin@art.example", ()),)))
        assert "Did you mean" not in nobody.value.hint
        refuse_unknown(database, Selection(accounts=(parse_account(str(made.id), ()),)))
    with pytest.raises(ConfigurationError):
        undo(opened(instance), "latest", apply=False)
    by_number = run(instance.env, "check", "--account", str(made.id), "--json")
    assert '"expected": 1' in by_number.stdout or '"expected":1' in by_number.stdout


# --- said before it is tried ------------------------------------------------------------------------------------------


def test_a_dry_run_that_would_stop_does_not_end_with_go_on(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u")
    options = PruneOptions(Policy(budget=0))
    assert not prune(opened(instance), options).is_barred
    monkeypatch.setattr(FilesystemStore, "unwritable", lambda self, prefix: "this user may not write into /x")
    assert prune(opened(instance), options).is_barred
    monkeypatch.undo()
    instance.db.execute('CREATE ROLE "looks-only" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "looks-only"')
    try:
        text = instance.env.read_text(encoding="utf-8").replace("DB_USER=postgres", "DB_USER=looks-only")
        instance.env.write_text(text, encoding="utf-8")
        for command in ("prune", "guard"):
            told = run(instance.env, command, "--budget", "0", COLUMNS="200").stdout
            assert "Once what stops it (above) is mended: " in told and "Next: " not in told
    finally:
        instance.db.execute('DROP OWNED BY "looks-only"; DROP ROLE "looks-only"')


def test_a_full_disk_is_said_before_anybody_is_asked(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u", damage="missing")
    keep_folders(instance)
    heard = Listening()
    repair(opened(instance), replace(APPLY, apply=False), heard)
    assert not any("full" in note for note in heard.notes)
    really = shutil.disk_usage(instance.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: really._replace(free=4_096))
    repair(opened(instance), replace(APPLY, apply=False), heard)
    assert any("The disk of the media is full: 0.0 MB are free." in note for note in heard.notes)


def test_what_is_closed_is_not_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is about what the system said."""
    with pytest.raises(JournalError) as told, scratch(tmp_path, 64_000_000) as connection:
        connection.execute("SELECT * FROM read_parquet(?)", [str(tmp_path / "none.parquet")])
    assert "Is its disk full?" in told.value.hint

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", closed)
    with pytest.raises(JournalError) as told, scratch(tmp_path, 64_000_000):
        pass
    assert "belongs to another user" in told.value.hint and "full" not in told.value.hint


def test_that_more_rights_may_be_missing_is_said(make_instance: MakeInstance) -> None:
    """Which tables are needed hangs on the version, which has to be read first."""
    instance = make_instance()
    instance.db.execute('CREATE ROLE "nobody-yet" LOGIN')
    try:
        settings = opened(instance).configuration.database
        with pytest.raises(DatabaseError) as told:
            MastodonDatabase(replace(settings, parameters={**settings.parameters, "user": "nobody-yet"}))
        assert "the next run tells" in told.value.hint
        assert told.value.statements == ('GRANT SELECT ON public.schema_migrations TO "nobody-yet";',)
    finally:
        instance.db.execute('DROP ROLE "nobody-yet"')
