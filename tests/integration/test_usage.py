"""`usage`: bytes are those the storage holds, to the byte, and the difference from what the database claims adds up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from broken import record
from conftest import MakeInstance, opened
from selectolax.lexbor import LexborHTMLParser as HTMLParser
from tool import run

from mastomend.cli.usage import document
from mastomend.commands.usage import count_usage
from mastomend.commands.usage_report import UsageOptions
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, PREVIEW_CARDS
from mastomend.mastodon.selection import Account, Selection


def populated(instance: SimulatedInstance) -> dict[str, int]:
    """Records of two servers and of one's own, a missing file, one of another size, strays. Ids by name."""
    ids: dict[str, int] = {}
    for domain in ("a.example", "b.example", None):
        name = f"u_{(domain or 'local')[0]}"
        owner = record(
            instance, AVATARS, picture(len(ids)), domain=domain, name=name, created_at="2026-11-20 00:00:00"
        ).id
        url = f"https://{domain}/m" if domain else None
        record(
            instance, MEDIA_FILES, picture(40 + len(ids), 900, 700), account_id=owner, remote_url=url, shortcode=name
        )
        ids[domain or "local"] = owner
    record(instance, EMOJIS, domain="a.example")
    record(instance, PREVIEW_CARDS, picture(7, 400, 300, "jpeg"), url="https://press.example/a")
    record(instance, HEADERS, domain="a.example", name="gone", damage="missing")
    record(instance, HEADERS, domain="a.example", name="cut", damage="truncated")
    for key, data in {
        "cache/accounts/avatars/000/000/007/original/gone.png": b"o" * 100,
        "accounts/headers/000/000/008/original/gone.png": b"o" * 50,
        "favicon.ico": b"f" * 10,
        ".mastomend/quarantine/run/x": b"q" * 7,
    }.items():
        instance.media.write(key, data)
    return ids


def held(instance: SimulatedInstance, *starts: str) -> int:
    return sum(len(instance.media.read(key) or b"") for key in instance.media.keys() if key.startswith(starts or ""))


def counted(instance: SimulatedInstance, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        json.dumps(document(count_usage(opened(instance), UsageOptions(**options))), default=str)
    )
    return found


@pytest.mark.parametrize(("version", "storage"), [("4.2", "disk"), ("4.7", "disk"), ("4.5", "s3"), ("4.5", "moto")])
def test_every_byte_is_somewhere(make_instance: MakeInstance, version: str, storage: str) -> None:
    instance = make_instance(version, storage)
    populated(instance)
    found = counted(instance)
    assert found["totals"]["bytes"] == held(instance) and found["totals"]["files"] == len(instance.media.keys())
    by_kind = {one["kind"]: one for one in found["kinds"]}
    assert by_kind["accounts/avatars"]["local"]["bytes"] == held(instance, "accounts/avatars/")
    assert by_kind["accounts/avatars"]["cached"]["bytes"] == held(instance, "cache/accounts/avatars/") - 100
    assert by_kind["accounts/avatars"]["orphans"] == {"files": 1, "bytes": 100}
    assert by_kind["accounts/headers"]["orphans"] == {"files": 1, "bytes": 50}
    assert by_kind["media_attachments/files"]["cached"]["files"] == 4, "an original and a small one each"
    assert found["apart"]["unrecognized"] == {"files": 1, "bytes": 10}
    assert found["apart"]["quarantine"] == {"files": 1, "bytes": 7}
    parts = sum(one[side]["bytes"] for one in found["kinds"] for side in ("local", "cached", "orphans"))
    assert parts + 17 == found["totals"]["bytes"], "nothing is counted twice, nothing is left out"
    totals = found["totals"]
    assert totals["used"]["bytes"] - totals["claimed_bytes"] == sum(found["difference"].values())
    assert (
        found["difference"]["missing"] < 0 < found["difference"]["derived"] and found["difference"]["other_sizes"] < 0
    )
    assert {one["domain"] for one in found["domains"]} == {"a.example", "b.example", "press.example"}
    assert {one["account"] for one in found["accounts"]} >= {"@u_a@a.example", "@u_b@b.example", "@u_l"}
    assert sum(one["bytes"] for one in found["ages"]) == sum(one["cached"]["bytes"] for one in found["kinds"])
    assert sum(one["bytes"] for one in found["styles"]) == totals["used"]["bytes"]
    assert found["untold"] == [] and found["versions"] == found["uploads"] == {"files": 0, "bytes": 0}
    assert (found["disk"] is None) == (storage != "disk")


@pytest.mark.parametrize("storage", ["s3", "moto"])
def test_what_a_bucket_bills_besides(make_instance: MakeInstance, storage: str) -> None:
    instance = make_instance("4.5", storage)
    populated(instance)
    client, bucket = instance.media.client, instance.media.bucket  # type: ignore[attr-defined]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for n in range(3):
        client.put_object(Bucket=bucket, Key="favicon.ico", Body=b"v" * (100 + n))
    upload = client.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    client.upload_part(Bucket=bucket, Key="x", UploadId=upload, PartNumber=1, Body=b"p" * 5_000_000)
    client.create_multipart_upload(Bucket=bucket, Key="y")
    found = counted(instance, price="r2")
    assert found["versions"] == {"files": 3, "bytes": 10 + 100 + 101}, "the one from before counts, too"
    assert found["uploads"] == {"files": 2, "bytes": 5_000_000}
    assert found["totals"]["bytes"] == held(instance)


@pytest.mark.parametrize("question", ["versioning", "versions", "uploads"])
def test_what_the_store_does_not_tell_is_not_nothing(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    from mastomend.storage.s3_answers import Answer
    from mastomend.storage.s3_client import S3Client

    instance = make_instance("4.5", "s3")
    populated(instance)
    ask = S3Client.request

    async def refusing(self: S3Client, method: str, key: str = "", query: Any = (), *more: Any, **others: Any) -> Any:
        if any(name in (question, "versioning") for name, _ in query):
            return Answer(501, {}, b"")
        return await ask(self, method, key, query, *more, **others)

    monkeypatch.setattr(S3Client, "request", refusing)
    found = counted(instance)
    untold = {"versions": ["old versions of objects"], "uploads": ["unfinished multipart uploads"], "versioning": []}
    assert found["untold"] == untold[question]


def test_what_is_selected_is_what_is_counted(make_instance: MakeInstance) -> None:
    instance = make_instance()
    ids = populated(instance)
    whole = counted(instance)["totals"]
    for selection, names in (
        (Selection(local=True), {"local"}),
        (Selection(domains=("b.example",)), {"b.example"}),
        (Selection(accounts=(Account("u_b", "b.example"),)), {"b.example"}),
    ):
        found = counted(instance, selection=selection)
        assert (
            found["totals"]["bytes"] == whole["bytes"] and 0 < found["totals"]["used"]["bytes"] < whole["used"]["bytes"]
        )
        assert {int(one["id"]) for one in found["accounts"]} == {ids[name] for name in names}
        assert all(one["orphans"]["files"] == 0 for one in found["kinds"]), "what is left out is not nobody's"
    assert {one["kind"] for one in counted(instance, kinds=("avatars",))["kinds"]} == {"accounts/avatars"}
    rest = counted(instance, selection=Selection(without_domains=("a.example", "press.example")))
    assert [one["domain"] for one in rest["domains"]] == ["b.example"]


def test_growth_and_the_day_the_disk_is_full(make_instance: MakeInstance) -> None:
    instance = make_instance()
    populated(instance)
    start = datetime.now(UTC)
    here = opened(instance)

    def at(days: float) -> dict[str, Any]:
        return document(count_usage(here, now=lambda: start + timedelta(days=days)))

    assert at(0)["growth"] is None
    assert at(0.1)["growth"] is None, "an hour tells nothing"
    instance.media.write("favicon2.ico", b"x" * 100_000)
    found = at(10)
    assert found["growth"]["bytes_per_day"] == pytest.approx(10_000, rel=0.02)
    free = os.statvfs(instance.folder).f_bavail * os.statvfs(instance.folder).f_frsize
    if free / 10_000 > 36_500:
        assert found["disk"]["full_on"] is None, "in more than a hundred years"
    instance.media.write("favicon3.ico", b"x" * 200_000_000)
    assert at(11)["disk"]["full_on"] is not None
    assert at(100)["growth"] is None, "what was two months ago says nothing"


def test_prices(make_instance: MakeInstance) -> None:
    instance = make_instance()
    populated(instance)
    assert counted(instance)["cost"]["usd_month"] is None, "a disk costs nothing by the gigabyte"
    for name, provider, usd in (
        ("b2", "Backblaze B2", 0.0),
        ("wasabi", "Wasabi", 7.99),
        ("r2", "Cloudflare R2 Standard", 0.0),
    ):
        cost = counted(instance, price=name)["cost"]
        assert (cost["provider"], cost["usd_month"]) == (provider, usd)
    own = instance.folder / "own.toml"
    own.write_text(
        '[[provider]]\nname = "Ours"\nendpoint = "s3.ours"\nlist = 0\nhead = 0\nread_on = 2026-11-25\ngigabyte_month = 1000\n'
    )
    cost = counted(instance, price=str(own))["cost"]
    assert cost["usd_month"] == pytest.approx(held(instance) / 1e9 * 1000, abs=0.001)
    refused = run(instance.env, "usage", "--price", "nobody")
    assert refused.returncode == 2 and "One of b2, hetzner, r2, s3, wasabi, or a file." in refused.stderr


def test_as_from_a_shell(make_instance: MakeInstance) -> None:
    instance = make_instance()
    populated(instance)
    done = run(instance.env, "usage", "--price", "wasabi")
    assert done.returncode == 0, done.stderr
    for words in (
        "@u_a@a.example",
        "press.example",
        "The database claims",
        "a month at the prices of Wasabi",
        "█",
        "90 days",
    ):
        assert words in done.stdout, words
    assert "2 files no record expects: " in done.stdout
    assert json.loads(run(instance.env, "usage", "--json", "--local").stdout)["exit_code"] == 0


def test_the_page_needs_nothing_but_itself(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    populated(instance)
    evil = '"><script>alert(1)</script>'
    record(instance, AVATARS, domain="evil.example", name=evil)
    file = tmp_path / "usage.html"
    done = run(instance.env, "usage", "--html", str(file), "--price", "wasabi", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    text = file.read_text(encoding="utf-8")
    assert (file.stat().st_mode & 0o777) == 0o600
    page = HTMLParser(text)
    forbidden = "script, link, img, iframe, object, form, base"
    assert page.css_first(forbidden) is None
    assert not re.search(r"""\s(src|href|style|on\w+)\s*=\s*["']|url\(|@import""", text)
    assert "&lt;script&gt;alert(1)" in text
    style = page.css_first("style").text()  # type: ignore[union-attr]
    policy = page.css_first("meta[http-equiv]").attributes["content"] or ""  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    for figure in page.css("section"):
        chart = figure.css_first("svg.chart")
        if chart is None:
            continue
        charted = [node.text() for node in chart.css("text")]
        rows = [[cell.text() for cell in row.css("th, td")] for row in figure.css("tbody tr")]
        assert charted[1::2] == [row[-1] for row in rows], "a chart has the numbers of its table"
    shown = page.css_first("section tbody").text()  # type: ignore[union-attr]
    assert all(one["kind"] in shown for one in found["kinds"] if one["cached"]["files"] + one["local"]["files"])
    refused = run(instance.env, "usage", "--html", str(tmp_path / "no" / "x.html"))
    assert refused.returncode == 2 and "is no directory" in refused.stderr
