"""What an S3 store says, read and looked at before it is believed. Pure.

A listing must be a listing (a web page is none) and whole. Pages of a thousand objects come by the thousands, so those that
look as they nearly always do are read without a parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from mastomend.errors import StorageError

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store said: a status below 300, or one the caller asked to hear of."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; times as in `ports.Held`. `token` goes on behind it; without one the last key does."""

    keys: list[str]
    sizes: list[int]
    modified: list[int | None]
    folders: list[str]
    token: str | None
    is_last: bool

    def above(self, key: str) -> Page:
        """The same without what is not above that key."""
        kept = [one for one in zip(self.keys, self.sizes, self.modified, strict=True) if one[0] > key]
        keys, sizes, modified = [k for k, _, _ in kept], [n for _, n, _ in kept], [m for _, _, m in kept]
        return Page(keys, sizes, modified, [f for f in self.folders if f > key], self.token, self.is_last)


#: XML may not hold most control characters, keys may: some stores write them all the same.
_BAD_REFERENCE = re.compile(rb"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));", re.IGNORECASE)
_BAD_BYTES = bytes({*range(32)} - {9, 10, 13})


def document(body: bytes, name: str) -> ElementTree.Element:
    """The document, if it is the one that was asked for.

    Raises:
        ValueError: it is not, or cut off.
    """
    try:
        try:
            root = ElementTree.fromstring(body)
        except ElementTree.ParseError:
            plain = _BAD_REFERENCE.sub(b"&#xFFFD;", body).translate(None, _BAD_BYTES)
            root = ElementTree.fromstring(plain)
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from None
    if root.tag.rpartition("}")[2] != name:
        raise ValueError(f"{root.tag} instead of {name}")
    return root


def namespace(root: ElementTree.Element) -> str:
    return root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""


def text(root: ElementTree.Element, name: str) -> str:
    found = root.findtext(f"{namespace(root)}{name}")
    if not found:
        raise ValueError(f"no {name}")
    return found


def expect(answer: Answer, name: str) -> None:
    document(answer.body, name)


def parse_page(answer: Answer) -> Page:
    body = answer.body
    if body.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")) or not body.lstrip().startswith(b"<"):
        raise _no_listing() if body.strip() else ValueError("an empty answer")
    plain, objects = _plain_objects(body)
    root = document(plain, "ListBucketResult")
    space = namespace(root)
    if objects is None:
        tags = [f"{space}{name}" for name in ("Key", "Size", "LastModified")]
        objects = [tuple(one.findtext(tag) or "" for tag in tags) for one in root.findall(f"{space}Contents")]
    keys, sizes = [key for key, _, _ in objects], [int(size or 0) for _, size, _ in objects]
    modified = [_microseconds(moment) for _, _, moment in objects]
    if max(sizes, default=0) > _LARGEST:
        raise ValueError("a size no object can have")
    folders = [one.findtext(f"{space}Prefix") or "" for one in root.findall(f"{space}CommonPrefixes")]
    if root.findtext(f"{space}EncodingType") == "url":
        keys, folders = [_decoded(key) for key in keys], [_decoded(folder) for folder in folders]
    is_last = root.findtext(f"{space}IsTruncated") != "true"
    token = None if is_last else root.findtext(f"{space}NextContinuationToken") or None
    if not is_last and token is None and not (keys or folders):
        raise ValueError("a page that says there is more, and not where")
    return Page(keys, sizes, modified, folders, token, is_last)


_OBJECTS = re.compile(
    r"<Contents>(?:<(?!Key>)\w+>[^<]*</\w+>)*<Key>([^<&]*)</Key>(?:<(?!Size>)\w+>[^<]*</\w+>)*<Size>(\d+)</Size>"
    r"(?:<\w+>(?:[^<]|<(?!/?Contents>))*)?</Contents>"
)


_MODIFIED = re.compile(r"<LastModified>([^<]*)</LastModified>")
_EPOCH = date(1970, 1, 1).toordinal()

#: What stands between objects in some stores' pages, and must not be overlooked.
_NOT_INSIDE = ("<CommonPrefixes>", "<IsTruncated>", "<NextContinuationToken>", "<EncodingType>", "<Error>")


def _plain_objects(body: bytes) -> tuple[bytes, list[tuple[str, ...]] | None]:
    """A page's objects, and the page without them: a parser takes three times as long for what nearly always looks alike.

    None, and the whole page, where one of them looks otherwise.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body, None
    start, end = text.find("<Contents>"), text.rfind("</Contents>")
    if start < 0 or end < start:
        return body, None
    end += len("</Contents>")
    inside = text[start:end]
    found: list[tuple[str, ...]] = _OBJECTS.findall(inside)
    moments = _MODIFIED.findall(inside)
    if not len(found) == len(moments) == inside.count("<Contents>") or any(word in inside for word in _NOT_INSIDE):
        return body, None
    objects = [(*named, moment) for named, moment in zip(found, moments, strict=True)]
    return (text[:start] + text[end:]).encode(), objects


@lru_cache(maxsize=4_096)
def _day(text: str) -> int:
    return (date.fromisoformat(text).toordinal() - _EPOCH) * 86_400


def _microseconds(moment: str) -> int | None:
    """Microseconds since 1970 of a time as S3 writes it; to the second, which is what stores are sure of."""
    try:
        seconds = int(moment[11:13]) * 3_600 + int(moment[14:16]) * 60 + int(moment[17:19])
        return (_day(moment[:10]) + seconds) * 1_000_000
    except ValueError:
        return None


def _decoded(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _no_listing() -> StorageError:
    return StorageError(
        "The bucket's listing is not one: something else answers there, such as a web page.",
        hint="Check S3_ENDPOINT: it must be the store's own address, not that of a website or a CDN.",
    )


def parse_versions(answer: Answer) -> tuple[int, int, tuple[str, str] | None]:
    """Of a page of ListObjectVersions: how many versions are not the newest, their bytes, and where the next page begins
    (key and version); None if there is none.
    """
    root = document(answer.body, "ListVersionsResult")
    space = namespace(root)
    old = [one for one in root.findall(f"{space}Version") if one.findtext(f"{space}IsLatest") == "false"]
    size = sum(int(one.findtext(f"{space}Size") or 0) for one in old)
    if root.findtext(f"{space}IsTruncated") != "true":
        return len(old), size, None
    key = root.findtext(f"{space}NextKeyMarker") or ""
    if not key:
        raise ValueError("a page that says there is more, and not where")
    key = _decoded(key) if root.findtext(f"{space}EncodingType") == "url" else key
    return len(old), size, (key, root.findtext(f"{space}NextVersionIdMarker") or "")


def parse_uploads(answer: Answer) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """Of a page of ListMultipartUploads: key and id of each, and where the next page begins."""
    root = document(answer.body, "ListMultipartUploadsResult")
    space = namespace(root)
    found = [
        (one.findtext(f"{space}Key") or "", one.findtext(f"{space}UploadId") or "")
        for one in root.findall(f"{space}Upload")
    ]
    if root.findtext(f"{space}IsTruncated") != "true":
        return found, None
    mark = (root.findtext(f"{space}NextKeyMarker") or "", root.findtext(f"{space}NextUploadIdMarker") or "")
    if not mark[0]:
        raise ValueError("a page that says there is more, and not where")
    return found, mark


def parse_parts(answer: Answer) -> tuple[int, str | None]:
    """Of a page of ListParts: their bytes, and the part the next page begins behind."""
    name = "ListPartsResponse" if b"<ListPartsResponse" in answer.body else "ListPartsResult"  # some stores' own word
    root = document(answer.body, name)
    space = namespace(root)
    size = sum(int(one.findtext(f"{space}Size") or 0) for one in root.findall(f"{space}Part"))
    more = root.findtext(f"{space}IsTruncated") == "true"
    return size, (root.findtext(f"{space}NextPartNumberMarker") or None) if more else None


def parse_deleted(answer: Answer) -> dict[str, str]:
    """What became of each key of a request to delete many: "" when it is gone, or the code of what is in the way."""
    root = document(answer.body, "DeleteResult")
    space = namespace(root)
    gone = {one.findtext(f"{space}Key") or "": "" for one in root.findall(f"{space}Deleted")}
    refused = {
        one.findtext(f"{space}Key") or "": one.findtext(f"{space}Code") or "no reason given"
        for one in root.findall(f"{space}Error")
    }
    return gone | {key: "" if code == "NoSuchKey" else code for key, code in refused.items()}


def parse_public(answer: Answer) -> bool:
    """Whether an access control list lets everybody read."""
    root = document(answer.body, "AccessControlPolicy")
    return any(
        (grantee := grant.find("{*}Grantee")) is not None
        and (grantee.findtext("{*}URI") or "").endswith("/global/AllUsers")
        and grant.findtext("{*}Permission") in ("READ", "FULL_CONTROL")
        for grant in root.iter()
        if grant.tag.rpartition("}")[2] == "Grant"
    )
