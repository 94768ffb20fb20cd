"""`doctor`: what works is green, what does not is red with what to do; no trouble hides another; nothing is written."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from broken import record
from bucket_proxy import bucket_proxy
from conftest import MakeInstance, opened
from moving import bucket_variables, shown_here, switch
from tool import run
from touches import Town
from web_server import nginx, readable

from mastomend.cli.doctor import document
from mastomend.commands.doctor import doctor
from mastomend.commands.old_posts import prune_posts
from mastomend.commands.undo import undo
from mastomend.demo.instance import BucketMedia, SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server
from mastomend.errors import DatabaseError
from mastomend.mastodon.kinds import AVATARS


def looked(instance: SimulatedInstance, *, write_test: bool = False) -> dict[str, tuple[str, str]]:
    """What each thing is, and what is said of it with the advice."""
    told = document(doctor(opened(instance), write_test=write_test))
    return {
        f"{one['area']}: {one['name']}": (one["health"], f"{one['said']} | {one['advice']}") for one in told["lines"]
    }


def worker(port: int, queue_waits_s: float = 1.0) -> None:
    """A Sidekiq process that tells it is alive, as Sidekiq does, and a job that waits."""
    connection = redis.Redis(port=port)
    connection.sadd("processes", "host:1:abc")
    connection.hset("host:1:abc", "info", json.dumps({"started_at": time.time() - 100, "queues": ["pull"]}))
    connection.sadd("queues", "pull")
    connection.delete("queue:pull")
    connection.lpush("queue:pull", json.dumps({"class": "X", "enqueued_at": time.time() - queue_waits_s}))


def set_line(instance: SimulatedInstance, name: str, value: str | None) -> None:
    kept = [line for line in instance.env.read_text().splitlines() if not line.startswith(f"{name}=")]
    instance.env.write_text("\n".join([*kept, *([] if value is None else [f"{name}={value}"])]) + "\n")


def test_a_sound_bucket_is_green_and_nothing_is_written(
    make_instance: MakeInstance, moto: S3Server, redis_port: int
) -> None:
    instance = shown_here(make_instance())
    set_line(instance, "REDIS_PORT", str(redis_port))
    worker(redis_port)
    media = BucketMedia(moto, "sound")
    switch(instance, bucket_variables(moto, "sound"), media)
    key = record(instance, AVATARS, picture(1), domain="a.example", name="u").key
    moto.client().put_object(
        Bucket="sound", Key=key, Body=instance.files[key], ContentType="image/png", ACL="public-read"
    )
    instance.env.chmod(0o640)
    done = run(instance.env, "doctor", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["bad"], done.stderr) == (0, 0, ""), told
    assert told["lines"][0]["health"] == "good" and told["exit_code"] == 0
    with bucket_proxy(moto.endpoint) as proxy:
        switch(instance, bucket_variables(S3Server(proxy.endpoint, "moto", "x"), "sound"), media)
        before = media.keys()
        words = run(instance.env, "doctor")
        assert words.returncode == 0 and "All that was looked at works." in words.stdout, words.stdout
        assert {seen.method for seen in proxy.seen} <= {"GET", "HEAD"} and media.keys() == before
        assert not (instance.state / "journal.sqlite3").exists()
        tried = looked(instance, write_test=True)
        assert tried["storage: permission"][0] == "good" and media.keys() == before


def test_each_trouble_is_a_line_and_hides_no_other(make_instance: MakeInstance, s3: S3Server, redis_port: int) -> None:
    instance = shown_here(make_instance())
    record(instance, AVATARS, picture(1), domain="a.example", name="u")
    media = BucketMedia(s3, "troubles")
    switch(instance, bucket_variables(s3, "troubles"), media)
    found = looked(instance)
    assert found["Redis: application"][0] == "bad" and found["database: version"][0] == "good"
    set_line(instance, "REDIS_PORT", str(redis_port))
    assert looked(instance)["Sidekiq: workers"] == (
        "bad",
        "no process tells that it is alive | systemctl status mastodon-sidekiq",
    )
    worker(redis_port, queue_waits_s=4000)
    late = looked(instance)
    assert late["Sidekiq: queue pull"][0] == "advised" and "for 67 min" in late["Sidekiq: queue pull"][1]
    for name, value, line, said in (
        ("S3_BUCKET", "nowhere-at-all", "storage: connection", "nowhere-at-all"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "storage: connection", "AWS_SECRET_ACCESS_KEY"),
        ("S3_ENDPOINT", f"{s3.endpoint}/troubles", "storage: address", "already has the bucket in it"),
        ("DB_NAME", "no_such_database", "database: connection", "no_such_database"),
    ):
        kept = instance.env.read_text()
        set_line(instance, name, value)
        found = looked(instance)
        assert (found[line][0], said in found[line][1]) == ("bad", True), (name, found)
        assert found["Redis: application"][0] == "good", "the others were looked at all the same"
        instance.env.write_text(kept)


def test_rights_are_told_as_grants(make_instance: MakeInstance, socket_dir: str) -> None:
    instance = shown_here(make_instance())
    record(instance, AVATARS, picture(1), domain="a.example", name="u")
    role = f"Lim-ited {instance.folder.name}"
    name = f'"{role}"'
    instance.db.execute(f"CREATE ROLE {name} LOGIN")
    try:
        instance.db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        set_line(instance, "DB_USER", f'"{role}"')
        told: dict[str, Any] = document(doctor(opened(instance)))
        lines = {one["name"]: one for one in told["lines"] if one["area"] == "database"}
        assert lines["rights of check"]["health"] == "good" and lines["rights of repair"]["health"] == "good"
        assert lines["rights of repair --apply"]["health"] == "advised", "a role that only checks is no trouble"
        instance.db.execute(f"GRANT UPDATE (updated_at) ON accounts TO {name}")
        half = {one["name"]: one for one in document(doctor(opened(instance)))["lines"]}
        assert half["rights of repair --apply"]["health"] == "bad", "it is meant to repair"
        for what in ("repair --apply", "prune --apply"):
            assert what != "prune --apply" or lines[f"rights of {what}"]["health"] == "advised"
            for statement in lines[f"rights of {what}"]["statements"]:
                instance.db.execute(statement)
        lines = {one["name"]: one for one in document(doctor(opened(instance)))["lines"] if one["area"] == "database"}
        posts = lines.pop("rights of prune --statuses")
        assert {one["health"] for one in lines.values()} == {"good"}, "what was printed is enough"
        assert posts["health"] == "advised" and "it prints the GRANTs" in posts["said"]
        with pytest.raises(DatabaseError, match="may not archive and delete posts") as barred:
            prune_posts(opened(instance), timedelta(days=90), apply=True)
        instance.db.execute(f"REVOKE SELECT ON tombstones FROM {name}")
        with pytest.raises(DatabaseError) as blind:
            prune_posts(opened(instance), timedelta(days=90), apply=True)
        assert f"GRANT SELECT ON tombstones TO {name};" in blind.value.statements, "an undo asks it"
        instance.db.execute(f"GRANT SELECT ON tombstones TO {name}")
        assert f"GRANT DELETE, INSERT, UPDATE ON statuses TO {name};" in barred.value.statements
        for statement in barred.value.statements:
            instance.db.execute(statement)
        town = Town.of(instance)
        old = town.post()
        later = datetime(2030, 1, 1, tzinfo=UTC)
        gone = prune_posts(opened(instance), timedelta(days=90), apply=True, now=lambda: later)
        assert gone.evicted.records == 1
        assert undo(opened(instance), "latest", apply=True).reverted == 1, "and enough to bring it back"
        assert [row["id"] for row in instance.db.execute("SELECT id FROM statuses")] == [old]
    finally:
        instance.db.execute(f"DROP OWNED BY {name}")
        instance.db.execute(f"DROP ROLE {name}")


def test_a_disk_behind_nginx(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = shown_here(make_instance())
    key = record(instance, AVATARS, picture(1), domain="a.example", name="u").key
    root = readable(instance.folder / "public")
    with nginx(f"root {root}; location ~ ^/system/ {{ try_files $uri =404; }}", tmp_path / "nginx") as address:
        set_line(instance, "PAPERCLIP_ROOT_URL", f"{address}/system")
        found = looked(instance)
        assert found["public: a file that is there"][0] == "good", found
        assert found["public: a file that is not there"] == ("good", "it answers 404 | ")
        (root / "system" / key).chmod(0o600)
        assert looked(instance)["public: a file that is there"][0] == "bad"
    instance.env.chmod(0o644)
    instance.state.mkdir(mode=0o755, exist_ok=True)
    (instance.state / "somebody's").touch()
    instance.state.chmod(0o755)
    (root / "system").chmod(0o700)
    found = looked(instance)
    assert found["settings: file"][0] == "advised" and found["machine: state directory"][0] == "advised"
    assert "others may not enter" in found["storage: mode"][1]
    instance.insert("settings", var="media_cache_retention_period", value="--- 7\n")
    assert "prune keeps it in vain" in looked(instance)["retention: Mastodon's settings"][1]


@pytest.mark.parametrize(("version", "where"), [("4.3", "@proxy"), ("4.6", "^~ /system/")])
def test_where_the_hook_belongs(make_instance: MakeInstance, version: str, where: str) -> None:
    instance = shown_here(make_instance(version))
    record(instance, AVATARS, picture(1), domain="a.example", name="u")
    assert where in looked(instance)["public: healing hook"][1]
