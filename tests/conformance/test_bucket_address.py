"""One function turns settings into scheme, host and path, and every verb uses it (issue 10, E19 and E20)."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from bucket_proxy import BucketProxy, bucket_proxy

from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.keys import Key, Record, expected_files, parse_key
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.storage_settings import S3Storage, storage
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import Requests
from mastomend.storage.s3_bucket import S3Bucket
from mastomend.storage.s3_client import S3Client
from mastomend.storage.s3_digests import Sent
from mastomend.storage.sigv4 import EMPTY, Credentials, ToSign, query_string, signed_headers

BASE = {"S3_ENABLED": "true", "S3_BUCKET": "bucket", "AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "S"}


def settings(**variables: str) -> S3Storage:
    found = storage({**BASE, **variables}, "/x")
    assert isinstance(found, S3Storage)
    return found


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "https://bucket.s3.us-east-1.amazonaws.com/k"),
        ({"S3_REGION": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn/k"),
        ({"S3_BUCKET": "media.example.social"}, "https://s3.us-east-1.amazonaws.com/media.example.social/k"),
        ({"S3_BUCKET": "Under_Score"}, "https://s3.us-east-1.amazonaws.com/Under_Score/k"),
        ({"S3_ENDPOINT": "https://s3.example"}, "https://s3.example/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example/"}, "https://s3.example/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example:443"}, "https://s3.example/bucket/k"),
        ({"S3_ENDPOINT": "http://minio:9000"}, "http://minio:9000/bucket/k"),
        ({"S3_ENDPOINT": "https://bucket.s3.example"}, "https://bucket.s3.example/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example/base"}, "https://s3.example/base/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example", "S3_OVERRIDE_PATH_STYLE": "true"}, "https://bucket.s3.example/k"),
        (
            {"S3_ENDPOINT": "http://s3.example:8000", "S3_OVERRIDE_PATH_STYLE": "true"},
            "http://bucket.s3.example:8000/k",
        ),
        (
            {"S3_ENDPOINT": "https://s3.example", "S3_OVERRIDE_PATH_STYLE": "true", "S3_BUCKET": "a.b"},
            "https://s3.example/a.b/k",
        ),
        (
            {"S3_ENDPOINT": "http://s3.example", "S3_OVERRIDE_PATH_STYLE": "true", "S3_BUCKET": "a.b"},
            "http://a.b.s3.example/k",
        ),
        ({"S3_ENDPOINT": "http://10.0.0.1:9000", "S3_OVERRIDE_PATH_STYLE": "true"}, "http://10.0.0.1:9000/bucket/k"),
        ({"S3_ENDPOINT": "http://[::1]:9000"}, "http://[::1]:9000/bucket/k"),
        ({"S3_OVERRIDE_PATH_STYLE": "false", "S3_ENDPOINT": "https://s3.example"}, "https://s3.example/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example", "S3_ALIAS_HOST": "files.example"}, "https://s3.example/bucket/k"),
        ({"S3_ENDPOINT": "https://s3.example", "S3_HOSTNAME": "other.example"}, "https://s3.example/bucket/k"),
    ],
)
def test_e19_where_a_bucket_is(variables: dict[str, str], url: str) -> None:
    assert bucket_address(settings(**variables)).url("k") == url


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "accounts"), ("attic", "attic/accounts"), ("attic/", "attic//accounts"), ("/attic", "attic/accounts"),
        ("/media/mastodon/", "media/mastodon//accounts"), ("//x", "/x/accounts"),
    ],
)  # fmt: skip
def test_e20_a_prefix_keeps_its_slashes(prefix: str, key: str) -> None:
    found = settings(S3_KEY_PREFIX=prefix).key_prefix
    (file,) = expected_files(AVATARS, Record(1, True, "x.png", "image/png"), found)
    assert file.key == f"{key}/avatars/000/000/001/original/x.png"
    parsed = parse_key(file.key, found)
    assert parsed is not None and parsed.ids == ((1, 1),)


# --- what really goes over the wire -----------------------------------------------------------------------------------


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


LISTING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def answer(request: web.Request) -> web.StreamResponse:
    """Just enough for every verb to succeed."""
    if "list-type" in request.query:
        return web.Response(text=LISTING, content_type="application/xml")
    if request.method == "POST" and "uploads" in request.query:
        body = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=body, content_type="application/xml")
    if request.method == "POST":
        return web.Response(text="<CompleteMultipartUploadResult/>", content_type="application/xml")
    if "uploads" in request.query:
        body = "<ListMultipartUploadsResult><Upload><Key>KEY</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>"
        return web.Response(text=body, content_type="application/xml")
    if "x-amz-copy-source" in request.headers:
        return web.Response(text="<CopyObjectResult/>", content_type="application/xml")
    return web.Response(body=b"", headers={"ETag": '"e"'})


@pytest.fixture(scope="module")
def recorder() -> Iterator[BucketProxy]:
    with bucket_proxy(None) as proxy:
        proxy.fault = answer
        yield proxy


@pytest.mark.parametrize(
    ("style", "prefix", "bucket", "in_endpoint"),
    list(itertools.product(("path", "host"), ("", "attic", "attic/"), ("bucket", "a.b"), (False, True))),
)
def test_e19_every_verb_goes_to_the_same_place(
    recorder: BucketProxy, style: str, prefix: str, bucket: str, in_endpoint: bool
) -> None:
    port = urlsplit(recorder.endpoint).port
    host = f"{bucket}.s3.example" if in_endpoint else "s3.example"
    found = settings(
        S3_ENDPOINT=f"http://{host}:{port}", S3_BUCKET=bucket, S3_KEY_PREFIX=prefix,
        S3_OVERRIDE_PATH_STYLE="true" if style == "host" else "", S3_ALIAS_HOST="files.example",
    )  # fmt: skip
    (file,) = expected_files(AVATARS, Record(1, True, "ä b+c.png", "image/png"), found.key_prefix)
    whose = f"{bucket}.{host}:{port}" if style == "host" else f"{host}:{port}"
    before = "" if style == "host" else f"/{bucket}"
    before_key = f"{found.key_prefix}/" if found.key_prefix else ""
    path = f"{before}/{before_key}accounts/avatars/000/000/001/original/%C3%A4%20b%2Bc.png"

    async def credentials() -> Credentials:
        return Credentials("K", "S")

    client = S3Client(
        bucket_address(found), "s3://x", "us-east-1", credentials, Requests(), connections=4,
        connector=lambda: aiohttp.TCPConnector(resolver=Here()),
    )  # fmt: skip
    asked = S3Bucket(client, bucket)
    recorder.seen.clear()

    async def ask() -> None:
        await asked.size(file.key)
        await asked.get(file.key)
        await asked.put(file.key, Sent.of(b"x"), {})
        await asked.copy(file.key, file.key, {})
        await asked.delete(file.key)
        await asked.put_parts(file.key, lambda: [lambda: b"x"], {})
        await asked.abort(file.key, "u")
        await asked.headers(file.key)
        await asked.is_public(file.key)

    client.run(ask())
    assert {(one.host, one.raw_path.partition("?")[0]) for one in recorder.seen} == {(whose, path)}
    assert {one.method for one in recorder.seen} == {"HEAD", "GET", "PUT", "DELETE", "POST"}
    copied = next(one.headers["x-amz-copy-source"] for one in recorder.seen if "x-amz-copy-source" in one.headers)
    assert copied == f"/{bucket}/" + path.removeprefix(before).removeprefix("/")
    recorder.seen.clear()

    async def ask_for_lists() -> None:
        await asked.page("cache/")
        await asked.uploads(file.key)

    client.run(ask_for_lists())
    assert {(one.host, one.raw_path.partition("?")[0]) for one in recorder.seen} == {(whose, before or "/")}
    recorder.seen.clear()
    client.run(asked.delete_all([file.key, f"{file.key}2"]))
    together, *alone = recorder.seen
    assert (together.method, together.host, together.raw_path) == ("POST", whose, f"{before or '/'}?delete=")
    assert {(one.method, one.host, one.raw_path) for one in alone} == {
        ("DELETE", whose, path),
        ("DELETE", whose, f"{path}2"),
    }
    client.close()


def test_settings_reach_the_wire(recorder: BucketProxy) -> None:
    """ACL, storage class and content type of every write; none of them where S3_PERMISSION is empty."""
    for permission, acl in ((None, "public-read"), ("", None), ("private", "private")):
        more = {} if permission is None else {"S3_PERMISSION": permission}
        store = S3ObjectStore(settings(S3_ENDPOINT=recorder.endpoint, S3_STORAGE_CLASS="COLD", **more))
        recorder.seen.clear()
        store.put(Key("a"), b"x", "image/png")
        (sent,) = recorder.seen
        assert sent.headers.get("x-amz-acl") == acl and sent.headers["x-amz-storage-class"] == "COLD"
        assert sent.headers["Content-Type"] == "image/png" and "immutable" in sent.headers["Cache-Control"]
        store.close()


# --- the signature, against the real package ----------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("key", ["a/original/x.png", "ä b+c/~x'()*!.png", "a//b", ".mastomend/quarantine/r/a%2Fb"])
@pytest.mark.parametrize("query", [(), (("list-type", "2"), ("prefix", "a b/ä+"), ("start-after", "~*'()"))])
def test_signatures_are_botocore_s(key: str, query: tuple[tuple[str, str], ...], token: str | None) -> None:
    address = bucket_address(settings(S3_ENDPOINT="https://s3.example:9000"))
    credentials = Credentials("AKID", "secret/key", token)
    asked = query_string(query)
    from datetime import UTC, datetime

    now = datetime.now(UTC).replace(microsecond=0)
    to_sign = ToSign("PUT", address.host, address.raw_path(key), asked, {"x-amz-acl": "private"}, EMPTY)
    ours = signed_headers(credentials, "eu-1", to_sign, now)
    request = botocore.awsrequest.AWSRequest(
        "PUT",
        address.url(key) + (f"?{asked}" if asked else ""),
        {"x-amz-acl": "private", "x-amz-content-sha256": EMPTY},
    )
    request.context["timestamp"] = ours["x-amz-date"]
    signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("AKID", "secret/key", token), "s3", "eu-1")
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["Authorization"].rpartition("Signature=")[2] == theirs


def test_a_loop_that_never_ran_is_closed() -> None:
    store = S3ObjectStore(settings(S3_ENDPOINT="http://127.0.0.1:1"))
    store.close()
    store.close()
