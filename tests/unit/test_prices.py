"""What requests cost: the dated table, the operator's own, and sums."""

from __future__ import annotations

import tomllib
from datetime import date, timedelta
from pathlib import Path

import pytest

from mastomend.errors import ConfigurationError
from mastomend.plans import prices
from mastomend.plans.prices import Price, dollars, parse, price_for

SHIPPED = Path(prices.__file__).with_name("prices.toml")


def test_the_table_that_comes_with_mastomend_is_dated_and_says_where_it_is_from() -> None:
    document = tomllib.loads(SHIPPED.read_text())
    found = parse(document, "prices.toml")
    assert {p.endpoint for p in found} >= {
        "amazonaws.com",
        "r2.cloudflarestorage.com",
        "backblazeb2.com",
        "wasabisys.com",
    }
    assert all(date(2026, 1, 1) < p.read_on < date.today() + timedelta(days=1) for p in found)
    assert all(entry["source"] for entry in document["provider"])


def test_the_provider_is_known_by_the_end_of_its_host_name() -> None:
    known = parse(tomllib.loads(SHIPPED.read_text()), "prices.toml")
    for host, endpoint in (
        (None, "amazonaws.com"),
        ("s3.eu-central-1.amazonaws.com", "amazonaws.com"),
        ("S3.Eu-Central-003.BackblazeB2.com", "backblazeb2.com"),
        ("abc.r2.cloudflarestorage.com", "r2.cloudflarestorage.com"),
    ):
        found = price_for(host, known)
        assert found is not None and found.endpoint == endpoint
    assert price_for("minio.local", known) is None
    assert price_for("notamazonaws.com", known) is None, "whole labels only"


def test_sums() -> None:
    price = Price("x", "x.example", 0.005, 0.0004, date(2026, 1, 1))
    assert price.of(lists=1_000_000, heads=10_000_000) == pytest.approx(9.0)
    assert [dollars(x) for x in (0, 0.001, 1.234, 1234.5)] == ["$0.00", "less than $0.01", "$1.23", "$1,234.50"]


GOOD = 'name = "x"\nendpoint = "x"\nlist = 1\nhead = 1\nread_on = 2026-01-01\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "provider = 1",
        "[[provider]]\nname = 'x'",
        "other = 1\n[[provider]]\n" + GOOD,
        "[[provider]]\n" + GOOD.replace("list = 1", "list = -1"),
        "[[provider]]\n" + GOOD.replace("2026-01-01", "'soon'"),
        "[[provider]]\n" + GOOD.replace('endpoint = "x"', 'endpoint = ""'),
        "[[provider]]\n" + GOOD.replace("head = 1", "head = 'cheap'"),
    ],
)
def test_a_wrong_table_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        parse(tomllib.loads(text), "mine.toml")
    assert parse(tomllib.loads("[[provider]]\n" + GOOD), "mine.toml")
