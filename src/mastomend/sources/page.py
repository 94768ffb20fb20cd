"""The source `page`: a preview card stores no image address, so the page is asked again, as Mastodon's crawler does.

oEmbed's thumbnail first, then OpenGraph's image (facts §6.5). The page is a stranger's: only its first mebibyte is read,
tags are looked at and nothing is run, and every address found is fetched by the guarded client or not at all.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin

from mastomend.remote.documents import usable_url

ACCEPT = "text/html"
MAX_BYTES = 1024 * 1024
MAX_OEMBED_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageImages:
    """What a page says about its picture: an oEmbed document to ask, an OpenGraph image; absolute URLs."""

    oembed: str | None
    image: str | None


class _Head(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.oembed: str | None = None
        self.image: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        match tag:
            case "link":
                rel, kind = values.get("rel", "").lower().split(), values.get("type", "").lower()
                if "alternate" in rel and kind in ("application/json+oembed", "text/json+oembed"):
                    self.oembed = self.oembed or values.get("href", "").strip() or None
            case "meta":
                name = (values.get("property") or values.get("name", "")).lower()
                if name in ("og:image", "og:image:url", "og:image:secure_url"):
                    self.image = self.image or values.get("content", "").strip() or None
            case _:
                pass


def parse(data: bytes, content_type: str, url: str) -> PageImages:
    """The addresses in a page fetched from `url`."""
    head = _Head()
    # a page may be anything: what the parser had found when it gave up still counts
    with contextlib.suppress(AssertionError, ValueError):
        head.feed(_text(data, content_type))
    return PageImages(_absolute(url, head.oembed), _absolute(url, head.image))


def parse_oembed(data: bytes, url: str) -> str | None:
    """The picture an oEmbed document names: a photo's own address, else the thumbnail."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found = document.get("url") if document.get("type") == "photo" else document.get("thumbnail_url")
    return _absolute(url, found) if isinstance(found, str) else None


def _absolute(base: str, address: str | None) -> str | None:
    try:
        return usable_url(urljoin(base, address)) if address else None
    except ValueError:
        return None


def _text(data: bytes, content_type: str) -> str:
    """The page as text, in the charset it names if that is one."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.lower() == "charset":
            with contextlib.suppress(LookupError, ValueError):
                return data.decode(value.strip("\"' "), errors="replace")
    return data.decode("utf-8", errors="replace")
