"""`check --public`: what the storage has and the public does not get; `repair --public` sets what is Mastodon's to set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web
from broken import record
from bucket_proxy import bucket_proxy
from conftest import MakeInstance, opened
from moving import bucket_variables, stranger, switch
from tool import run
from web_server import nginx, readable

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.check_report import CheckReport
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.instance import BucketMedia, SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.demo.services import S3Server
from mastomend.inventory.findings import load
from mastomend.inventory.whole import PublicLook
from mastomend.mastodon.kinds import AVATARS, MEDIA_FILES
from mastomend.plans.public import Answer, Cause, Wanted, cause
from mastomend.storage.ports import CACHE_CONTROL

ALL = PublicLook()


def in_bucket(instance: SimulatedInstance, server: S3Server, bucket: str, **more: str) -> BucketMedia:
    media = BucketMedia(server, bucket)
    switch(instance, bucket_variables(server, bucket, **more), media)
    return media


def as_mastodon_does(server: S3Server, bucket: str, instance: SimulatedInstance) -> None:
    for key, data in instance.files.items():
        server.client().put_object(
            Bucket=bucket, Key=key, Body=data, ContentType="image/png", CacheControl=CACHE_CONTROL, ACL="public-read"
        )


def looked(instance: SimulatedInstance) -> tuple[CheckReport, dict[str, str]]:
    report = check(opened(instance), CheckOptions(public=ALL))
    found = load(report.findings)
    return report, {
        one.key: one.detail.removeprefix("public (").partition(")")[0] for one in found if one.state == "unservable"
    }


def test_causes_are_told_apart_and_what_is_ours_is_mended(make_instance: MakeInstance, moto: S3Server) -> None:
    instance = make_instance()
    in_bucket(instance, moto, "shown")
    keys = [record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}").key for n in range(6)]
    gone = record(instance, AVATARS, picture(9), name="hidden", suspended_at="2026-11-01 00:00:00")
    hidden = record(instance, MEDIA_FILES, picture(8, 300, 200), account_id=gone.id, shortcode="x").keys
    as_mastodon_does(moto, "shown", instance)
    client = moto.client()
    for key in hidden:
        client.put_object_acl(Bucket="shown", Key=key, ACL="private")
    report, found = looked(instance)
    assert (found, report.public and report.public.asked, report.is_whole) == ({}, len(instance.files), True)

    client.put_object_acl(Bucket="shown", Key=keys[0], ACL="private")
    client.put_object_acl(Bucket="shown", Key=hidden[0], ACL="public-read")
    for key, content_type in ((keys[1], "text/html"), (keys[2], "application/octet-stream"), (keys[3], "image/jpeg")):
        client.put_object(
            Bucket="shown", Key=key, Body=instance.files[key], ContentType=content_type, ACL="public-read"
        )
    wanted = {
        keys[0]: "permission", hidden[0]: "exposed", keys[1]: "web_page", keys[2]: "type", keys[3]: "type",
    }  # fmt: skip
    report, found = looked(instance)
    assert found == wanted and (report.hidden, report.unseen, report.broken) == (5, 0, 0) and not report.is_whole

    planned = repair(opened(instance), RepairOptions(public=ALL))
    assert (planned.records, dict(planned.outcomes)) == (5, {})
    done = repair(opened(instance), RepairOptions(public=ALL, apply=True))
    assert done.outcomes == {"restored": 5}, done.reasons
    assert looked(instance)[1] == {}
    taken = undo(opened(instance), done.run, apply=True)
    del wanted[hidden[0]]
    assert (taken.reverted, taken.conflicts) == (4, 1) and looked(instance)[1] == wanted
    assert "stays hidden" in taken.details[0], "an undo shows nobody what a suspended account has posted"


def test_what_is_set_again_keeps_what_else_it_had(make_instance: MakeInstance, moto: S3Server) -> None:
    """And where S3_PERMISSION makes nothing public, nothing is made public, nor said to be."""
    instance = make_instance()
    in_bucket(instance, moto, "keeps")
    key = record(instance, AVATARS, picture(1), domain="a.example", name="u").key
    moto.client().put_object(
        Bucket="keeps", Key=key, Body=instance.files[key], ContentType="text/html", Metadata={"made-by": "somebody"},
        ContentDisposition="inline", StorageClass="STANDARD_IA", ACL="public-read",
    )  # fmt: skip
    assert repair(opened(instance), RepairOptions(public=ALL, apply=True)).outcomes == {"restored": 1}
    now = moto.client().head_object(Bucket="keeps", Key=key)
    assert (now["ContentType"], now["Metadata"], now["ContentDisposition"], now["StorageClass"]) == (
        "image/png", {"made-by": "somebody"}, "inline", "STANDARD_IA",
    )  # fmt: skip
    instance.env.write_text(instance.env.read_text() + "S3_PERMISSION=private\n")
    moto.client().put_object_acl(Bucket="keeps", Key=key, ACL="private")
    told = repair(opened(instance), RepairOptions(public=ALL, apply=True))
    assert told.outcomes == {"refused": 1} and stranger(f"{moto.endpoint}/keeps/{key}") == 403


def test_what_stands_before_the_storage_is_told_and_left(make_instance: MakeInstance, moto: S3Server) -> None:
    """A CDN that remembers, redirects in circles, sends a page, cuts bodies: all with the same sound bucket behind it."""
    instance = make_instance()
    keys = [record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}").key for n in range(7)]
    with bucket_proxy(moto.endpoint) as cdn:
        in_bucket(instance, moto, "behind", S3_ALIAS_HOST=f"{cdn.endpoint.removeprefix('http://')}/behind")
        as_mastodon_does(moto, "behind", instance)
        assert looked(instance)[1] == {}

        def fault(request: web.Request) -> web.StreamResponse | None:
            key = request.path.removeprefix("/behind/")
            if key == keys[0] and not request.query_string:
                return web.Response(status=404)
            if key == keys[1]:
                return web.Response(status=302, headers={"Location": request.path})
            if key == keys[2]:
                return web.Response(text="<html>hello</html>", content_type="text/html")
            if key == keys[3]:
                return web.Response(status=403)
            if key == keys[4]:
                return web.Response(body=b"\x89PNG\r\n\x1a\nold", content_type="image/png")
            if key == keys[5]:
                return web.Response(status=500)
            return None

        cdn.fault = fault
        _, found = looked(instance)
        assert found == dict(
            zip(
                keys,
                ["negative_cache", "redirects", "web_page", "permission", "other_size", "server_error"],
                strict=False,
            )
        )
        done = repair(opened(instance), RepairOptions(public=ALL, apply=True))
        assert done.outcomes == {"refused": 2}, "the page may have been its type, and the 403 its permission"
        told = run(instance.env, "check", "--public=100%", "--json")
        assert json.loads(told.stdout)["public"] == {
            "asked": 7,
            "unservable": 6,
            "causes": dict.fromkeys(found.values(), 1),
        }
        words = run(instance.env, "check", "--public")
        assert words.returncode == 1 and "6 of 7 files do not reach the public" in words.stdout
        assert "purge its cache" in words.stdout


def test_a_name_that_leads_nowhere_and_a_certificate_nobody_trusts(make_instance: MakeInstance, moto: S3Server) -> None:
    instance = make_instance()
    record(instance, AVATARS, picture(1), domain="a.example", name="u")
    for host, said in (("nowhere.invalid", {"dns"}), ("127.0.0.1:1", {"unreachable"}),
                       (moto.endpoint.removeprefix("http://"), {"tls", "unreachable"})):  # fmt: skip
        bucket = f"b{len(host)}"
        in_bucket(instance, moto, bucket, S3_ALIAS_HOST=f"{host}/{bucket}", S3_PROTOCOL="https")
        as_mastodon_does(moto, bucket, instance)
        assert set(looked(instance)[1].values()) <= said, host


def test_modes_nginx_cannot_read(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    keys = [record(instance, AVATARS, picture(n), domain="a.example", name=f"u{n}").key for n in range(3)]
    root = readable(instance.folder / "public")
    location = f"root {root}; location ~ ^/system/ {{ try_files $uri =404; }}"
    with nginx(location, tmp_path / "nginx") as address:
        instance.env.write_text(instance.env.read_text() + f"PAPERCLIP_ROOT_URL={address}/system\n")
        assert looked(instance)[1] == {}
        (root / "system" / keys[0]).chmod(0o600)
        (folder := (root / "system" / keys[1]).parent).chmod(0o700)
        _, found = looked(instance)
        assert found == {keys[0]: "permission", keys[1]: "not_found"}, "nginx takes what it may not enter for nothing"
        done = repair(opened(instance), RepairOptions(public=ALL, apply=True))
        assert done.outcomes == {"restored": 1}
        assert looked(instance)[1] == {keys[1]: "not_found"}, "a folder's mode is not the file's"
        folder.chmod(0o755)
        undo(opened(instance), done.run, apply=True)
        assert looked(instance)[1] == {keys[0]: "permission"}


@pytest.mark.parametrize(
    ("answer", "wanted", "found"),
    [
        (Answer(206, "image/png", 5, "", "image/png"), Wanted(5), None),
        (Answer(200, "image/png; charset=x", None, "", "image/png"), Wanted(5), None),
        (Answer(200, "video/mp4", 5, "", None), Wanted(5, is_picture=False), None),
        (Answer(404, "", None, "", None), Wanted(5, is_private=True), None),
        (Answer(0, "", None, "dns", None), Wanted(5, is_private=True), Cause.DNS),
        (Answer(206, "image/png", 5, "", "image/png"), Wanted(5, is_private=True), Cause.EXPOSED),
        (Answer(401, "", None, "", None), Wanted(5), Cause.PERMISSION),
        (Answer(503, "", None, "", None), Wanted(5), Cause.SERVER_ERROR),
        (Answer(200, "text/html", 5, "", None), Wanted(5), Cause.WEB_PAGE),
        (Answer(200, "", 5, "", "image/png"), Wanted(5), Cause.TYPE),
        (Answer(200, "image/gif", 5, "", "image/png"), Wanted(5), Cause.TYPE),
        (Answer(200, "image/png", 4, "", "image/png"), Wanted(5), Cause.OTHER_SIZE),
    ],
)
def test_what_an_answer_means(answer: Answer, wanted: Wanted, found: Cause | None) -> None:
    assert cause(wanted, answer) == found
