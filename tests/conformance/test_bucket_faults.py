"""Object stores that answer otherwise, through a fault proxy before real servers (issue 10, H43 to H47)."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from broken import outcomes, record
from bucket_proxy import BucketProxy, bucket_proxy, refuse
from conftest import MakeInstance, opened
from tool import called

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.services import S3Server
from mastomend.errors import ConfigurationError, HiddenError, ObjectError, SourceError, StorageError, UnreadableError
from mastomend.inventory.findings import load
from mastomend.inventory.sample import Sample
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import AzureStorage, S3Storage, storage
from mastomend.mastodon.values import Secret
from mastomend.storage.azure import AzureObjectStore
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import MISSING, UNREADABLE, held
from mastomend.storage.s3_client import Patience
from mastomend.storage.trouble import Refusal, failure

_numbers = itertools.count()
HURRIED = Patience(whole_s=3.0, one_object_s=0.6, first_contact_s=0.6, pause_s=0.05, longest_pause_s=0.3)
PNG = "image/png"


def through(instance: SimulatedInstance, proxy: BucketProxy) -> None:
    """The instance asks its bucket through the proxy from now on."""
    text = instance.env.read_text()
    instance.env.write_text(re.sub(r"^S3_ENDPOINT=.*$", f"S3_ENDPOINT={proxy.endpoint}", text, flags=re.M))


def endpoint(instance: SimulatedInstance) -> str:
    return re.search(r"^S3_ENDPOINT=(.*)$", instance.env.read_text(), re.M)[1]  # type: ignore[index]


@pytest.fixture
def behind(s3: S3Server) -> Iterator[tuple[S3ObjectStore, BucketProxy]]:
    """A bucket of a real server, asked through a proxy, by a client in a hurry."""
    bucket = f"faults-{next(_numbers)}"
    s3.client().create_bucket(Bucket=bucket)
    with bucket_proxy(s3.endpoint) as proxy:
        settings = S3Storage(
            bucket, "us-east-1", proxy.endpoint, False, s3.access_key_id, Secret(s3.secret_access_key),
            "public-read", None, "", 5, 5, 15_000_000,
        )  # fmt: skip
        store = S3ObjectStore(settings, HURRIED)
        yield store, proxy
        store.close()


def listed(store: S3ObjectStore, prefix: str = "") -> list[str]:
    return sorted(one.key for objects in store.list(prefix) for one in held(objects))


# --- H43: a listing that lags -----------------------------------------------------------------------------------------


def test_h43_a_listing_that_lags_makes_nothing_missing(make_instance: MakeInstance, network: Fediverse) -> None:
    """110 rows are hidden by the listing, their objects are there. Their origins are dead, which must not matter."""
    instance = make_instance("4.5", "s3")
    gone = network.add("gone.example")
    made = [record(instance, origin=gone) for _ in range(115)]
    gone.files.clear()
    hidden = [one.key.encode() for one in made[:110]]

    def hide(request: web.Request, body: bytes) -> bytes:
        if "prefix" not in request.query:
            return body  # whether there is anything at all
        rows = re.findall(rb"<Contents>.*?</Contents>", body, re.S)
        for row in rows:
            if any(key in row for key in hidden):
                body = body.replace(row, b"")
        return body

    with bucket_proxy(endpoint(instance)) as proxy:
        through(instance, proxy)
        proxy.rewrite = hide
        report = check(opened(instance))
        assert (report.broken, report.unseen, report.requests.head) == (0, 0, 110)
        assert repair(opened(instance), RepairOptions(apply=True)).records == 0


# --- H44: foreign keys ------------------------------------------------------------------------------------------------

FOREIGN = [
    "a//b", "trail//", "./x", "../up", "x/./y", "x/../y", "tab\there", "bell\x07", "nl\nx", "ünï", "plus+and space",
    "cache/accounts/avatars//odd", "cache/accounts/avatars/000/", "percent%41", "quote'\"&<>",
]  # fmt: skip


@pytest.mark.parametrize("server", ["moto", "swift", "s3"])
def test_h44_foreign_keys_are_unrecognized_and_skipped(
    make_instance: MakeInstance, network: Fediverse, tmp_path: Path, server: str
) -> None:
    instance = make_instance("4.5", server)
    origin = network.add("good.example")
    made = [record(instance, origin=origin) for _ in range(3)]
    kept = []
    for key in FOREIGN:
        try:
            instance.media.write(key, b"foreign")
            kept.append(key)
        except Exception:  # each server refuses some of them itself
            continue
    assert len(kept) >= (13 if server == "moto" else 5)
    instance.media.delete(made[0].key)
    if server == "moto":
        instance.media.write(f"{made[0].key}/", b"")  # KEY/ is not KEY
    report = check(opened(instance))
    assert [finding.id for finding in load(report.findings)] == [made[0].id]
    settings = "\n".join(line for line in instance.env.read_text().splitlines() if line.startswith(("S3_", "AWS_")))
    (tmp_path / "backup.env").write_text(settings)
    disk = make_instance("4.5")
    lost = record(
        disk, domain="a.example", data=made[1].data, record_id=made[1].id, file_name=made[1].key.rpartition("/")[2]
    )
    disk.media.delete(lost.key)
    disk.media.write("cache/accounts/avatars/kept", b"x")
    done = repair(opened(disk), RepairOptions(apply=True, backups=(tmp_path / "backup.env",)))
    assert done.sources == {"backup": 1}


def test_h44_a_listing_says_just_what_is_there(moto: S3Server) -> None:
    bucket = f"foreign-{next(_numbers)}"
    client = moto.client()
    client.create_bucket(Bucket=bucket)
    kept = []
    for key in FOREIGN:
        with contextlib.suppress(Exception):  # it refuses `..` itself
            client.put_object(Bucket=bucket, Key=key, Body=b"x")
            kept.append(key)
    settings = S3Storage(bucket, "us-east-1", moto.endpoint, False, "k", Secret("s"), None, None, "", 5, 5, 1 << 20)
    store = S3ObjectStore(settings)
    found = listed(store)
    odd = {"bell\x07"}  # no XML can say it; a server that does not encode loses it
    assert len(kept) > 12 and set(kept) - odd <= set(found) and len(found) == len(kept)
    assert store.sizes(["a//b", "a/b", "trail/", "trail//"]) == [1, MISSING, MISSING, 1]
    store.close()


# --- H45: patience ----------------------------------------------------------------------------------------------------


def for_a_while(
    seconds: float, answer: Callable[[], web.StreamResponse]
) -> Callable[[web.Request], web.StreamResponse | None]:
    """The fault lasts from its first request on."""
    until: list[float] = []

    def fault(_: web.Request) -> web.StreamResponse | None:
        until[:] = until or [time.monotonic() + seconds]
        return answer() if time.monotonic() < until[0] else None

    return fault


@pytest.mark.parametrize(
    "verb", ["sizes", "list", "read", "digest", "put", "copy", "move", "delete", "folders", "clear", "probe"]
)
def test_h45_two_seconds_of_slow_down_end_nothing(behind: tuple[S3ObjectStore, BucketProxy], verb: str) -> None:
    store, proxy = behind
    a, b = Key("a/x.png"), Key("b/x.png")
    store.put(a, b"data", PNG)
    proxy.fault = for_a_while(2.0, lambda: refuse(503, "SlowDown"))
    match verb:
        case "sizes":
            assert store.sizes([a, b]) == [4, MISSING]
        case "list":
            assert listed(store) == [a]
        case "read":
            assert store.read(a) == b"data"
        case "digest":
            assert store.digest(b) is None
        case "put":
            store.put(b, b"more", PNG)
        case "copy":
            store.copy(a, b, private=True)
        case "move":
            assert store.move([(a, b)], private=False) == [None]
        case "delete":
            assert store.delete([a, b]) == [None, None]
        case "folders":
            assert store.folders() == ["a"]
        case "clear":
            store.clear(a)
        case _:
            assert store.probe()


def test_h45_retry_after_is_respected(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    asked: list[float] = []

    def fault(_: web.Request) -> web.StreamResponse | None:
        asked.append(time.monotonic())
        return refuse(503, "SlowDown", headers={"Retry-After": "1"}) if len(asked) == 1 else None

    proxy.fault = fault
    assert store.sizes(["a"]) == [MISSING]
    assert asked[1] - asked[0] >= 1.0


def test_h45_a_page_that_is_cut_is_asked_for_again(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    for n in range(5):
        store.put(Key(f"a/{n}"), b"x", PNG)
    cuts = itertools.count()
    proxy.rewrite = lambda _, body: body[: len(body) // 2] if next(cuts) < 2 else body
    assert len(listed(store)) == 5


def test_h45_what_fails_for_one_object_is_its_own_trouble(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    for n in range(40):
        store.put(Key(f"a/{n}"), b"x", PNG)
    proxy.fault = lambda request: refuse(500, "InternalError") if request.path.endswith("/a/7") else None
    sizes = store.sizes([f"a/{n}" for n in range(40)])
    assert sizes == [1] * 7 + [UNREADABLE] + [1] * 32
    assert "500" in store.obstacle("a/7") and "asked" in store.obstacle("a/7")
    with pytest.raises(ObjectError, match="500"):
        store.read(Key("a/7"))


@pytest.mark.parametrize("verb", ["sizes", "put", "read", "digest"])
def test_h45_also_where_nothing_else_is_under_way(behind: tuple[S3ObjectStore, BucketProxy], verb: str) -> None:
    """A run's last record, or one after another: something else is asked for before the storage is called lost."""
    store, proxy = behind
    store.put(Key("k/good"), b"x", PNG)
    proxy.fault = lambda request: refuse(500, "InternalError") if request.path.endswith("/k/bad") else None
    if verb == "sizes":
        assert store.sizes(["k/bad"]) == [UNREADABLE]
        return
    with pytest.raises(ObjectError, match="500"):
        store.put(Key("k/bad"), b"x", PNG) if verb == "put" else getattr(store, verb)(Key("k/bad"))
    proxy.fault = lambda _: refuse(500, "InternalError")
    with pytest.raises(StorageError) as lost:
        store.put(Key("k/bad"), b"x", PNG)
    assert not isinstance(lost.value, ObjectError)


def test_h46_an_answer_without_a_size_is_no_empty_file(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    store.put(Key("a"), b"x" * 1000, PNG)
    store.put(Key("none"), b"", PNG)

    def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method != "HEAD":
            return None
        answer = web.StreamResponse(status=200)
        answer.enable_chunked_encoding()
        return answer

    proxy.fault = fault
    assert store.sizes(["a", "none", "not-there"]) == [1000, 0, MISSING]


def test_h44_what_cannot_be_sent_is_one_object_s_trouble(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    with pytest.raises(ObjectError, match="cannot be asked for"):
        store.put(Key("a"), b"x", "image/png\nx-amz-acl: public-read-write")
    assert not [one for one in proxy.seen if one.method == "PUT"]


def test_h45_a_full_disk_here_is_not_the_store_s_trouble(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    store.put(Key("a"), b"x" * 1000, PNG)

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    before = len(proxy.seen)
    with pytest.raises(StorageError, match="No space left") as caught:
        store._client.run(store._bucket.stream("a", full, lambda: None))
    assert "TMPDIR" in caught.value.hint
    assert len(proxy.seen) - before == 1, "it is not repeated"


def test_every_key_of_a_bulk_deletion_has_its_own_answer(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    """The store answers 200, and errors for single keys inside: refused, to be tried again, not mentioned at all."""
    store, proxy = behind
    keys = [Key(f"a/{n}.png") for n in range(6)]
    for key in keys:
        store.put(key, b"1", PNG)
    asked: list[str] = []

    def fault(request: web.Request) -> web.StreamResponse | None:
        if "delete" not in request.query:
            asked.append(f"{request.method} {request.path.rpartition('/')[2]}")
            return None
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys[:2])
        errors = {keys[2]: "AccessDenied", keys[3]: "InternalError", keys[4]: "NoSuchKey"}
        told += "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in errors.items())
        return web.Response(text=f"<DeleteResult>{told}</DeleteResult>", content_type="application/xml")

    proxy.fault = fault
    answers = store.delete(keys)
    assert [answer is None for answer in answers] == [True, True, False, True, True, True]
    assert "AccessDenied" in str(answers[2]) and keys[2] in str(answers[2])
    assert sorted(asked) == ["DELETE 3.png", "DELETE 5.png"], (
        "what may pass, and what was not mentioned, is asked alone"
    )


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "MalformedXML"), (403, "AccessDenied")])
def test_a_store_without_bulk_deletion_is_asked_key_by_key(
    behind: tuple[S3ObjectStore, BucketProxy], status: int, code: str
) -> None:
    store, proxy = behind
    keys = [Key(f"a/{n}.png") for n in range(3)]
    for key in keys:
        store.put(key, b"1", PNG)
    proxy.fault = lambda request: refuse(status, code) if "delete" in request.query else None
    assert store.delete(keys) == [None] * 3
    assert set(store.sizes(keys)) == {MISSING}


def test_h45_an_upload_nobody_takes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = S3Storage(
            "b", "us-east-1", f"http://127.0.0.1:{deaf.getsockname()[1]}", False, "k", Secret("s"),
            None, None, "", 5, 5, 15_000_000,
        )  # fmt: skip
        store = S3ObjectStore(settings, HURRIED)
        store._client._patience = replace(HURRIED, silence_s=0.2)
        monkeypatch.setattr("mastomend.storage.s3_client.ASIDE_S", 0.5)
        began = time.monotonic()
        try:
            with pytest.raises(StorageError, match="in time"):
                store.put(Key("a"), b"x" * 16_384 * 2, PNG)
        finally:
            store.close()
        assert time.monotonic() - began > 1, "a slow line gets its time"


def test_h45_what_was_to_be_copied_is_what_is_missing(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, _ = behind
    with pytest.raises(ObjectError, match="the/source does not exist"):
        store.copy(Key("the/source"), Key("the/target"), private=False)


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (500, "InternalError")])
def test_h45_one_failing_object_of_a_backup_does_not_end_a_repair(
    make_instance: MakeInstance, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    monkeypatch.setattr(S3ObjectStore.__init__, "__defaults__", (HURRIED,))
    instance = make_instance()
    bucket = f"backup-{next(_numbers)}"
    s3.client().create_bucket(Bucket=bucket)
    made = [record(instance) for _ in range(4)]
    for one in made:
        s3.client().put_object(Bucket=bucket, Key=one.key, Body=instance.files[one.key])
        instance.media.delete(one.key)
    instance.media.write("accounts/avatars/kept", b"x")
    with bucket_proxy(s3.endpoint) as proxy:
        (tmp_path / "backup.env").write_text(
            f"S3_ENABLED=true\nS3_BUCKET={bucket}\nS3_ENDPOINT={proxy.endpoint}\n"
            f"AWS_ACCESS_KEY_ID={s3.access_key_id}\nAWS_SECRET_ACCESS_KEY={s3.secret_access_key}\n"
        )
        proxy.fault = lambda request: refuse(status, code) if request.path.endswith(made[1].key) else None
        done = repair(opened(instance), RepairOptions(apply=True, backups=(tmp_path / "backup.env",)))
    assert done.outcomes == {"restored": 3, "refused": 1}
    assert outcomes(done)[made[1].id].reason == "unreadable", "the backup may have it"


def test_h45_words_say_that_the_same_command_goes_on(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    store.put(Key("a"), b"x", PNG)
    proxy.fault = lambda _: refuse(503, "SlowDown")
    with pytest.raises(StorageError, match="asked") as caught:
        listed(store)
    assert "The same command goes on" in caught.value.hint and not isinstance(caught.value, ObjectError)


def test_h45_a_slow_first_byte_is_waited_for(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    proxy.fault = lambda _: 2.0
    assert not store.probe()


# --- H46 --------------------------------------------------------------------------------------------------------------


def test_h46_what_may_not_be_read_is_unseen(make_instance: MakeInstance) -> None:
    """An archived object in a deep check; a HEAD that is refused for a key the listing has."""
    instance = make_instance("4.5", "s3")
    made = [record(instance, domain="a.example") for _ in range(3)]
    with bucket_proxy(endpoint(instance)) as proxy:
        through(instance, proxy)
        proxy.fault = lambda request: (
            refuse(403, "InvalidObjectState", more="<StorageClass>GLACIER</StorageClass>")
            if request.method == "GET" and request.path.endswith(made[0].key)
            else None
        )
        report = check(opened(instance), CheckOptions(deep=Sample()))
        (finding,) = load(report.findings)
        assert (finding.id, finding.state, report.broken, report.unseen) == (made[0].id, "unservable", 0, 1)
        assert "archived (GLACIER)" in finding.detail
        instance.media.write(made[1].key, b"")
        proxy.fault = lambda request: (
            refuse(403, "AccessDenied")
            if request.method in ("HEAD", "GET") and request.path.endswith(made[1].key)
            else None
        )
        report = check(opened(instance))
        (finding,) = load(report.findings)
        assert (finding.id, finding.state) == (made[1].id, "unservable") and "may not read it" in finding.detail


def test_h46_a_head_that_is_refused_for_what_a_full_listing_lacks_is_missing(make_instance: MakeInstance) -> None:
    """That is how S3 answers for an absent key to whom it does not show listings."""
    instance = make_instance("4.5", "s3")
    record(instance, domain="a.example")
    lost = record(instance, domain="a.example", damage="missing")
    with bucket_proxy(endpoint(instance)) as proxy:
        through(instance, proxy)
        proxy.fault = lambda request: refuse(403, "AccessDenied") if request.path.endswith(lost.key) else None
        report = check(opened(instance))
        (finding,) = load(report.findings)
        assert (finding.id, finding.state, report.broken, report.unseen) == (lost.id, "missing", 1, 0)


def test_h46_a_web_page_is_no_empty_bucket(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    for page in ("<!DOCTYPE html><title>Welcome</title>", "<html></html>", "it works", "<Other/>"):
        proxy.fault = lambda _, page=page: web.Response(text=page, content_type="text/html")
        with pytest.raises(StorageError):
            store.probe()
        with pytest.raises(StorageError):
            listed(store)


def test_h46_an_ignored_continuation_does_not_list_for_ever(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    store, proxy = behind
    for n in range(12):
        store.put(Key(f"a/{n:02}"), b"x", PNG)

    def ignorant(request: web.Request) -> web.StreamResponse | None:
        """Three keys a page, with tokens that lead nowhere; `start-after` works, if `obeys`."""
        if "list-type" not in request.query:
            return None
        after = request.query.get("start-after", "") if obeys else ""
        keys = [f"a/{n:02}" for n in range(12) if f"a/{n:02}" > after]
        rows = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys[:3])
        more = "true" if len(keys) > 3 else "false"
        body = f"<IsTruncated>{more}</IsTruncated><NextContinuationToken>t</NextContinuationToken>{rows}"
        return web.Response(text=f"<ListBucketResult>{body}</ListBucketResult>", content_type="application/xml")

    proxy.fault = ignorant
    obeys = True
    assert listed(store) == [f"a/{n:02}" for n in range(12)]
    obeys = False
    with pytest.raises(StorageError, match="again and again"):
        listed(store)
    assert proxy.lists < 30


def test_h46_a_store_that_refuses_to_begin_behind_a_key(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """radosgw answers InvalidArgument to some `start-after`: it is listed from before, and cut here."""
    from mastomend.inventory import expected
    from mastomend.inventory import held as held_module

    monkeypatch.setattr(held_module, "RANGE", 10)
    monkeypatch.setattr(expected, "_SAMPLE", 1)
    instance = make_instance("4.5", "s3")
    made = [record(instance, domain="a.example") for _ in range(60)]
    lost = sorted(one.key for one in made)[::7]
    for key in lost:
        instance.media.delete(key)
    with bucket_proxy(endpoint(instance)) as proxy:
        through(instance, proxy)
        for refuses in (lambda after: after.endswith(".png"), lambda after: True):
            refused: list[str] = []

            def fault(request: web.Request, refuses=refuses, refused=refused) -> web.StreamResponse | None:  # type: ignore[no-untyped-def]
                after = request.query.get("start-after", "")
                if after and refuses(after):
                    refused.append(after)
                    return refuse(400, "InvalidArgument")
                return None

            proxy.fault = fault
            report = check(opened(instance))
            assert sorted(finding.key for finding in load(report.findings)) == lost and refused


# --- H47: every answer its own advice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "more", "kind", "words", "hint"),
    [
        (301, "PermanentRedirect", "<Endpoint>b.s3.eu-2.example</Endpoint>", ConfigurationError, "elsewhere", "S3_ENDPOINT"),
        (400, "AuthorizationHeaderMalformed", "<Region>eu-2</Region>", ConfigurationError, "region eu-2", "S3_REGION=eu-2"),
        (400, "ExpiredToken", "", StorageError, "expired", "new ones"),
        (403, "RequestTimeTooSkewed", "<ServerTime>2030</ServerTime>", StorageError, "2030", "timedatectl"),
        (403, "SignatureDoesNotMatch", "", StorageError, "credentials", "AWS_SECRET_ACCESS_KEY"),
        (403, "InvalidAccessKeyId", "", StorageError, "credentials", "AWS_ACCESS_KEY_ID"),
        (400, "InvalidStorageClass", "", StorageError, "storage class", "S3_STORAGE_CLASS"),
        (403, "QuotaExceeded", "", StorageError, "quota", "Raise"),
        (507, "", "", StorageError, "full", "free some space"),
        (400, "AccessControlListNotSupported", "", StorageError, "takes no ACL", "S3_PERMISSION="),
        (403, "AccessDenied", "", StorageError, "refuses access", "PutObjectAcl"),
        (404, "NoSuchBucket", "", ConfigurationError, "does not exist", "S3_BUCKET"),
        (503, "SlowDown", "", StorageError, "503 SlowDown", "The same command goes on"),
    ],
)  # fmt: skip
def test_h47_each_answer_has_its_own_advice(
    status: int, code: str, more: str, kind: type[Exception], words: str, hint: str
) -> None:
    body = f"<Error><Code>{code}</Code>{more}</Error>".encode()
    found = failure("s3://b", Refusal(status, code, body), method="PUT", region="us-east-1")
    assert type(found) is kind and words in found.message and hint in found.hint


def test_h47_some_answers_concern_one_object_only() -> None:
    for status, code, method, kind in (
        (403, "InvalidObjectState", "GET", UnreadableError), (403, "AccessDenied", "GET", HiddenError),
        (404, "NoSuchKey", "PUT", ObjectError), (400, "EntityTooLarge", "PUT", ObjectError),
    ):  # fmt: skip
        assert type(failure("s3://b", Refusal(status, code), method=method, key="k")) is kind
    whole = failure("s3://b", Refusal(403, "ExpiredToken"), method="GET", key="k")
    assert not isinstance(whole, ObjectError), "an expired token is everybody's trouble, whoever hears of it"


def test_h47_an_expired_token_in_the_middle_of_look_ups_ends_the_run(behind: tuple[S3ObjectStore, BucketProxy]) -> None:
    """A HEAD's answer has no body to say so; a read of one byte does."""
    store, proxy = behind
    proxy.fault = lambda request: refuse(400, "" if request.method == "HEAD" else "ExpiredToken")
    with pytest.raises(StorageError, match="expired"):
        store.sizes(["a"])


@pytest.mark.parametrize(
    ("address", "words"),
    [("http://127.0.0.1:1", "nobody answers"), ("http://no-such-host.invalid:80", "is not known")],
)
def test_h47_no_answer_at_all(address: str, words: str) -> None:
    found = storage({"S3_ENABLED": "true", "S3_BUCKET": "b", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
                     "S3_ENDPOINT": address}, "/x")  # fmt: skip
    assert isinstance(found, S3Storage)
    store = S3ObjectStore(found, HURRIED)
    with pytest.raises(SourceError, match=words):
        store.probe()
    store.close()


def command(instance: SimulatedInstance, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(instance.folder), **variables}
    arguments = ["--env", str(instance.env), "--state", str(instance.state), *words]
    return called(arguments, environment)


def test_h47_empty_keys_without_a_credential_chain(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5", "s3")
    text = re.sub(r"^AWS_.*$\n", "", instance.env.read_text(), flags=re.M)
    instance.env.write_text(text)
    done = command(instance, "check", AWS_EC2_METADATA_DISABLED="true")
    assert done.returncode == 2 and "there are no credentials" in done.stderr and "Traceback" not in done.stderr


def test_h47_two_refused_writes_at_once_are_one_error_in_words(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5", "s3")
    origins = [network.add(f"s{n}.example") for n in range(4)]
    for n in range(8):
        record(instance, origin=origins[n % 4], damage="missing")
    record(instance, domain="a.example")
    with bucket_proxy(endpoint(instance)) as proxy:
        through(instance, proxy)
        proxy.fault = lambda request: refuse(403, "AccessDenied") if request.method == "PUT" else None
        done = command(instance, "repair", "--apply")
    assert done.returncode == 3 and "refuses access" in done.stderr and "PutObject" in done.stderr
    assert "Traceback" not in done.stderr and "never retrieved" not in done.stderr and done.stderr.count("Error:") == 1


@pytest.mark.parametrize(
    ("status", "code", "verb", "expected", "words"),
    [
        (409, "BlobArchived", "read", UnreadableError, "archived"),
        (403, "AuthorizationFailure", "read", UnreadableError, "may not read it"),
        (403, "AuthorizationPermissionMismatch", "put", StorageError, "refuses access"),
        (403, "AuthenticationFailed", "read", StorageError, "refuses the credentials"),
        (404, "ContainerNotFound", "put", ConfigurationError, "the container does not exist"),
        (412, "LeaseIdMissing", "put", ObjectError, "412"),
    ],
)
def test_h46_azure_s_refusals_are_sorted_by_the_same_rules(
    status: int, code: str, verb: str, expected: type[Exception], words: str
) -> None:
    with bucket_proxy(None) as proxy:
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'
        proxy.fault = lambda _: web.Response(status=status, text=body, content_type="application/xml")
        settings = AzureStorage("account", Secret("a2V5"), "c", proxy.endpoint)
        store = AzureObjectStore(settings)
        try:
            with pytest.raises(expected, match=words) as caught:
                store.put(Key("a/403/b"), b"x", PNG) if verb == "put" else store.read(Key("a/403/b"))
            assert isinstance(caught.value, ObjectError) == issubclass(expected, ObjectError)
            assert "S3_" not in getattr(caught.value, "hint", "")
        finally:
            store.close()
