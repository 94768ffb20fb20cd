"""The database is read kindly: once, briefly, without locks; from a replica if there is one; through a pooler, too."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from broken import record
from conftest import MakeInstance, opened
from databases import caught_up, cut_line, pgbouncer, replica
from population import populate

from mastomend.cli.app import run
from mastomend.commands.check import check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.database import reader as database_module
from mastomend.database.reader import MastodonDatabase
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance, simulated_instance
from mastomend.demo.pictures import picture
from mastomend.demo.services import postgres
from mastomend.errors import DatabaseError
from mastomend.inventory.findings import load
from mastomend.mastodon.kinds import AVATARS
from mastomend.progress import Silent


class Watcher(Silent):
    """Asks PostgreSQL what our sessions hold, whenever the check makes progress."""

    def __init__(self, instance: SimulatedInstance) -> None:
        self.db = instance.db
        self.task = ""
        self.notes: list[str] = []
        self.locks: set[tuple[str, str]] = set()
        self.open: set[str] = set()

    def start(self, task: str, total: int) -> None:
        self.task = task.rpartition(": ")[2]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, n: int) -> None:
        ours = "application_name LIKE 'mastomend check%'"
        for row in self.db.execute(
            f"SELECT mode FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {ours} AND locktype = 'relation'"
        ):
            self.locks.add((self.task, row["mode"]))
        for _ in self.db.execute(f"SELECT 1 FROM pg_stat_activity WHERE {ours} AND xact_start IS NOT NULL"):
            self.open.add(self.task)


def reads(instance: SimulatedInstance) -> dict[str, int]:
    """How often each table was read, by sequence or by index."""
    instance.db.execute("SELECT pg_stat_force_next_flush()")
    rows = instance.db.execute("SELECT relname, seq_scan + coalesce(idx_scan, 0) AS n FROM pg_stat_user_tables")
    return {row["relname"]: row["n"] for row in rows}


def test_each_table_is_read_once_nothing_is_locked_and_no_snapshot_outlives_the_reading(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance()
    populate(instance)
    before = reads(instance)
    watcher = Watcher(instance)
    assert check(opened(instance), progress=watcher).broken == 0
    after = reads(instance)
    tables = ("accounts", "media_attachments", "custom_emojis", "preview_cards", "site_uploads")
    assert {table: after[table] - before[table] for table in tables} == dict.fromkeys(tables, 1)
    assert watcher.locks == {("rows", "AccessShareLock")}, "a SELECT's own lock, and only while rows are read"
    assert watcher.open == {"rows"}, "vacuum is free while files are looked up"


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[tuple[SimulatedInstance, str, str]]:
    """An instance, its server's socket directory and that of a replica that has everything. The server is its own: a copy of
    the one all tests share would be gigabytes.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mm-primary-") as name,
        postgres(Path(name) / "data") as primary,
        simulated_instance(tmp_path / "instance", primary, "4.5") as instance,
    ):
        (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n")
        for n in range(3):
            instance.add_image(AVATARS, picture(n), username=f"u{n}", uri=f"x:{n}", domain="a.example")
        with replica(primary) as directory:
            caught_up(primary, directory)
            with instance.env.open("a") as env:
                env.write(
                    f"\nREPLICA_DB_NAME={instance.db.info.dbname}\nREPLICA_DB_HOST={directory}\nREPLICA_DB_USER=postgres\n"
                )
            yield instance, primary, directory


def test_rows_come_from_the_replica_and_what_counts_from_the_primary(
    standby: tuple[SimulatedInstance, str, str],
) -> None:
    instance, socket_dir, directory = standby
    gone, keys = instance.add_image(AVATARS, picture(8), username="gone", uri="x:g", domain="a.example")
    _, lost = instance.add_image(AVATARS, picture(9), username="lost", uri="x:l", domain="a.example")
    caught_up(socket_dir, directory)
    for key in [*keys, *lost]:
        instance.media.delete(key)
    with psycopg.connect(host=directory, user="postgres", dbname="postgres", autocommit=True) as db:
        db.execute("SELECT pg_wal_replay_pause()")
        instance.db.execute("DELETE FROM accounts WHERE id = %s", [gone])
        _, unseen = instance.add_image(AVATARS, picture(7), username="new", uri="x:n", domain="a.example")
        instance.media.delete(unseen[0])
        report = check(opened(instance))
        assert [f.key for f in load(report.findings)] == lost, "the replica's rows, each looked at in the primary"
        assert sum(k.records for k in report.kinds) == 5
        db.execute("SELECT pg_wal_replay_resume()")


def test_a_replica_out_of_reach_is_said_and_the_primary_read(standby: tuple[SimulatedInstance, str, str]) -> None:
    instance, _, directory = standby
    text = instance.env.read_text().replace(directory, "/nowhere")
    instance.env.write_text(text)
    watcher = Watcher(instance)
    assert sum(k.records for k in check(opened(instance), progress=watcher).kinds) == 3
    assert len([note for note in watcher.notes if "primary is read instead" in note]) == 1, "said once"


def test_a_replica_that_cancels_is_not_a_short_table(
    standby: tuple[SimulatedInstance, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks off in the middle of a table, the primary gives the whole of it."""
    instance, socket_dir, directory = standby
    for n in range(4_000):
        instance.insert(
            "accounts", username=f"m{n}", domain="b.example", uri=f"x:m{n}", avatar_file_name=f"{n:0200}.png"
        )
    caught_up(socket_dir, directory)
    monkeypatch.setattr(database_module, "_BATCH_BYTES", 50_000)
    with cut_line(directory, 400_000) as port:
        text = instance.env.read_text().replace(f"REPLICA_DB_HOST={directory}", "REPLICA_DB_HOST=127.0.0.1")
        instance.env.write_text(f"{text}REPLICA_DB_PORT={port}\n")
        watcher = Watcher(instance)
        report = check(opened(instance), progress=watcher)
    assert any("primary is read instead" in note for note in watcher.notes)
    assert sum(k.records for k in report.kinds) == 4_003
    assert report.broken == 4_000


def test_a_table_that_breaks_off_stops_the_check_in_words(
    make_instance: MakeInstance, socket_dir: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    instance = make_instance()
    for n in range(4_000):
        instance.insert(
            "accounts", username=f"m{n}", domain="b.example", uri=f"x:m{n}", avatar_file_name=f"{n:0200}.png"
        )
    monkeypatch.setattr(database_module, "_BATCH_BYTES", 50_000)
    with cut_line(socket_dir, 400_000) as port:
        text = instance.env.read_text().replace(f"DB_HOST={socket_dir}", f"DB_HOST=127.0.0.1\nDB_PORT={port}")
        instance.env.write_text(text)
        assert run(["--env", str(instance.env), "--state", str(instance.state), "check"]) == 3
    said = capfd.readouterr().err
    assert "PostgreSQL" in said and "Traceback" not in said


@pytest.mark.skipif(not shutil.which("pgbouncer"), reason="pgbouncer")
def test_check_and_repair_through_pgbouncer(make_instance: MakeInstance, socket_dir: str, network: Fediverse) -> None:
    instance = make_instance()
    populate(instance)
    origin = network.add("a.example")
    keys = [record(instance, AVATARS, picture(5), origin=origin, name="broken", damage="missing").key]
    with pgbouncer(socket_dir, instance.db.info.dbname) as port:
        text = instance.env.read_text().replace(f"DB_HOST={socket_dir}", f"DB_HOST=127.0.0.1\nDB_PORT={port}")
        instance.env.write_text(f"{text}\nPREPARED_STATEMENTS=false\n")
        (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\nstatement_timeout_seconds = 60\n")
        for _ in range(2):  # a second time over sessions that others have used
            assert [f.key for f in load(check(opened(instance)).findings)] == keys
        report = repair(opened(instance), RepairOptions(apply=True))
        assert (report.records, report.undone) == (1, 0)
        assert check(opened(instance)).broken == 0


@pytest.mark.skipif(not shutil.which("pgbouncer"), reason="pgbouncer")
def test_a_pooler_shows_and_its_sessions_are_left_as_they_were(make_instance: MakeInstance, socket_dir: str) -> None:
    """Also when the settings do not tell of it: Mastodon must not be lent a session that may not write."""
    instance = make_instance()
    name = instance.db.info.dbname
    with MastodonDatabase(opened(instance).configuration.database) as direct:
        assert direct._is_ours
        assert direct.query("SHOW transaction_read_only")[0]["transaction_read_only"] == "on"
    with pgbouncer(socket_dir, name) as port:
        text = instance.env.read_text().replace(f"DB_HOST={socket_dir}", f"DB_HOST=127.0.0.1\nDB_PORT={port}")
        instance.env.write_text(text)
        assert opened(instance).configuration.database.prepared_statements
        with MastodonDatabase(opened(instance).configuration.database) as pooled:
            assert not pooled._is_ours
            with pytest.raises(DatabaseError, match="read-only"):
                pooled.query("DELETE FROM accounts RETURNING id")
            shown = pooled.query("SHOW statement_timeout")
            assert shown[0]["statement_timeout"] == "10min"
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=name, autocommit=True) as mastodon:
            for setting, value in (("default_transaction_read_only", "off"), ("statement_timeout", "0")):
                assert mastodon.execute(f"SHOW {setting}").fetchone() == (value,)


def test_a_statement_has_a_limit_of_time(make_instance: MakeInstance) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\nstatement_timeout_seconds = 0.2\n")
    info = instance.db.info
    with psycopg.connect(host=info.host, user=info.user, dbname=info.dbname) as other:
        other.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="took longer") as caught:
            check(opened(instance))
    assert "statement_timeout_seconds" in caught.value.hint


def test_a_locked_table_is_not_waited_for(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_LOCK_MS", "100")
    instance = make_instance()
    info = instance.db.info
    with psycopg.connect(host=info.host, user=info.user, dbname=info.dbname) as other:
        other.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="locked by somebody else"):
            check(opened(instance))


def test_a_limit_of_nothing_is_refused(make_instance: MakeInstance, tmp_path: Path) -> None:
    from mastomend.errors import ConfigurationError

    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text("statement_timeout_seconds = 0\n")
    with pytest.raises(ConfigurationError, match="more than 0"):
        opened(instance)
