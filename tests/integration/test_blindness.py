"""What could not be seen is never called whole: tables, rows, files, trees and mounts, journals (issue 10, A1 to A4)."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from broken import break_it, keep_folders, record
from conftest import MakeInstance, opened

from mastomend.actions.journal import OLDEST, VERSION, Journal
from mastomend.cli.app import run
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import DatabaseError, JournalError, SafetyStop
from mastomend.inventory.findings import load
from mastomend.inventory.sample import Sample
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, KINDS, MEDIA_FILES
from mastomend.plans.loss import mass_loss
from mastomend.vocabulary import Tree

ROLE = "monitor_of_mastomend"


def told(instance: SimulatedInstance, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """A command's exit code and all it said."""
    code = run(["--env", str(instance.env), "--state", str(instance.state), *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


@pytest.fixture
def monitored(make_instance: MakeInstance) -> Iterator[SimulatedInstance]:
    """An instance with one broken avatar, read by a role that may read everything; the test takes rights away."""
    instance = make_instance("4.3")
    record(instance, domain="a.example", damage="missing")
    record(instance, domain="a.example")
    name = instance.db.info.dbname
    with contextlib.suppress(psycopg.errors.DuplicateObject):
        instance.db.execute(f"CREATE ROLE {ROLE} LOGIN")
    instance.db.execute(f"GRANT CONNECT ON DATABASE {name} TO {ROLE}")
    instance.db.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
    instance.db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    instance.env.write_text(instance.env.read_text().replace("DB_USER=postgres", f"DB_USER={ROLE}"))
    try:
        yield instance
    finally:
        instance.db.execute(f"DROP OWNED BY {ROLE}")
        instance.db.execute(f"ALTER ROLE {ROLE} RESET search_path")
        instance.db.execute(f"ALTER ROLE {ROLE} NOBYPASSRLS")


def test_a1_a_role_that_may_only_read_sees_everything(monitored: SimulatedInstance) -> None:
    report = check(opened(monitored))
    assert (report.broken, [k.kind for k in report.kinds]) == (1, [k.name for k in KINDS])


@pytest.mark.parametrize(
    ("taken", "words", "grant"),
    [
        ("REVOKE SELECT ON media_attachments FROM {role}", "may not read media_attachments", "GRANT SELECT ON public.media_"),
        (
            "REVOKE SELECT ON site_uploads, backups FROM {role}",
            "may not read site_uploads, backups",
            "public.site_uploads, public.backups",
        ),
        ("REVOKE SELECT ON schema_migrations FROM {role}", "may not read schema_migrations", "public.schema_migrations"),
        (
            "REVOKE SELECT ON accounts FROM {role}; GRANT SELECT (id, domain, avatar_file_name) ON accounts TO {role}",
            "avatar_content_type",
            "GRANT SELECT (avatar_content_type, ",
        ),
        ("REVOKE USAGE ON SCHEMA public FROM {role}, PUBLIC", "which {role} may not enter", "GRANT USAGE ON SCHEMA public"),
        ("CREATE SCHEMA other; ALTER ROLE {role} SET search_path = other", "not in this user's search_path", "ALTER ROLE"),
        ("DROP TABLE preview_cards CASCADE", "preview_cards does not exist", "restore"),
        ("DROP TABLE imports", "imports does not exist", "restore"),
        ("ALTER TABLE custom_emojis DROP COLUMN image_file_size", "no column image_file_size", "restore"),
        (
            "ALTER TABLE accounts ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON accounts USING (id < 0)",
            "hides rows",
            "BYPASSRLS",
        ),
    ],
)  # fmt: skip
def test_a1_what_may_not_be_read_is_named_with_its_grant(
    monitored: SimulatedInstance, capsys: pytest.CaptureFixture[str], taken: str, words: str, grant: str
) -> None:
    for statement in taken.format(role=ROLE).split("; "):
        monitored.db.execute(statement)
    code, said = told(monitored, capsys, "check")
    assert code == 3 and words.format(role=ROLE) in said and grant in said and "Nothing is broken" not in said
    document = json.loads(told(monitored, capsys, "check", "--json")[1].splitlines()[0])
    assert document["exit_code"] == 3 and words.format(role=ROLE) in document["error"]


def test_a1_other_kinds_can_be_checked_meanwhile(monitored: SimulatedInstance) -> None:
    monitored.db.execute(f"REVOKE SELECT ON site_uploads FROM {ROLE}")
    assert check(opened(monitored), CheckOptions(("accounts",))).broken == 1
    with pytest.raises(DatabaseError, match="site_uploads"):
        check(opened(monitored), CheckOptions(("site_uploads",)))


def test_a1_rights_on_just_the_columns_that_are_needed_are_enough(monitored: SimulatedInstance) -> None:
    columns = "id, domain, suspended_at, " + ", ".join(
        f"{a}_{c}" for a in ("avatar", "header") for c in
        ("file_name", "content_type", "file_size", "remote_url", "storage_schema_version")
    )  # fmt: skip
    monitored.db.execute(f"REVOKE SELECT ON accounts FROM {ROLE}")
    monitored.db.execute(f"GRANT SELECT ({columns}) ON accounts TO {ROLE}")
    assert check(opened(monitored)).broken == 1


@pytest.mark.parametrize("path", ["later, public", '"$user", public'])
def test_a1_tables_are_found_by_the_search_path(monitored: SimulatedInstance, path: str) -> None:
    """In a later schema of it; behind an empty schema that is named like the user."""
    for schema in ("later", ROLE):
        monitored.db.execute(f"CREATE SCHEMA {schema}")
        monitored.db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {ROLE}")
    monitored.db.execute(f"ALTER ROLE {ROLE} SET search_path = {path}")
    report = check(opened(monitored))
    assert (report.broken, len(report.kinds)) == (1, len(KINDS))


def test_a1_all_of_it_in_another_schema(monitored: SimulatedInstance) -> None:
    monitored.db.execute("ALTER SCHEMA public RENAME TO mastodon")
    monitored.db.execute("CREATE SCHEMA public")
    monitored.db.execute(f"ALTER ROLE {ROLE} SET search_path = public, mastodon")
    assert check(opened(monitored)).broken == 1


def in_encoding(make_instance: MakeInstance, encoding: str, version: str = "4.5") -> SimulatedInstance:
    """An instance whose database has that encoding, or checks none, as very old clusters do."""
    from mastomend.demo.instance import _SCHEMA, VERSIONS

    instance = make_instance(version)
    name = f"{instance.db.info.dbname}_{encoding.lower()}"
    instance.db.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    host, before = instance.db.info.host, instance.db.info.dbname
    instance.db.close()
    instance.db = psycopg.connect(
        host=host, user="postgres", dbname=name, autocommit=True, row_factory=psycopg.rows.dict_row,
        client_encoding="utf-8",
    )  # fmt: skip
    for step in VERSIONS[: VERSIONS.index(version) + 1]:
        instance.db.execute((_SCHEMA / f"{step}.sql").read_text(encoding="utf-8"))
    instance.env.write_text(instance.env.read_text().replace(f"DB_NAME={before}", f"DB_NAME={name}"))
    return instance


def test_a1_a_database_in_sql_ascii(make_instance: MakeInstance, network: Fediverse) -> None:
    """psycopg gives bytes there. One row whose name is no text is that row's trouble; the others are seen and mended."""
    instance = in_encoding(make_instance, "SQL_ASCII")
    origin = network.add("good.example")
    lost = record(instance, origin=origin, damage="missing")
    record(instance, domain="a.example", file_name="näme.png")
    odd = record(instance, domain="a.example")
    record(instance, EMOJIS, domain="a.example")
    instance.db.execute(
        "UPDATE accounts SET avatar_file_name = convert_from(%s, 'SQL_ASCII') WHERE id = %s", [b"caf\xe9.png", odd.id]
    )
    report = check(opened(instance))
    found = {finding.id: (finding.state.value, finding.detail) for finding in load(report.findings)}
    assert found == {lost.id: ("missing", ""), odd.id: ("unservable", "the file name in the database is not UTF-8")}
    assert (report.broken, report.unseen, len(report.kinds)) == (1, 1, len(KINDS) - 1)
    done = repair(opened(instance), RepairOptions(apply=True))
    assert done.outcomes == {"restored": 1, "refused": 1}


# --- A2 ---------------------------------------------------------------------------------------------------------------


def test_a2_unseen_files_are_counted_apart(make_instance: MakeInstance, capsys: pytest.CaptureFixture[str]) -> None:
    instance = make_instance()
    for _ in range(2):
        record(instance, domain="a.example", damage="missing")
    for _ in range(3):
        record(instance, HEADERS, domain="a.example")
    folder = instance.folder / "public/system/cache/accounts/headers"
    folder.rename(folder.with_name("behind"))
    folder.symlink_to(folder)
    code, said = told(instance, capsys, "check")
    assert code == 1 and "2 records are broken; 3 could not be looked at." in said
    document = json.loads(told(instance, capsys, "check", "--json")[1].splitlines()[-1])
    assert (document["unseen"], document["totals"]["records_broken"], document["new"]) == (3, 2, 2)
    assert (
        document["totals"]["files"] | {"expected": 5, "present": 0, "missing": 2, "unservable": 3}
        == (document["totals"]["files"])
    )


# --- A3 ---------------------------------------------------------------------------------------------------------------


def populated(make_instance: MakeInstance, network: Fediverse) -> SimulatedInstance:
    """A few remote and local files of several kinds, all sound."""
    instance = make_instance()
    origin = network.add("good.example")
    for kind in (AVATARS, HEADERS, MEDIA_FILES):
        for _ in range(4):
            record(instance, kind, origin=origin)
        record(instance, kind)
    return instance


def cache_is_a_link_to_an_unmounted_disk(root: Path) -> None:
    shutil.rmtree(root / "cache")
    (root / "cache").symlink_to("/mnt/not-there-at-all/cache")


def cache_is_an_empty_mount_point(root: Path) -> None:
    shutil.rmtree(root / "cache")
    (root / "cache").mkdir()


def cache_is_a_link_to_an_empty_disk(root: Path) -> None:
    shutil.rmtree(root / "cache")
    (root.parent / "disk/lost+found").mkdir(parents=True)
    (root / "cache").symlink_to(root.parent / "disk")


def one_kind_s_folder_is_gone(root: Path) -> None:
    shutil.rmtree(root / "cache/accounts/headers")


def one_kind_s_folder_is_empty(root: Path) -> None:
    shutil.rmtree(root / "media_attachments/files")
    (root / "media_attachments/files").mkdir()


def a_class_is_a_file(root: Path) -> None:
    shutil.rmtree(root / "accounts")
    (root / "accounts").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        cache_is_a_link_to_an_unmounted_disk, cache_is_an_empty_mount_point, cache_is_a_link_to_an_empty_disk,
        one_kind_s_folder_is_gone, one_kind_s_folder_is_empty, a_class_is_a_file,
    ],
)  # fmt: skip
def test_a3_a_tree_that_is_not_there_stops_whatever_the_number(
    make_instance: MakeInstance, network: Fediverse, capsys: pytest.CaptureFixture[str], damage: object, tmp_path: Path
) -> None:
    instance = populated(make_instance, network)
    root = instance.folder / "public/system"
    shutil.copytree(root, tmp_path / "backup")
    assert callable(damage)
    damage(root)
    before = {p: p.lstat().st_mtime_ns for p in root.rglob("*")}
    code, said = told(instance, capsys, "check")
    assert code == 1 and "mounted" in said and "findmnt" in said and "expected there" in said
    for further in ([], ["--from", str(tmp_path / "backup")]):
        code, said = told(instance, capsys, "repair", "--apply", *further)
        assert code == 4 and "mounted" in said
    assert {p: p.lstat().st_mtime_ns for p in root.rglob("*")} == before and not network.requests


def test_a3_a_disk_that_is_mounted_further_down(make_instance: MakeInstance) -> None:
    """A hundred files of one folder, of a thousand in all: too few for a share, but the folder is an empty one."""
    instance = make_instance()
    for n in range(120):
        instance.insert(
            "accounts", id=112_000_000_000_000_000 + n, username=f"u{n}", domain="a.example", uri=f"x:{n}",
            avatar_file_name="x.png", avatar_content_type="image/png", avatar_file_size=1,
            avatar_storage_schema_version=1,
        )  # fmt: skip
    for n in range(900):
        row = {"username": f"v{n}", "domain": "a.example", "uri": f"y:{n}", "id": n + 1}
        instance.insert(
            "accounts", **row, avatar_file_name="x.png", avatar_content_type="image/png", avatar_file_size=1
        )
        instance.media.write(f"accounts/avatars/000/000/{n + 1:03}/original/x.png", b"x")
    root = instance.folder / "public/system"
    (root / "cache/accounts/avatars/111").mkdir(parents=True)
    (root / "cache/accounts/avatars/112").mkdir()
    (reason,) = check(opened(instance)).mass_loss
    assert "avatars/112 is empty" in reason and "120 files" in reason


def test_a3_a_small_tree_does_not_hide_in_a_large_kind(make_instance: MakeInstance) -> None:
    """110 local files are gone, 900 cached ones are there: an eighth of the kind, all of its tree."""
    instance = make_instance()
    for n in range(1_010):
        local = n < 110
        instance.insert(
            "accounts", id=n + 1, username=f"v{n}", domain=None if local else "a.example", uri=f"y:{n}",
            avatar_file_name="x.png", avatar_content_type="image/png", avatar_file_size=1, avatar_storage_schema_version=1,
        )  # fmt: skip
        key = f"accounts/avatars/000/{(n + 1) // 1000:03}/{(n + 1) % 1000:03}/original/x.png"
        if not local:
            instance.media.write(f"cache/{key}", b"x")
    instance.media.write("accounts/avatars/000/other", b"x")
    (reason,) = check(opened(instance)).mass_loss
    assert reason == "100 % of accounts/avatars is missing (110 of 110 files)."


def test_a3_what_is_known_to_be_lost_does_not_stop_every_later_run(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    record(instance, EMOJIS, damage="missing")
    shutil.rmtree(instance.folder / "public/system/custom_emojis")
    record(instance, origin=network.add("good.example"))
    with pytest.raises(SafetyStop):
        repair(opened(instance), RepairOptions(apply=True))
    assert repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100)).outcomes == {"lost": 1}
    assert check(opened(instance)).mass_loss == []
    assert repair(opened(instance), RepairOptions(apply=True)).outcomes == {"lost": 1}


def test_a3_nothing_below_a_prefix_of_a_bucket(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5", "s3")
    for _ in range(10):
        record(instance, domain="a.example", damage="missing")
    record(instance)
    (reason,) = check(opened(instance)).mass_loss
    assert "Nothing is below cache/accounts/avatars/" in reason


def test_a3_next_repeats_the_option_that_was_needed(
    make_instance: MakeInstance, network: Fediverse, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = populated(make_instance, network)
    shutil.rmtree(instance.folder / "public/system/cache")
    assert "If the files really are gone: " in told(instance, capsys, "check")[1]
    code, text = told(instance, capsys, "check", "avatars", "--max-missing", "100%")
    assert code == 1 and text.rstrip().endswith("repair avatars --max-missing 100%")
    code, text = told(instance, capsys, "check", "accounts/avatars", "--max-missing", "100%")
    assert code == 1 and "mounted" not in text
    assert text.rstrip().endswith("repair accounts/avatars --max-missing 100%")


# --- A4 ---------------------------------------------------------------------------------------------------------------


def later_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")


def unknown_action(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute('UPDATE steps SET action = \'{"action": "purge", "key": "a"}\'')
        db.execute("UPDATE plans SET closed = 0")
        db.commit()


def no_database(path: Path) -> None:
    for file in path.parent.glob("journal.sqlite3*"):
        file.unlink()
    path.write_bytes(b"this is no journal at all, but a text of some length" * 40)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(later_version, "newer Mastomend"), (unknown_action, "does not understand"), (no_database, "is damaged")],
)
def test_a4_a_journal_that_is_not_understood_is_refused_by_every_command(
    make_instance: MakeInstance, network: Fediverse, capsys: pytest.CaptureFixture[str], damage: object, words: str
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    broken = record(instance, origin=origin, damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    done = repair(opened(instance), RepairOptions(apply=True))
    assert done.outcomes == {"restored": 1}
    break_it(instance, broken.key)
    assert callable(damage)
    damage(instance.state / "journal.sqlite3")
    for command in (["repair", "--apply"], ["history"], ["undo", done.run, "--apply"], ["undo", done.run]):
        code, said = told(instance, capsys, *command)
        assert code == 3 and words in said and "full" not in said, (command, said)
    if damage is not unknown_action:
        assert words in told(instance, capsys, "check")[1]
    assert instance.media.read(broken.key) is None, "nothing was changed"


def test_a4_a_journal_without_a_version_is_the_first_one(make_instance: MakeInstance) -> None:
    instance = make_instance()
    Journal(instance.state).close()
    with contextlib.closing(sqlite3.connect(instance.state / "journal.sqlite3")) as db:
        db.execute("PRAGMA user_version = 0")
    Journal(instance.state).close()
    with contextlib.closing(sqlite3.connect(instance.state / "journal.sqlite3")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a4_a_journal_of_an_older_mastomend_is_refused_in_words(make_instance: MakeInstance) -> None:
    instance = make_instance()
    Journal(instance.state).close()
    with contextlib.closing(sqlite3.connect(instance.state / "journal.sqlite3")) as db:
        db.execute(f"PRAGMA user_version = {OLDEST - 1}")
    with pytest.raises(JournalError, match="older Mastomend") as caught:
        Journal(instance.state)
    assert "move the file away" in caught.value.next


def test_a4_a_journal_in_a_folder_of_somebody_else_is_no_full_disk(make_instance: MakeInstance) -> None:
    instance = make_instance()
    instance.state.mkdir()
    (instance.state / "journal.sqlite3").symlink_to("/etc/hostname")
    with pytest.raises(JournalError, match="cannot be opened") as caught:
        Journal(instance.state)
    assert "full" not in caught.value.next


def test_state_is_for_its_owner_only(make_instance: MakeInstance, network: Fediverse) -> None:
    """F35: the state directory 0700, files 0600, whatever the umask; the lock is not followed through a link."""
    instance = make_instance()
    record(instance, origin=network.add("good.example"), damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    instance.state.mkdir(mode=0o755)
    repair(opened(instance), RepairOptions(apply=True))
    assert instance.state.stat().st_mode & 0o777 == 0o700
    loose = {p.name for p in instance.state.rglob("*") if p.is_file() and p.stat().st_mode & 0o077}
    assert loose == set()
    (instance.state / "lock").unlink()
    target = instance.folder / "victim"
    target.write_text("precious")
    (instance.state / "lock").symlink_to(target)
    with pytest.raises(JournalError, match="lock"):
        repair(opened(instance), RepairOptions(apply=True))
    assert target.read_text() == "precious"


def test_peer_authentication_is_explained(make_instance: MakeInstance) -> None:
    """F40: refused to root."""
    from mastomend.database.connection import connection_failure

    error = psycopg.OperationalError('connection failed: FATAL:  Peer authentication failed for user "mastodon"')
    assert "sudo -u mastodon" in connection_failure(opened(make_instance()).configuration.database, error).hint


def other_session(instance: SimulatedInstance) -> psycopg.Connection[Any]:
    info = instance.db.info
    return psycopg.connect(host=info.host, port=info.port, user=info.user, dbname=info.dbname)


@pytest.mark.parametrize("later", [False, True])
def test_a1_a_row_somebody_is_changing_is_neither_broken_nor_whole(
    make_instance: MakeInstance, capsys: pytest.CaptureFixture[str], later: bool
) -> None:
    """An open transaction, the newest there is or not: left out, told, and never called whole."""
    instance = make_instance()
    held, other = (record(instance, domain="a.example") for _ in range(2))
    break_it(instance, held.key)
    with contextlib.closing(other_session(instance)) as session:
        session.execute("UPDATE accounts SET avatar_file_name = 'fedcba9876543210.png' WHERE id = %s", [held.id])
        if later:
            instance.db.execute("UPDATE accounts SET note = 'x' WHERE id = %s", [other.id])
        report = check(opened(instance))
        assert (report.broken, report.unsettled, report.is_whole) == (0, 1, False)
        code, out = told(instance, capsys, "check")
        assert code == 1 and "kept changing" in out and "Nothing is broken." not in out
        session.rollback()
    assert check(opened(instance)).broken == 1


@pytest.mark.parametrize("front", ["CREATE TABLE front.accounts (LIKE public.accounts)", "a view"])
def test_a1_a_relation_that_hides_mastodon_s_is_no_empty_instance(make_instance: MakeInstance, front: str) -> None:
    instance = make_instance()
    record(instance, domain="a.example", damage="missing")
    instance.db.execute("CREATE SCHEMA front")
    view = "CREATE VIEW front.accounts AS SELECT * FROM public.accounts WHERE domain IS NULL"
    instance.db.execute(view if front == "a view" else front)
    instance.db.execute(f"ALTER DATABASE {instance.db.info.dbname} SET search_path = front, public")
    with pytest.raises(DatabaseError, match="accounts is found in the schema front") as caught:
        check(opened(instance))
    assert "SET search_path = public" in caught.value.next


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "WIN1252", "SQL_ASCII"])
def test_a1_every_kind_in_a_database_of_another_encoding(
    make_instance: MakeInstance, network: Fediverse, encoding: str
) -> None:
    instance = in_encoding(make_instance, encoding)
    origin = network.add("good.example")
    made = [record(instance, kind, origin=origin, damage="missing") for kind in (AVATARS, MEDIA_FILES)]
    report = check(opened(instance))
    assert report.broken == len(made)
    done = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert done.outcomes == {"restored": len(made)}, done.reasons


def test_a2_what_could_not_be_judged_is_not_called_whole(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance, domain="a.example")
    film = record(instance, MEDIA_FILES, remote_url="https://a.example/y.mp4")
    name, data = "0123456789abcdef.mp4", b"not a film at all" * 20
    instance.media.write(f"{film.key.rpartition('/')[0]}/{name}", data)
    small = f"{film.key.replace('/original/', '/small/').rpartition('/')[0]}/0123456789abcdef.png"
    instance.media.write(small, picture(3))
    instance.db.execute(
        "UPDATE media_attachments SET file_file_name = %s, file_content_type = 'video/mp4', file_file_size = %s WHERE id = %s",
        [name, len(data), film.id],
    )
    instance.env.write_text(f"{instance.env.read_text()}\nFFPROBE_BINARY=/nonexistent\n")
    report = check(opened(instance), CheckOptions(deep=Sample()))
    assert (report.broken, report.unseen, report.is_whole, report.deep_read) == (0, 1, False, 2)
    assert [reason for reason, _ in report.obstacles if "ffprobe was not found" in reason]


def test_a3_a_link_that_leads_nowhere_further_down(make_instance: MakeInstance, network: Fediverse) -> None:
    """Whatever the number of files, and at any depth; a folder somebody emptied is damage."""
    instance = make_instance()
    made = [record(instance, origin=network.origins.get("a.example") or network.add("a.example")) for _ in range(3)]
    keep_folders(instance)
    folder = instance.folder / "public/system" / made[0].key.split("/000/")[0]
    if not folder.is_dir():
        folder = instance.folder / "public/system" / "/".join(made[0].key.split("/")[:3])
    inner = folder / made[0].key.removeprefix(f"{folder.relative_to(instance.folder / 'public/system')}/").split("/")[0]
    shutil.rmtree(inner)
    inner.mkdir()
    assert check(opened(instance)).mass_loss == []
    inner.rmdir()
    inner.symlink_to("/mnt/not-mounted-at-all")
    report = check(opened(instance))
    assert report.broken == 3 and any("which does not exist" in reason for reason in report.mass_loss)


def test_a3_one_lost_file_does_not_hide_the_loss_of_the_others() -> None:
    trees = [
        Tree("accounts/avatars", "accounts/avatars/", 1, 1, 1, "/x is gone"),
        Tree("accounts/avatars", "cache/accounts/avatars/", 10_000, 9_000),
    ]
    (reason,) = mass_loss("/x", trees, 25, holds_anything=True)
    assert "9,000 of 10,001 files, not counting 1 that a repair has tried before" in reason


def test_a3_a_dry_run_of_an_earlier_scan_says_what_apply_would_do(
    make_instance: MakeInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = make_instance()
    for _ in range(120):
        record(instance, domain="a.example")
    break_it(instance, next(iter(instance.files)))
    scan = check(opened(instance)).scan
    for key in list(instance.files):
        if "/original/" in key and instance.media.read(key) is not None:
            instance.media.delete(key)
    code, out = told(instance, capsys, "repair", "--scan", scan, "--max-missing", "30%")
    assert code == 1 and "With --apply this stops" in out
    assert out.count("--max-missing") == 1 and "--max-missing 100%" in out
    code, out = told(instance, capsys, "repair", "--scan", scan, "--json")
    assert json.loads(out)["mass_loss"]


def test_a4_a_check_says_at_its_beginning_that_the_journal_is_not_understood(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("good.example"), damage="missing")
    run = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100)).run
    unknown_action(instance.state / "journal.sqlite3")
    with pytest.raises(JournalError):  # also what only counts reads what it counts
        undo(opened(instance), run, apply=False)
    later_version(instance.state / "journal.sqlite3")
    scans = set((instance.state / "scans").iterdir())
    with pytest.raises(JournalError, match="newer"):
        check(opened(instance))
    assert set((instance.state / "scans").iterdir()) == scans, "before anything was listed"


def test_folders_of_somebody_else_keep_their_modes(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance)
    theirs = instance.folder / "theirs"
    theirs.mkdir(mode=0o755)
    theirs.chmod(0o755)
    (theirs / "public").mkdir()
    found = replace(opened(instance), state=theirs)
    check(found)
    check(found)
    assert theirs.stat().st_mode & 0o777 == 0o755
    assert (theirs / "scans").stat().st_mode & 0o777 == 0o700
