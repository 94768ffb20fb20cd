"""What a page and an oEmbed document say about their picture.

The page is a stranger's: only its first mebibyte is read, and an HTML5 parser looks at tags and runs nothing.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin
from xml.etree import ElementTree

import webencodings
from selectolax.lexbor import LexborHTMLParser

from mastomend.remote.documents import usable_url

ACCEPT = "text/html"
MAX_BYTES = 1024 * 1024
MAX_OEMBED_BYTES = 1024 * 1024
_JSON = ("application/json+oembed", "text/json+oembed")
_XML = ("text/xml+oembed",)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
#: Where a page says its encoding itself, it must do so near its beginning.
_PRESCAN = 4096


@dataclass(frozen=True, slots=True)
class PageImages:
    """What a page says about its picture: an oEmbed document to ask, an OpenGraph image; absolute URLs.

    `oembed_xml` counts only where there is no `oembed`.
    """

    oembed: str | None
    image: str | None
    oembed_xml: str | None = None


def parse(data: bytes, content_type: str, url: str) -> PageImages:
    """The addresses in a page fetched from `url`."""
    tree = LexborHTMLParser(text(data, content_type))
    found: dict[str, str | None] = {"json": None, "xml": None}
    for link in tree.css("link[type][href]"):
        attributes = link.attributes
        sort = "json" if attributes.get("type") in _JSON else "xml" if attributes.get("type") in _XML else None
        if sort is not None and found[sort] is None:
            found[sort] = attributes.get("href") or ""
    image = None
    for meta in tree.css("meta"):
        attributes = meta.attributes
        name = (attributes.get("property") or attributes.get("name") or "").lower()
        if name == "og:image":
            image = (attributes.get("content") or "").strip()
            break
    if (image or "").lower() in ("", "null", "undefined"):
        image = None
    # Mastodon resolves against the page's own address, whatever a <base> says
    return PageImages(_endpoint(url, found["json"]), _absolute(url, image), _endpoint(url, found["xml"]))


def _endpoint(page: str, address: str | None) -> str | None:
    """An oEmbed endpoint; of a page that came by https it is asked by https."""
    found = _absolute(page, address)
    if found is not None and page.startswith("https:") and found.startswith("http:"):
        return f"https:{found.removeprefix('http:')}"
    return found


def parse_oembed(data: bytes, url: str) -> str | None:
    """The picture an oEmbed document names, JSON or XML: a photo's own address, else the thumbnail.

    Only documents of version 1.0 with a type count; `rich` gives no picture: the page's own is used then.
    """
    document = _oembed_json(data) or _oembed_xml(data)
    if str(document.get("version")) != "1.0":
        return None
    match document.get("type"):
        case "photo":
            found = document.get("url")
        case "video" | "link":
            found = document.get("thumbnail_url")
        case _:
            return None
    return _absolute(url, found) if isinstance(found, str) else None


def _oembed_json(data: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _oembed_xml(data: bytes) -> Mapping[str, object]:
    plain = data.replace(b"\0", b"")  # in whatever width its characters are
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        return {}
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return {}
    return {child.tag: (child.text or "").strip() for child in root} if root.tag == "oembed" else {}


def _absolute(base: str, address: str | None) -> str | None:
    try:
        return usable_url(urljoin(base, address)) if address else None
    except ValueError:
        return None


def text(data: bytes, content_type: str) -> str:
    """The page as text: by its header's charset, else its BOM, else its own word; UTF-8 where those are no encodings.

    Only the web's own encodings count: Python knows others, some of which take minutes.
    """
    return data.decode(_encoding(data, content_type), errors="replace").removeprefix("\ufeff")


def _encoding(data: bytes, content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "charset" and (found := _known(value.strip().strip("\"'"))):
            return found
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    head = data[:_PRESCAN]
    if match := re.search(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", head, re.IGNORECASE):
        found = _known(match[1].decode("ascii", "replace"))
        if found:
            return "utf-8" if found.startswith("utf-16") else found
    return "utf-8"


def _known(label: str) -> str | None:
    found = webencodings.lookup(label)
    if found is None or found.name in ("x-user-defined", "replacement"):
        return None
    return str(found.codec_info.name)
