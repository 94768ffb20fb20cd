"""Sources as pure functions: which medium of a post is ours, what a page says, which addresses are usable."""

from __future__ import annotations

import pytest

from mastomend.mastodon.keys import is_private
from mastomend.remote.documents import Attached, usable_url
from mastomend.sources.note import find_attachment
from mastomend.sources.page import parse, parse_oembed
from mastomend.vocabulary import Place

A, B, C, D = (Attached(f"https://s/{n}", None, f"hash{n}") for n in "abcd")
PLAIN = [Attached(f"https://s/{n}", None, None) for n in "abc"]


@pytest.mark.parametrize(
    ("found", "place", "expected"),
    [
        ([A, B, C], Place("https://s/b", None, 0, 3), B),
        ([A, B, C], Place("https://old/x", "hashc", 0, 3), C),
        (PLAIN, Place("https://old/x", None, 1, 3), PLAIN[1]),
        ([B, C, D], Place("https://old/x", "hasha", 0, 3), None),
        (PLAIN[:2], Place("https://old/x", None, 1, 3), None),
        ([], Place("https://old/x", None, 0, 0), None),
    ],
)
def test_which_medium_of_a_post_is_ours(found: list[Attached], place: Place, expected: Attached | None) -> None:
    assert find_attachment(found, place) == expected


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://s.example/ä b", "https://s.example/%C3%A4%20b"),
        ("https://s.example/a\0", None), ("https://s.example/\ud800", None), ("//s.example/a", None), ("data:,x", None),
        ("https://", None), ("http://[x", None),
    ],
)  # fmt: skip
def test_which_addresses_are_usable(text: str, url: str | None) -> None:
    assert usable_url(text) == url


def test_what_a_page_says() -> None:
    page = b'<meta property="og:image" content="&#x2F;a.png"><meta property="og:image" content="/b.png">'
    assert parse(page, "text/html; charset=latin-1", "https://p.example/x/y").image == "https://p.example/a.png"
    assert parse(b"", "", "https://p.example").image is None
    assert parse_oembed(b'{"type": "photo", "url": "/p"}', "https://p.example/o") == "https://p.example/p"
    assert parse_oembed(b'{"type": "rich", "thumbnail_url": "https://t/x"}', "https://p.example/o") == "https://t/x"
    for body in (b"[]", b"{", b'{"thumbnail_url": 3}', b"[" * 100_000):
        assert parse_oembed(body, "https://p.example") is None


def test_archives_are_private() -> None:
    assert is_private("backups/dumps/000/000/012/original/a.zip") and is_private("pre/backups/dumps/x", "pre")
    assert not is_private("accounts/avatars/000/000/001/original/a.png")
