"""ActivityPub documents from strangers: what is accepted as one, and where the addresses of pictures are in it.

Every shape another server may send is taken apart here (facts §12); what fits none of them is None, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yarl import URL

ACCEPT = "application/activity+json, application/ld+json"
MAX_BYTES = 1024 * 1024
#: Media of one post that Mastodon keeps: the first usable ones.
_KEPT = 4
_TYPES = ("application/activity+json", "application/ld+json")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document. `deleted` means the origin says that what was there is gone for good."""

    body: dict[str, Any]

    @property
    def deleted(self) -> bool:
        """A tombstone."""
        return "Tombstone" in _listed(self.body.get("type"))


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a picture is now. `is_document` means the address may name a document that says where, or the picture."""

    url: str
    is_document: bool = False


@dataclass(frozen=True, slots=True)
class Attached:
    """One attachment of a note: its address, its preview's, and its blurhash."""

    url: str
    icon: str | None
    blurhash: str | None


def parse(data: bytes, content_type: str, wanted_id: str | None) -> Document | str:
    """The document, or why it is none: only ActivityPub's types, and only if its id is the one asked for (facts §11)."""
    if content_type.partition(";")[0].strip().lower() not in _TYPES:
        return f"not an ActivityPub document ({content_type or 'no content type'})"
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(body, dict):
        return "not a JSON object"
    if wanted_id is not None and body.get("id") != wanted_id:
        return "a document with another id"
    return Document(body)


def actor_picture(document: Document, attachment: str) -> Picture | None:
    """The actor's current avatar (`icon`) or header (`image`)."""
    return _picture(document.body.get("icon" if attachment == "avatar" else "image"))


def emoji_picture(document: Document) -> Picture | None:
    """The emoji's current picture."""
    return _picture(document.body.get("icon"))


def attachments(document: Document) -> list[Attached]:
    """The note's media in order, as many as Mastodon keeps; what has an `href` is a link, and none (facts §13.6)."""
    found: list[Attached] = []
    for item in _listed(document.body.get("attachment")):
        if len(found) == _KEPT:
            break
        if isinstance(item, dict) and not item.get("href") and (url := _address(item.get("url"))) is not None:
            icon = _picture(item.get("icon"))
            blurhash = item.get("blurhash")
            found.append(Attached(url, icon.url if icon else None, blurhash if isinstance(blurhash, str) else None))
    return found


def address(document: Document) -> str | None:
    """The address in a document that stands for a picture itself."""
    return _address(document.body.get("url"))


def _picture(value: Any) -> Picture | None:
    for item in _listed(value):
        if isinstance(item, str):
            url = usable_url(item)
            return Picture(url, is_document=True) if url else None
        if isinstance(item, dict) and (url := _address(item.get("url") or item.get("href"))) is not None:
            return Picture(url)
        return None
    return None


def _address(value: Any) -> str | None:
    """A URL given as text, as an object with `href`, or as a list of those."""
    for item in _listed(value):
        if isinstance(item, dict):
            item = item.get("href")
        if isinstance(item, str) and (url := usable_url(item)) is not None:
            return url
    return None


def usable_url(text: str) -> str | None:
    """An address as it may be asked and stored: http or https with a host, percent-encoded; None for anything else."""
    if any(not c.isprintable() or "\ud800" <= c <= "\udfff" for c in text):
        return None
    try:
        url = URL(text)
        return str(url) if url.scheme in ("http", "https") and url.host else None
    except ValueError:  # `host` undoes IDNA, which may be none
        return None


def _listed(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value
