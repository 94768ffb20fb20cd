"""What a bucket is asked: said before, counted while, priced after, and the same as what really went over the wire."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from bucket_proxy import bucket_proxy
from conftest import MakeInstance, opened

from mastomend.cli.app import run
from mastomend.commands.check import CheckOptions, check
from mastomend.demo.instance import SimulatedInstance
from mastomend.inventory import expected, held
from mastomend.mastodon.kinds import AVATARS
from mastomend.progress import Silent


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def bucket(make_instance: MakeInstance, files: int) -> tuple[SimulatedInstance, str]:
    """An instance in a bucket, and the endpoint it names."""
    instance = make_instance("4.5", "s3")
    for n in range(files):
        row = {"username": f"u{n}", "uri": f"x:{n}"}
        instance.add_plain(AVATARS, b"picture", f"{n:016x}.png", "image/png", **row)
    line = next(line for line in instance.env.read_text().splitlines() if line.startswith("S3_ENDPOINT="))
    return instance, line.partition("=")[2]


def test_requests_are_those_on_the_wire(make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, endpoint = bucket(make_instance, 60)
    monkeypatch.setattr(held, "RANGE", 10)
    monkeypatch.setattr(expected, "_SAMPLE", 1)
    for key in sorted(instance.files)[:5]:
        instance.media.delete(key)
    with bucket_proxy(endpoint) as counting:
        instance.env.write_text(instance.env.read_text().replace(endpoint, counting.endpoint))
        for connections in (1, 8):
            counting.seen.clear()
            report = check(opened(instance), CheckOptions(list_concurrency=connections))
            assert report.broken == 5
            assert (report.requests.list, report.requests.head) == (counting.lists, counting.heads)
            assert counting.heads == 5, "only what differs is looked at by itself"
        assert counting.lists > 20, "it was listed in parts"


def test_what_a_listing_takes_is_said_before_and_priced_after(
    make_instance: MakeInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    instance, endpoint = bucket(make_instance, 3)
    watcher = Notes()
    check(opened(instance), CheckOptions(kinds=("accounts",)), watcher)
    assert watcher.notes == ["About 4 list requests will be made to s3://" + instance.media.bucket + "."]  # type: ignore[attr-defined]
    host = urlsplit(endpoint).hostname
    (instance.folder / "mastomend-prices.toml").write_text(
        f'[[provider]]\nname = "Mine"\nendpoint = "{host}"\nlist = 500.0\nhead = 10.0\nread_on = 2026-11-01\n'
    )
    code = run(["--env", str(instance.env), "--state", str(instance.state), "check", "accounts", "--json", "-v"])
    said = capsys.readouterr()
    assert code == 0
    assert (
        "About 4 list requests will be made" in said.err
        and "$2.00 at the prices of Mine read on 2026-11-01" in said.err
    )
    document = json.loads(said.out)
    requests, cost = document["requests"], document["cost"]
    assert cost == {
        "estimated_list": 4,
        "usd": requests["list"] * 0.5 + requests["head"] * 0.01,
        "provider": "Mine",
        "prices_of": "2026-11-01",
    }
    (instance.folder / "mastomend-prices.toml").write_text("[[provider]]\nname = 1\n")
    assert run(["--env", str(instance.env), "--state", str(instance.state), "check"]) == 2
    assert "mastomend-prices.toml" in capsys.readouterr().err


def test_a_disk_costs_nothing(make_instance: MakeInstance) -> None:
    instance = make_instance()
    watcher = Notes()
    assert check(opened(instance), progress=watcher).cost is None
    assert watcher.notes == []
