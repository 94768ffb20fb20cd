"""Sources as pure functions: which medium of a post is ours, what a page says, which addresses are usable."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from mastomend.mastodon.keys import is_private
from mastomend.mastodon.urls import same_address
from mastomend.remote.documents import Attached, Document, Picture, actor_picture, attachments, usable_url
from mastomend.restore.sources.document import find_attachment
from mastomend.restore.sources.page_html import _oembed_xml, parse, parse_oembed, text
from mastomend.vocabulary import Place

CASES = Path(__file__).parents[1] / "cases"
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
    ("address", "url"),
    [
        ("https://s.example/ä b", "https://s.example/%C3%A4%20b"),
        ("https://s.example/a\0", None), ("https://s.example/\ud800", None), ("//s.example/a", None), ("data:,x", None),
        ("https://", None), ("http://[x", None),
    ],
)  # fmt: skip
def test_which_addresses_are_usable(address: str, url: str | None) -> None:
    assert usable_url(address) == url


@pytest.mark.parametrize("case", json.loads((CASES / "pages.json").read_text()), ids=lambda case: str(case["name"]))
def test_a_page_says_what_mastodon_s_own_extractor_finds(case: dict[str, str]) -> None:
    def wanted(name: str) -> str | None:
        return usable_url(urljoin(case["url"], case[name])) if case[name] else None

    found = parse(base64.b64decode(case["html_base64"]), case["content_type"], case["url"])
    assert (found.image, found.oembed, found.oembed_xml) == (wanted("image"), wanted("oembed"), wanted("oembed_xml"))


@pytest.mark.parametrize(
    ("content_type", "data", "found"),
    [
        ("text/html; charset=punycode", "ä".encode(), "ä"),  # one of Python's, which takes minutes; none of the web's
        ("text/html; charset=idna", "ä".encode(), "ä"),
        ("text/html; charset=rot13", "ä".encode(), "ä"),
        ("text/html; charset=unicode_escape", rb"\u00e4", "\\u00e4"),
        ("text/html; charset=utf-7", b"+AOQ-", "+AOQ-"),
        ("text/html; charset=latin1", b"\xe4\x80", "ä€"),  # which is windows-1252 there
        ("text/html; charset='Shift_JIS'", "日本".encode("shift_jis"), "日本"),
        ("text/html", "ä".encode("utf-16-le"), "\ufffd\0"),
        ("text/html", "\ufeffä".encode("utf-16-le"), "ä"),
        ("text/html", "\ufeffä".encode(), "ä"),
        ("text/html", b'<meta charset="windows-1251">\xe4', '<meta charset="windows-1251">д'),
        (
            "text/html",
            b'<meta http-equiv=Content-Type content="text/html; charset=koi8-r">\xc4',
            '<meta http-equiv=Content-Type content="text/html; charset=koi8-r">д',
        ),
        ("text/html", b"\xe4", "\ufffd"),
    ],
)
def test_only_the_web_s_own_encodings_count(content_type: str, data: bytes, found: str) -> None:
    assert text(data, content_type) == found


def test_a_page_in_an_odd_charset_takes_no_time() -> None:
    began = time.process_time()
    parse(
        b"<meta property='og:image' content='/x.png'>" + b"a-b" * 340_000, "text/html; charset=punycode", "https://p/"
    )
    assert time.process_time() - began < 5


@pytest.mark.parametrize("case", json.loads((CASES / "urls.json").read_text()), ids=lambda case: str(case["url"]))
def test_an_address_is_the_same_in_mastodon_s_normal_form(case: dict[str, str | None]) -> None:
    if case["addressable"] is not None:
        assert same_address(str(case["url"]), case["addressable"])


def test_other_addresses_are_others() -> None:
    spellings = [
        "https://a.example/x", "https://a.example/y", "http://a.example/x", "https://b.example/x",
        "https://a.example/x?y", "https://a.example:444/x", "https://u@a.example/x", "https://a.example/X",
    ]  # fmt: skip
    for i, one in enumerate(spellings):
        assert [same_address(one, other) for other in spellings] == [n == i for n in range(len(spellings))]


@pytest.mark.parametrize("case", json.loads((CASES / "notes.json").read_text()), ids=lambda case: str(case["name"]))
def test_a_note_says_which_medium_is_ours(case: dict[str, Any]) -> None:
    stored = case["stored"]
    place = Place(stored["remote_url"], stored["blurhash"], stored["place"], stored["of"])
    found = find_attachment(attachments(Document(case["note"])), place)
    assert found is not None and same_address(found.url, case["found"])


def test_an_icon_may_be_a_link() -> None:
    for icon in ({"type": "Link", "href": "https://s/x"}, [{"type": "Link", "href": "https://s/x"}],
                 {"type": "Image", "url": {"type": "Link", "href": "https://s/x"}}):  # fmt: skip
        assert actor_picture(Document({"icon": icon}), "avatar") == Picture("https://s/x")


def test_what_a_page_says() -> None:
    page = b'<meta property="og:image" content="&#x2F;a.png"><meta property="og:image" content="/b.png">'
    assert parse(page, "text/html; charset=latin-1", "https://p.example/x/y").image == "https://p.example/a.png"
    assert parse(b"", "", "https://p.example").image is None
    said = '{"version": "1.0", "type": "%s", "url": "/p", "thumbnail_url": "https://t/x"}'
    for sort, found in (
        ("photo", "https://p.example/p"),
        ("video", "https://t/x"),
        ("link", "https://t/x"),
        ("rich", None),
    ):
        assert parse_oembed((said % sort).encode(), "https://p.example/o") == found
    for wrong in ('{"type": "photo", "url": "/p"}', '{"version": "2.0", "type": "photo", "url": "/p"}'):
        assert parse_oembed(wrong.encode(), "https://p.example/o") is None
    xml = b"<oembed><version>1.0</version><type>photo</type><url>https://p.example/x.png</url></oembed>"
    assert parse_oembed(xml, "https://p.example/o") == "https://p.example/x.png"
    assert parse_oembed(b'<!DOCTYPE x [<!ENTITY a "b">]>' + xml, "https://p.example/o") is None
    for body in (b"[]", b"{", b'{"thumbnail_url": 3}', b"[" * 100_000):
        assert parse_oembed(body, "https://p.example") is None


def test_archives_are_private() -> None:
    assert is_private("backups/dumps/000/000/012/original/a.zip") and is_private("pre/backups/dumps/x", "pre")
    assert not is_private("accounts/avatars/000/000/001/original/a.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_an_oembed_document_declares_nothing(encoding: str) -> None:
    laughs = '<!DOCTYPE o [<!ENTITY a "ha">]><oembed><url>&a;</url></oembed>'
    assert _oembed_xml(laughs.encode(encoding)) == {}
