"""`migrate`: every file arrives with its bytes and as Mastodon hands it out; nothing is sent twice; there is a way back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.request import urlopen

import pytest
from azurite import ContainerMedia, container
from broken import Made, record
from bucket_proxy import bucket_proxy
from conftest import MakeInstance, opened
from moving import bucket_variables, named_bucket, named_file, shown_here, step, stranger, switch
from redis import Redis
from runs import a_run
from tool import SECRET, run
from touches import Town
from web_server import nginx, readable

from mastomend.actions.actions import Action, Place, QuarantineFile, SetServing, Transfer
from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.cli.migrate import exit_code
from mastomend.commands.check import check
from mastomend.commands.cleanup import cleanup
from mastomend.commands.migrate import migrate
from mastomend.commands.migrate_end import finish, rollback
from mastomend.commands.migrate_report import Step
from mastomend.commands.migration import Named, at, named
from mastomend.commands.processes import web_started
from mastomend.commands.switching import not_restarted
from mastomend.commands.undo import undo
from mastomend.demo.instance import DiskMedia, Media, SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server
from mastomend.errors import ConfigurationError, SafetyStop, StorageError
from mastomend.inventory import crossing
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import AVATARS, BACKUPS, EMOJIS, HEADERS, MEDIA_FILES, PREVIEW_CARDS
from mastomend.outcomes import SetAside
from mastomend.progress import Silent
from mastomend.reasons import Reason
from mastomend.storage.durable import write_beside
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import CACHE_CONTROL
from mastomend.vocabulary import RowOf, Serving

SOAK = os.environ.get("MASTOMEND_SOAK")


def populated(instance: SimulatedInstance) -> dict[str, str]:
    """One of nearly everything; a few keys by name."""
    keys: dict[str, str] = {}
    for n, domain in enumerate(("a.example", None)):
        name = domain or "local"
        owner = record(instance, AVATARS, picture(n), domain=domain, name=f"u{n}")
        keys[name] = owner.key
        url = f"https://{domain}/m" if domain else None
        made = record(
            instance,
            MEDIA_FILES,
            picture(10 + n, 900, 700, "jpeg"),
            account_id=owner.id,
            remote_url=url,
            shortcode=name,
        )
        keys[f"{name} media"] = made.key
    hidden = record(
        instance, AVATARS, picture(5), domain="a.example", name="hidden", suspended_at="2026-11-01 00:00:00"
    )
    keys["hidden"] = record(
        instance,
        MEDIA_FILES,
        picture(20, 400, 300),
        account_id=hidden.id,
        remote_url="https://a.example/h",
        shortcode="h",
    ).key
    record(instance, EMOJIS, domain="a.example")
    record(instance, HEADERS, picture(9), domain="a.example", name="header")
    record(instance, PREVIEW_CARDS, picture(7, 400, 300, "jpeg"), url="https://press.example/a")
    (keys["backup"],) = instance.add_plain(BACKUPS, b"PK" * 500, "archive.zip", "application/zip")
    (film, _) = instance.add_plain(
        MEDIA_FILES, b"\0\0\0\x18ftypmp42" + b"m" * 20_000, "film.mp4", "video/mp4", type=2, processing=2,
        account_id=owner.id, shortcode="film",
    )  # fmt: skip
    keys["film"] = film
    instance.media.write("cache/accounts/avatars/000/000/077/original/nobody.png", b"a stray")
    return keys


def planned(instance: SimulatedInstance, run_id: str) -> list[type[Action]]:
    """The sorts of actions that run had in its journal."""
    with contextlib.closing(Journal(instance.state)) as journal:
        return [type(action) for kept in journal.plans(run_id) for action in kept.plan.actions]


def everything_is_there(instance: SimulatedInstance, prefix: str = "") -> None:
    for key, data in instance.files.items():
        assert instance.media.read(f"{prefix}{key}") == data, key
    assert check(opened(instance)).is_whole


def test_a_disk_is_moved_to_a_bucket_and_back(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    instance = shown_here(make_instance("4.5"))
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, s3, "moved-to")
    disk = instance.media

    plan = run(instance.env, "migrate", "plan", "--to", str(to), "--json")
    told = json.loads(plan.stdout)
    assert (plan.returncode, told["to_copy"]["files"], told["copied"]) == (1, len(instance.files), 0)
    assert told["bytes"] == sum(map(len, instance.files.values())) and not bucket.keys()

    copied = json.loads(run(instance.env, "migrate", "copy", "--to", str(to), "--apply", "--json").stdout)
    assert (copied["copied"], copied["skipped"], copied["failed"]) == (len(instance.files), 0, 0)
    assert bucket.keys() == set(instance.files), "strays stay behind, and no probe is left"
    again = json.loads(run(instance.env, "migrate", "copy", "--to", str(to), "--apply", "--json").stdout)
    assert (again["copied"], again["to_copy"]["files"]) == (0, 0)
    headers = s3.client().head_object(Bucket="moved-to", Key=keys["a.example media"])
    assert (headers["ContentType"], headers["CacheControl"]) == ("image/jpeg", CACHE_CONTROL)
    assert s3.client().head_object(Bucket="moved-to", Key=keys["film"])["ContentType"] == "video/mp4"
    assert s3.client().head_object(Bucket="moved-to", Key=keys["backup"])["ContentType"] == "application/zip"

    lines = run(instance.env, "migrate", "finish", "--to", str(to))
    assert lines.returncode == 1 and "remove PAPERCLIP_ROOT_PATH" in lines.stdout
    assert f"S3_ENDPOINT={s3.endpoint}" in lines.stdout and s3.secret_access_key not in lines.stdout
    assert f"AWS_SECRET_ACCESS_KEY: the line of {to}" in lines.stdout

    late = record(instance, AVATARS, picture(31), domain="a.example", name="late")  # before the switch
    switch(instance, bucket_variables(s3, "moved-to"), bucket)
    after = record(instance, AVATARS, picture(32), domain="a.example", name="after")
    done = finish(lambda: opened(instance), step("finish", to, apply=True))
    assert (done.copied.files, done.still_missing, done.verified) == (1, 0, len(instance.files))
    assert bucket.read(late.key) == late.data and disk.read(after.key) is None
    everything_is_there(instance)

    back = rollback(opened(instance), step("rollback", to, apply=True))
    assert back.copied.files == 1 and disk.read(after.key) == after.data
    changed = [line.partition("=")[0] for line in back.lines if not line.startswith("-")]
    assert changed == ["PAPERCLIP_ROOT_PATH", "PAPERCLIP_ROOT_URL"]
    assert {"-S3_ENABLED", "-AWS_SECRET_ACCESS_KEY"} <= set(back.lines)
    switch(instance, {"PAPERCLIP_ROOT_PATH": str(instance.folder / "public/system")}, disk)
    everything_is_there(instance)
    assert rollback(opened(instance), step("rollback", to)).all.to_copy.files == 0


# --- what may go wrong ------------------------------------------------------------------------------------------------


def test_what_a_move_refuses(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    instance = shown_here(make_instance())
    populated(instance)
    root = instance.folder / "public" / "system"
    (inside := root / "inside").mkdir()
    (empty := tmp_path / "empty.env").write_text("LOCAL_DOMAIN=x\n")
    to, _ = named_bucket(tmp_path, s3, "refused")
    for words, said in (
        (["plan", "--to", str(root)], "where its media were before is not known"),
        (["plan", "--to", str(inside)], "lie one in the other"),
        (["plan", "--to", str(tmp_path / "nowhere.env")], "does not exist"),
        (["plan", "--to", str(empty)], "names no storage"),
        (["plan", "--to", str(to), "--from", str(inside)], "neither --from nor --to"),
        (["verify", "--to", str(to), "--apply"], "--apply means nothing to migrate verify"),
        (["plan", "--to", str(to), "--set-aside"], "--set-aside means nothing to migrate plan"),
        (["finish", "--to", str(to), "--set-aside"], "--set-aside needs --apply"),
        (["move", "--to", str(to)], "There is no step 'move'"),
        (["copy", "--to", str(to), "--bwlimit", "fast"], "--bwlimit must be a size"),
    ):
        done = run(instance.env, "migrate", *words)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)
    assert not instance.state.exists() or not (instance.state / "runs").exists()


def test_a_disk_that_is_not_mounted_is_no_reason_to_move_nothing(
    make_instance: MakeInstance, s3: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    for n in range(120):
        record(instance, AVATARS, picture(1), domain="a.example", name=f"u{n}")
    to, bucket = named_bucket(tmp_path, s3, "unmounted")
    (instance.folder / "public/system").rename(instance.folder / "public/elsewhere")
    (instance.folder / "public/system").mkdir()
    planned = run(instance.env, "migrate", "plan", "--to", str(to))
    assert planned.returncode == 1 and "With --apply this stops." in planned.stdout
    done = run(instance.env, "migrate", "copy", "--to", str(to), "--apply")
    assert done.returncode == 4 and not bucket.keys(), done.stderr


def test_what_is_damaged_on_the_wire_is_sent_again_or_told(
    make_instance: MakeInstance, s3: S3Server, tmp_path: Path
) -> None:
    """A proxy turns a byte of some uploads and downloads; what arrives is what was sent all the same."""
    instance = shown_here(make_instance())
    for n in range(60):
        record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}")
    _, bucket = named_bucket(tmp_path, s3, "damaged")
    with bucket_proxy(s3.endpoint) as proxy:
        through = S3Server(proxy.endpoint, s3.access_key_id, s3.secret_access_key)
        to = named_file(tmp_path, through, "damaged")
        chance = random.Random(7)
        turned: Counter[str] = Counter()

        def turn(method: str, body: bytes) -> bytes:
            if len(body) < 100 or body.lstrip().startswith(b"<") or chance.random() > 0.2:
                return body
            turned[method] += 1
            return body[:50] + bytes([body[50] ^ 1]) + body[51:]

        proxy.turn = turn
        copied = migrate(opened(instance), step("copy", to, apply=True))
        assert (copied.copied.files, copied.failed) == (len(instance.files), 0) and turned["PUT"] > 3
        assert all(bucket.read(key) == data for key, data in instance.files.items())
        elsewhere = tmp_path / "back"
        elsewhere.mkdir()
        switch(instance, bucket_variables(through, "damaged"), bucket)
        back = migrate(opened(instance), step("copy", elsewhere, apply=True))
    assert (back.copied.files, back.failed) == (len(instance.files), 0) and turned["GET"] > 3
    assert all((elsewhere / key).read_bytes() == data for key, data in instance.files.items())


def test_a_file_that_differs_is_found_by_reading_both(
    make_instance: MakeInstance, s3: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, s3, "differs")
    migrate(opened(instance), step("copy", to, apply=True))
    data = instance.files[keys["film"]]
    bucket.write(keys["film"], data[:-1] + b"?")
    bucket.write(keys["a.example"], b"short")
    found = migrate(opened(instance), step("verify", to, deep_share=1.0))
    assert [(one.key, one.why) for one in found.problems if "bytes" in one.why] == [
        (keys["film"], "its copy holds other bytes")
    ]
    assert (found.all.to_copy.files, found.verified) == (1, len(instance.files) - 1)
    again = migrate(opened(instance), step("copy", to, apply=True))
    assert again.copied.files == 1 and bucket.read(keys["a.example"]) == instance.files[keys["a.example"]]


def test_private_stays_private_and_public_is_public(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    """moto gives strangers what permissions allow."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "permissions")
    plan = migrate(opened(instance), step("plan", to, write_test=True))
    assert {one.name: one.works for one in plan.abilities}["permission"] is True, plan.abilities
    assert not bucket.keys(), "what was tried is gone again"
    migrate(opened(instance), step("copy", to, apply=True))
    client = moto.client()
    private = {keys["hidden"], keys["hidden"].replace("/original/", "/small/"), keys["backup"]}
    for key in instance.files:
        status = stranger(f"{moto.endpoint}/permissions/{key}")
        assert (status == 200) == (key not in private), key
    whole = migrate(opened(instance), step("verify", to, public_share=1.0, deep_share=1.0))
    assert (whole.wrong, whole.uncertain, whole.seen, whole.read_back) == (
        0,
        [],
        len(instance.files),
        len(instance.files),
    )
    client.put_object_acl(Bucket="permissions", Key=keys["local"], ACL="private")
    client.put_object_acl(Bucket="permissions", Key=keys["hidden"], ACL="public-read")
    client.put_object(Bucket="permissions", Key=keys["a.example"], Body=instance.files[keys["a.example"]],
                      ContentType="text/html", ACL="public-read")  # fmt: skip
    found = {one.key: one.why for one in migrate(opened(instance), step("verify", to, public_share=1.0)).problems}
    assert found.keys() == {keys["local"], keys["hidden"], keys["a.example"]}
    assert (
        "403" in found[keys["local"]]
        and "suspended" in found[keys["hidden"]]
        and "web page" in found[keys["a.example"]]
    )


def test_what_a_store_drops_is_told(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    """SeaweedFS takes a permission and drops it."""
    instance = shown_here(make_instance())
    to, _ = named_bucket(tmp_path, s3, "drops")
    told = run(instance.env, "migrate", "plan", "--to", str(to), "--write-test")
    assert "the permission is taken and dropped; strangers get 403" in told.stdout, told.stdout
    assert "yes create once" in told.stdout and "yes delete" in told.stdout


def test_old_files_are_set_aside_only_when_all_is_proven(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "aside")
    migrate(opened(instance), step("copy", to, apply=True))
    disk = instance.media
    switch(instance, bucket_variables(moto, "aside"), bucket)
    bucket.write(keys["film"], b"x" * len(instance.files[keys["film"]]))
    options = step("finish", to, apply=True, set_aside=True, restarted=True, deep_share=1.0)
    refused = finish(lambda: opened(instance), options)
    assert refused.blocked and refused.quarantined.files == 0 and exit_code(refused) == 4
    assert disk.keys() > set(instance.files)
    moto.client().put_object(Bucket="aside", Key=keys["film"], Body=instance.files[keys["film"]], ACL="public-read",
                             ContentType="video/mp4")  # fmt: skip
    unknown = finish(lambda: opened(instance), replace(options, restarted=False))
    assert unknown.blocked and "not known" in unknown.uncertain[0], "no Redis says whether Mastodon was restarted"
    done = finish(lambda: opened(instance), options)
    assert done.quarantined.files == len(instance.files)
    left = {key for key in disk.keys() if not key.startswith(".mastomend/")}
    assert left == {"cache/accounts/avatars/000/000/077/original/nobody.png"}, (
        "what no record expects stays where it was"
    )
    everything_is_there(instance)
    told = undo(opened(instance), done.run, apply=True)
    assert told.reverted > 5 and told.conflicts == 0
    assert all(disk.read(key) == data for key, data in instance.files.items())


def test_what_was_set_aside_is_purged_later(make_instance: MakeInstance, moto: S3Server, tmp_path: Path) -> None:
    """But for what the new storage has lost meanwhile."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "purged")
    migrate(opened(instance), step("copy", to, apply=True))
    disk = instance.media
    switch(instance, bucket_variables(moto, "purged"), bucket)
    finish(lambda: opened(instance), step("finish", to, apply=True, set_aside=True, restarted=True))
    bucket.delete(keys["film"])
    later = datetime.now(UTC) + timedelta(days=40)
    done = cleanup(opened(instance), timedelta(days=30), apply=True, now=later)
    assert (
        done.files == len(instance.files) - 1
        and len(done.left) == 1
        and "this stays until a repair, or an undo" in done.left[0]
    )
    left = {key for key in disk.keys() if key.startswith(".mastomend/")}
    assert len(left) == 1 and next(iter(left)).endswith(keys["film"].rpartition("/")[2])


def test_a_file_the_new_storage_lost_is_not_set_aside(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    """Looked at again right before: of the row's file as of the moment, not of the comparison."""
    instance = shown_here(make_instance())
    made = record(instance, AVATARS, picture(1), name="own")
    to, bucket = named_bucket(tmp_path, moto, "lost")
    migrate(opened(instance), step("copy", to, apply=True))
    disk = instance.media
    switch(instance, bucket_variables(moto, "lost"), bucket)
    old = Place(f"file://{instance.folder}/public/system")
    store = FilesystemStore(str(instance.folder / "public/system"))
    aside = QuarantineFile(
        Key(made.key), quarantine_key("run", Key(made.key), ""), place=old, size=len(made.data), proven=Key(made.key)
    )
    bucket.delete(made.key)
    with a_run(instance, places={old: store}) as (running, _, _):
        done = running.change(Plan(RowOf(AVATARS.name, made.id), SetAside(Reason.MOVED), (aside,), Rule.SET_ASIDE))
        assert "is not in the storage Mastodon uses" in done.verdict.detail
    assert disk.read(made.key) == made.data


def test_older_cached_attachments_go_instead(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    instance = shown_here(make_instance())
    town = Town.of(instance)
    post = town.post()
    for _ in range(3):
        town.media(post)
    to, bucket = named_bucket(tmp_path, s3, "younger")
    later = datetime(2027, 6, 1, tzinfo=UTC)
    options = step("copy", to, skip_cache_older=timedelta(days=30), max_missing_percent=100)
    plan = migrate(opened(instance), replace(options, step=Step.PLAN), now=lambda: later)
    assert plan.evictable.files == 3 and plan.estimate is not None
    done = migrate(opened(instance), replace(options, apply=True), now=lambda: later)
    assert done.evicted.files == 3 and not [key for key in bucket.keys() if "media_attachments" in key]
    assert check(opened(instance)).is_whole


# --- what somebody tried to break -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["target_is_a_link", "root_is_a_link", "cache_is_a_link", "from_is_to"])
def test_one_directory_by_two_names_is_never_emptied(make_instance: MakeInstance, tmp_path: Path, how: str) -> None:
    instance = shown_here(make_instance())
    keys = populated(instance)
    root = instance.folder / "public/system"
    other = tmp_path / "other"
    match how:
        case "target_is_a_link" | "from_is_to":
            other.symlink_to(root)
        case "root_is_a_link":
            root.rename(other)
            root.symlink_to(other)
        case "cache_is_a_link":
            other.mkdir()
            (other / "cache").symlink_to(root / "cache")
    here = opened(instance)
    if how == "cache_is_a_link":
        migrate(here, step("copy", other, apply=True))
        new = at(here, named(other).storage)
        instance.media = DiskMedia(other)
        finish(lambda: new, step("finish", other, apply=True, set_aside=True, restarted=True, public_share=0.0))
    else:
        with pytest.raises(ConfigurationError):
            migrate(here, step("copy", other, apply=True))
        with pytest.raises(ConfigurationError):
            origin = root if how == "from_is_to" else None
            finish(lambda: here, step("finish", other, origin=origin, apply=True, set_aside=True, restarted=True))
    assert keys and all(instance.media.read(key) == data for key, data in instance.files.items())


def test_the_way_back_never_writes_over_what_is_there(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    """Nor does a copy write what is damaged over what is whole."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "overwritten")
    migrate(opened(instance), step("copy", to, apply=True))
    disk = instance.media
    disk.write(keys["film"], b"cut off")
    again = migrate(opened(instance), step("copy", to, apply=True))
    assert bucket.read(keys["film"]) == instance.files[keys["film"]] and again.problems[0].key == keys["film"]
    disk.write(keys["film"], instance.files[keys["film"]])
    switch(instance, bucket_variables(moto, "overwritten"), bucket)
    bucket.write(keys["film"], b"half")
    bucket.write(keys["local"], b"")
    done = finish(lambda: opened(instance), step("finish", to, apply=True, set_aside=True, restarted=True))
    assert done.blocked and {one.key for one in done.problems} >= {keys["film"], keys["local"]} and exit_code(done) == 4
    foreseen = rollback(opened(instance), step("rollback", to))
    assert (foreseen.all.to_copy.files, foreseen.all.differing) == (0, 2), "it promises what it does"
    back = rollback(opened(instance), step("rollback", to, apply=True))
    assert back.copied.files == 0 and all(disk.read(key) == data for key, data in instance.files.items())
    assert Transfer not in planned(instance, back.run)


def test_a_part_of_it_first(make_instance: MakeInstance, moto: S3Server, tmp_path: Path) -> None:
    """A selection is that of every command; a switch is of everything."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "in-parts")
    words = ["--to", str(to)]
    plan = json.loads(run(instance.env, "migrate", "plan", "avatars", "--local", *words, "--json").stdout)
    assert (plan["to_copy"]["files"], [one["kind"] for one in plan["kinds"]]) == (1, ["accounts/avatars"])
    done = run(instance.env, "migrate", "copy", "avatars", "--local", *words, "--apply")
    assert bucket.keys() == {keys["local"]} and "verify --to" in done.stdout and "avatars --local" in done.stdout
    told = run(instance.env, "migrate", "verify", "avatars", "--local", *words)
    assert "What was selected is there" in told.stdout and "verify --to" in told.stdout.rpartition("Next")[2]
    run(instance.env, "migrate", "copy", "--domain", "a.example", *words, "--apply")
    assert keys["a.example"] in bucket.keys() and keys["local media"] not in bucket.keys()
    for name in ("finish", "rollback"):
        refused = run(instance.env, "migrate", name, "avatars", *words)
        assert refused.returncode == 2 and f"means nothing to migrate {name}" in refused.stderr
    assert json.loads(run(instance.env, "migrate", "copy", *words, "--apply", "--json").stdout)["failed"] == 0
    assert bucket.keys() == set(instance.files)


@pytest.mark.parametrize("more", [b"", b"longer"])
def test_who_is_replaced_while_it_is_copied_is_the_next_pass_s(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    """After the switch a new picture is in the new storage only: that is no failure, and nothing is damaged."""
    instance = shown_here(make_instance())
    record(instance, AVATARS, picture(1), name="kept")
    to, bucket = named_bucket(tmp_path, moto, "replaced")
    migrate(opened(instance), step("copy", to, apply=True))
    late = record(instance, AVATARS, picture(2), name="late")
    switch(instance, bucket_variables(moto, "replaced"), bucket)
    save = crossing.save

    def replaced(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        data = late.data + more
        bucket.write(late.key.replace(".png", "2.png"), data)
        instance.db.execute(
            "UPDATE accounts SET avatar_file_name = replace(avatar_file_name, '.png', '2.png'), avatar_file_size = %s "
            "WHERE id = %s AND avatar_file_name NOT LIKE '%%2.png'", [len(data), late.id],
        )  # fmt: skip

    monkeypatch.setattr(crossing, "save", replaced)
    done = finish(lambda: opened(instance), step("finish", to, apply=True, restarted=True))
    assert (done.skipped, done.failed, done.wrong, done.still_missing) == (1, 0, 0, 0), done.problems
    assert bucket.read(late.key) is None, "nobody needs it"


def test_what_goes_while_it_is_proven_is_no_proof(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is gone by the time it is read was not read; a record that is gone has nothing set aside."""
    instance = shown_here(make_instance())
    made = [record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}") for n in range(3)]
    to, bucket = named_bucket(tmp_path, moto, "going")
    migrate(opened(instance), step("copy", to, apply=True))
    disk, read = instance.media, FilesystemStore.digest

    def gone(store: FilesystemStore, key: Key) -> str | None:
        if key == made[0].key:
            disk.delete(key)
        return read(store, key)

    monkeypatch.setattr(FilesystemStore, "digest", gone)
    seen = migrate(opened(instance), step("verify", to))
    assert (seen.read_back, seen.wrong) == (2, 0)
    monkeypatch.setattr(FilesystemStore, "digest", read)

    switch(instance, bucket_variables(moto, "going"), bucket)
    save = crossing.save_alike

    def vanished(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        if arguments[2] == 1.0:
            instance.db.execute("DELETE FROM accounts WHERE id = %s", [made[1].id])

    monkeypatch.setattr(crossing, "save_alike", vanished)
    options = step("finish", to, apply=True, set_aside=True, restarted=True)
    assert finish(lambda: opened(instance), options).quarantined.files == 1
    assert disk.read(made[1].key) == made[1].data, "nobody's now: that is for orphans"


@pytest.mark.parametrize("since", ["", "avatars"])
def test_a_full_target_is_no_fault_of_a_file(
    make_instance: MakeInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """Whether it is full when it is tried or when the first file comes."""
    instance = shown_here(make_instance())
    record(instance, AVATARS, picture(1), name="own")
    (other := tmp_path / "other").mkdir()

    def full(path: Path, *rest: Any) -> None:
        if since in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_beside(path, *rest)

    monkeypatch.setattr("mastomend.storage.filesystem.write_beside", full)
    with pytest.raises(StorageError, match="is full"):
        migrate(opened(instance), step("copy", other, apply=True))


def test_an_old_disk_that_shows_nothing_is_no_proof(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "nothing")
    migrate(opened(instance), step("copy", to, apply=True))
    record(instance, AVATARS, picture(70), name="late")
    switch(instance, bucket_variables(moto, "nothing"), bucket)
    (instance.folder / "public/system").rename(instance.folder / "public/elsewhere")
    (instance.folder / "public/system").mkdir()
    with pytest.raises(SafetyStop, match="holds none of"):
        finish(lambda: opened(instance), step("finish", to, apply=True))
    (tmp_path / "wrong").mkdir()
    with pytest.raises(SafetyStop, match="holds none of"):
        finish(lambda: opened(instance), step("finish", to, origin=tmp_path / "wrong", apply=True))


def test_who_was_suspended_after_the_copy_is_hidden(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "suspended")
    migrate(opened(instance), step("copy", to, apply=True))
    key = keys["a.example media"]
    assert stranger(f"{moto.endpoint}/suspended/{key}") == 200
    suspend = "UPDATE accounts SET suspended_at = now() WHERE username = %s"
    instance.db.execute(suspend, ["u0"])
    again = migrate(opened(instance), step("copy", to, apply=True))
    assert (again.copied.files, again.hidden) == (0, 2) and stranger(f"{moto.endpoint}/suspended/{key}") == 403
    assert stranger(f"{moto.endpoint}/suspended/{keys['local media']}") == 200
    assert set(planned(instance, again.run)) == {SetServing}, "nothing is copied, and what is hidden is journaled"
    assert "is not at hand" in undo(opened(instance), again.run, apply=True).details[0]
    assert stranger(f"{moto.endpoint}/suspended/{key}") == 403

    switch(instance, bucket_variables(moto, "suspended"), bucket)
    instance.db.execute(suspend, ["u1"])
    done = finish(lambda: opened(instance), step("finish", to, apply=True))
    assert done.hidden == 4 and stranger(f"{moto.endpoint}/suspended/{keys['local media']}") == 403
    assert set(planned(instance, done.run)) == {SetServing}
    left = undo(opened(instance), done.run, apply=True)
    assert left.reverted == 0 and "stays hidden" in left.details[0], "nobody's suspension is taken back by an undo"
    assert stranger(f"{moto.endpoint}/suspended/{keys['local media']}") == 403
    past = run(instance.env, "history").stdout
    assert "4 hidden; 4 files handed out otherwise" in past and "   16 copied\n" in past


def test_buckets_of_one_name_are_two(
    make_instance: MakeInstance, s3: S3Server, moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket is often called as its public name; what is hidden is hidden in the copy, and the other is not asked."""
    instance = make_instance("4.5", "s3")
    keys = populated(instance)
    name = instance.media.bucket  # type: ignore[attr-defined]
    to, _ = named_bucket(tmp_path, moto, name)
    migrate(opened(instance), step("copy", to, apply=True))
    instance.db.execute("UPDATE accounts SET suspended_at = now() WHERE username = 'u0'")
    served: list[str] = []
    serve = S3ObjectStore.serve

    def watched(store: S3ObjectStore, key: Key, serving: Serving) -> None:
        served.append(store._settings.endpoint or "")
        serve(store, key, serving)

    monkeypatch.setattr(S3ObjectStore, "serve", watched)
    again = migrate(opened(instance), step("copy", to, apply=True))
    assert (again.hidden, set(served)) == (2, {moto.endpoint}), again.problems
    assert stranger(f"{moto.endpoint}/{name}/{keys['a.example media']}") == 403


def test_hiding_that_was_cut_off_is_settled(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket that Mastodon does not use yet: only the command that names it can do it."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    to, _ = named_bucket(tmp_path, moto, "cut-off")
    migrate(opened(instance), step("copy", to, apply=True))
    instance.db.execute("UPDATE accounts SET suspended_at = now() WHERE username = 'u0'")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "done", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(opened(instance), step("copy", to, apply=True))
    notes: list[str] = []
    watcher = Silent()
    monkeypatch.setattr(watcher, "note", notes.append, raising=False)
    migrate(opened(instance), step("copy", to, apply=True), watcher)
    assert any("have been settled" in note for note in notes)
    assert stranger(f"{moto.endpoint}/cut-off/{keys['a.example media']}") == 403
    with contextlib.closing(Journal(instance.state)) as journal:
        assert not journal.unsettled()


def test_backups_on_a_disk_keep_their_mode(make_instance: MakeInstance, tmp_path: Path) -> None:
    """Mastodon leads people to them by a plain address there; what a suspended account has it hides."""
    instance = shown_here(make_instance())
    keys = populated(instance)
    (other := tmp_path / "other").mkdir()
    migrate(opened(instance), step("copy", other, apply=True))
    assert (other / keys["backup"]).stat().st_mode & 0o777 == 0o644
    assert (other / keys["hidden"]).stat().st_mode & 0o777 == 0o600


def test_one_bucket_is_one_bucket_however_it_is_spelled(
    make_instance: MakeInstance, moto: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    populated(instance)
    to, bucket = named_bucket(tmp_path, moto, "spelled")
    migrate(opened(instance), step("copy", to, apply=True))
    switch(instance, bucket_variables(moto, "spelled", S3_READ_TIMEOUT="30", S3_PERMISSION="private") | {
        "S3_ENDPOINT": f"{moto.endpoint}/"}, bucket)  # fmt: skip
    assert finish(lambda: opened(instance), step("finish", to)).is_switched


def test_what_names_nothing_and_what_is_secret(make_instance: MakeInstance, moto: S3Server, tmp_path: Path) -> None:
    instance = shown_here(make_instance())
    populated(instance)
    (wrong := tmp_path / "yes.env").write_text("S3_ENABLED=yes\nS3_BUCKET=x\n")
    for words, said in ((["--to", ""], "--to names nothing"), (["--to", str(wrong)], "must be exactly true"),
                        (["--to", str(tmp_path / "newdir")], f"mkdir {tmp_path}/newdir")):  # fmt: skip
        done = run(instance.env, "migrate", "plan", *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    to, _ = named_bucket(tmp_path, moto, "secrets", AWS_SESSION_TOKEN=SECRET, S3_SSE_CUSTOMER_KEY=SECRET)
    migrate(opened(instance), step("copy", to, apply=True))
    told = run(instance.env, "migrate", "finish", "--to", str(to))
    assert "AWS_SESSION_TOKEN: the line of" in told.stdout and SECRET not in told.stdout
    assert SECRET not in run(instance.env, "migrate", "finish", "--to", str(to), "--json").stdout


def test_nothing_is_let_go_before_the_target_is_tried(
    make_instance: MakeInstance, s3: S3Server, tmp_path: Path
) -> None:
    instance = shown_here(make_instance())
    town = Town.of(instance)
    town.media(town.post())
    before = instance.media.keys()
    to = named_file(tmp_path, s3, "there-is-no-such-bucket")
    options = step("copy", to, apply=True, skip_cache_older=timedelta(days=30), max_missing_percent=100)
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        migrate(opened(instance), options, now=lambda: datetime(2027, 6, 1, tzinfo=UTC))
    assert instance.media.keys() == before


def test_an_empty_file_is_told_and_holds_nobody_up(make_instance: MakeInstance, moto: S3Server, tmp_path: Path) -> None:
    instance = shown_here(make_instance())
    keys = populated(instance)
    instance.media.write(keys["a.example"], b"")
    to, bucket = named_bucket(tmp_path, moto, "empty")
    migrate(opened(instance), step("copy", to, apply=True))
    told = migrate(opened(instance), step("verify", to, public_share=1.0, deep_share=1.0))
    assert (told.wrong, told.all.empty, exit_code(told)) == (0, 1, 0)
    assert bucket.read(keys["a.example"]) == b""


# --- what the public gets ---------------------------------------------------------------------------------------------


def test_the_lines_for_nginx_do_what_they_say(make_instance: MakeInstance, moto: S3Server, tmp_path: Path) -> None:
    """The alias serves from the bucket, then from the old disk; old addresses lead to the new ones."""
    instance = shown_here(make_instance())
    made = [record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}") for n in range(2)]
    to, bucket = named_bucket(tmp_path, moto, "fronted", S3_ALIAS_HOST="files.example.social", S3_PROTOCOL="https")
    migrate(opened(instance), step("copy", to, apply=True))
    told = finish(lambda: opened(instance), step("finish", to))
    bucket.delete(made[1].key)
    alias, _, redirect = told.nginx.partition("\n\n# ")
    assert "server_name files.example.social;" in alias and redirect.startswith("example.social: addresses from before")
    inner = alias[alias.index("    location / {") :].rstrip().removesuffix("}")
    readable(instance.folder / "public")
    with nginx(inner, tmp_path / "alias") as address:
        for one in made:
            with urlopen(f"{address}/{one.key}", timeout=30) as answer:
                assert answer.read() == one.data
        assert stranger(f"{address}/accounts/avatars/000/000/001/original/nothing.png") == 404
        moto.client().put_object_acl(Bucket="fronted", Key=made[0].key, ACL="private")
        assert stranger(f"{address}/{made[0].key}") == 403, "what the bucket hides the old disk does not show"
        moto.client().put_object_acl(Bucket="fronted", Key=made[0].key, ACL="public-read")
    moved = "https://files.example.social"
    inner = redirect.partition("\n")[2].replace(moved, moto.endpoint + "/fronted")
    with (
        nginx(inner, tmp_path / "old") as address,
        urlopen(f"{address}/system/{made[0].key}", timeout=30) as answer,
    ):
        assert answer.read() == made[0].data and answer.url.endswith(f"/fronted/{made[0].key}")
    assert "handle_response @missing" in told.caddy and f"root * {instance.folder}/public/system" in told.caddy


def test_the_switch_is_waited_for(make_instance: MakeInstance, moto: S3Server, redis_port: int, tmp_path: Path) -> None:
    """Until the settings name the target and Sidekiq's processes are younger than they are."""
    instance = shown_here(make_instance())
    instance.env.write_text(instance.env.read_text().replace("REDIS_PORT=1", f"REDIS_PORT={redis_port}"))
    made = record(instance, AVATARS, picture(1), name="own")
    to, bucket = named_bucket(tmp_path, moto, "waited")
    migrate(opened(instance), step("copy", to, apply=True))
    jobs = Redis(port=redis_port)

    def started(at: float) -> None:
        jobs.sadd("processes", "host:1:a")
        jobs.hset("host:1:a", "info", json.dumps({"started_at": at}))

    started(time.time() - 1_000)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # an editor that saves in two steps
            instance.env.write_text(instance.env.read_text() + "S3_ENABLED=true\n")
        if len(slept) == 2:
            switch(instance, bucket_variables(moto, "waited"), bucket)
        if len(slept) == 4:
            started(time.time() + 5)

    done = finish(lambda: opened(instance), step("finish", to, apply=True, wait_s=600.0), sleep=sleep)
    assert len(slept) >= 4 and done.is_switched and not done.uncertain and done.verified == 1
    started(time.time() - 1_000)
    again = finish(lambda: opened(instance), step("finish", to, apply=True))
    assert "restart mastodon-sidekiq" in again.uncertain[0] and bucket.read(made.key) == made.data


def test_an_old_web_server_is_seen_here(make_instance: MakeInstance, redis_port: int, tmp_path: Path) -> None:
    """A real process that calls itself as Puma does; and whatever the kernel shows otherwise is none."""
    instance = make_instance()
    instance.env.write_text(instance.env.read_text().replace("REDIS_PORT=1", f"REDIS_PORT={redis_port}"))
    before = not_restarted(opened(instance), lambda: datetime.now(UTC))
    words = ["puma 6.4.2 (tcp://127.0.0.1:3000) [mastodon]", "60"]
    with subprocess.Popen(words, executable=shutil.which("sleep"), cwd=instance.folder) as web:
        try:
            os.utime(instance.env, (time.time() + 5, time.time() + 5))
            assert web_started(tmp_path) == [], "another Mastodon's"
            (said,) = set(not_restarted(opened(instance), lambda: datetime.now(UTC))) - set(before)
            assert "web processes (puma)" in said and "restart" in said
            os.utime(instance.env, (time.time() - 60, time.time() - 60))
            assert not not_restarted(opened(instance), lambda: datetime.now(UTC)), "it began after that"
        finally:
            web.kill()
    assert web_started(instance.folder, proc=tmp_path) == []


# --- a server that goes on --------------------------------------------------------------------------------------------


@dataclass
class Busy:
    """People who upload, replace and delete all the time, as Mastodon does: a file before its row, the row before its file."""

    instance: SimulatedInstance
    made: list[Made] = field(default_factory=list)
    ended: Event = field(default_factory=Event)
    paused: Lock = field(default_factory=Lock)

    def live(self) -> None:
        chance, number = random.Random(3), 0
        while not self.ended.wait(0.02):
            with self.paused:
                number += 1
                match chance.choice(["upload", "upload", "replace", "delete"]):
                    case "delete" if len(self.made) > 20:
                        gone = self.made.pop(chance.randrange(len(self.made)))
                        self.instance.db.execute("DELETE FROM accounts WHERE id = %s", [gone.id])
                        self._forget(gone.key)
                    case "replace" if self.made:
                        one = chance.randrange(len(self.made))
                        self.made[one] = self._replaced(self.made[one], number)
                    case _:
                        self.made.append(
                            record(self.instance, AVATARS, picture(number), domain="a.example", name=f"living{number}")
                        )

    def _replaced(self, one: Made, number: int) -> Made:
        """Another picture, by another name."""
        data = picture(number + 10_000)
        name = f"{number:016x}.png"
        key = one.key.rpartition("/")[0] + f"/{name}"
        self.instance.media.write(key, data)
        self.instance.files[key] = data
        self.instance.db.execute(
            "UPDATE accounts SET avatar_file_name = %s, avatar_file_size = %s, avatar_content_type = 'image/png' "
            "WHERE id = %s", [name, len(data), one.id],
        )  # fmt: skip
        self._forget(one.key)
        return replace(one, keys=(key,), data=data)

    def _forget(self, key: str) -> None:
        del self.instance.files[key]
        with contextlib.suppress(
            FileNotFoundError
        ):  # it came before the switch, and the last pass had not been there yet
            self.instance.media.delete(key)


def test_a_server_that_goes_on_is_moved_from_store_to_store(
    make_instance: MakeInstance, s3: S3Server, azure: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A disk, SeaweedFS, Swift's s3api (`make soak`), Azure, a disk: nothing is lost, and at each stop `check` is content."""
    instance = shown_here(make_instance())
    populated(instance)
    (last := tmp_path / "last").mkdir()
    blobs = container(azure, "moved")
    stops: list[tuple[Named, Media]] = []
    for server, bucket in ((s3, "chain"), *([(request.getfixturevalue("swift"), "chain")] if SOAK else [])):
        path, media = named_bucket(tmp_path, server, bucket)
        stops.append((named(path), media))
    stops.append(
        (
            Named(blobs, {"AZURE_ENABLED": "true", "AZURE_ALIAS_HOST": "127.0.0.1:9"}, tmp_path / "azure"),
            ContainerMedia(blobs),
        )
    )
    stops.append((named(last), DiskMedia(last)))
    town = Busy(instance)
    living = Thread(target=town.live)
    living.start()
    try:
        here = opened(instance)
        source = Named(here.configuration.storage, {}, tmp_path)
        for to, media in stops:
            copied = migrate(here, step("copy", to, apply=True))
            assert (copied.failed, copied.wrong) == (0, 0), copied.problems
            assert copied.copied.files > 10
            again = migrate(here, step("copy", to, apply=True))
            assert again.all.alike.files >= 12, "what nobody touched is not copied again"
            with town.paused:  # the switch, and the restart
                instance.media = media
                here = at(here, to.storage)
            done = finish(lambda now=here: now, step("finish", to, origin=source, apply=True))  # type: ignore[misc]
            assert (done.failed, done.still_missing) == (0, 0), [
                one for one in done.problems if "public" not in one.why
            ]
            with town.paused:
                for key, data in instance.files.items():
                    assert media.read(key) == data, f"{to}: {key}"
            assert check(here).broken == 0, to
            source = to
    finally:
        town.ended.set()
        living.join()
    assert check(here).is_whole
