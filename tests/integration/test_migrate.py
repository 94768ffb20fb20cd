"""`migrate`: every file arrives with its bytes and as Mastodon hands it out; nothing is sent twice; there is a way back."""

from __future__ import annotations

import json
from pathlib import Path

from broken import record
from conftest import MakeInstance, opened
from moving import bucket_variables, named_bucket, step, switch
from tool import run

from mastomend.commands.check import check
from mastomend.commands.migrate_end import finish, rollback
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server
from mastomend.mastodon.kinds import AVATARS, BACKUPS, EMOJIS, HEADERS, MEDIA_FILES, PREVIEW_CARDS
from mastomend.storage.ports import CACHE_CONTROL


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


def everything_is_there(instance: SimulatedInstance, prefix: str = "") -> None:
    for key, data in instance.files.items():
        assert instance.media.read(f"{prefix}{key}") == data, key
    assert check(opened(instance)).is_whole


def test_a_disk_is_moved_to_a_bucket_and_back(make_instance: MakeInstance, s3: S3Server, tmp_path: Path) -> None:
    instance = make_instance("4.5")
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
    assert f"AWS_SECRET_ACCESS_KEY=(as in {to})" in lines.stdout

    late = record(instance, AVATARS, picture(31), domain="a.example", name="late")  # before the switch
    switch(instance, bucket_variables(s3, "moved-to"), bucket)
    after = record(instance, AVATARS, picture(32), domain="a.example", name="after")
    done = finish(lambda: opened(instance), step("finish", to, apply=True))
    assert (done.copied.files, done.still_missing, done.verified) == (1, 0, len(instance.files))
    assert bucket.read(late.key) == late.data and disk.read(after.key) is None
    everything_is_there(instance)

    back = rollback(opened(instance), step("rollback", to, apply=True))
    assert back.copied.files == 1 and disk.read(after.key) == after.data
    assert [line.partition("=")[0] for line in back.lines if not line.startswith("-")] == ["PAPERCLIP_ROOT_PATH"]
    assert {"-S3_ENABLED", "-AWS_SECRET_ACCESS_KEY"} <= set(back.lines)
    switch(instance, {"PAPERCLIP_ROOT_PATH": str(instance.folder / "public/system")}, disk)
    everything_is_there(instance)
    assert rollback(opened(instance), step("rollback", to)).all.to_copy.files == 0
