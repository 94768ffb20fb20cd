"""Why the public does not get a file that the storage has, from what came when it was asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Types that say nothing, and the text a web server sends instead of a picture.
_NOTHING = ("", "application/octet-stream", "binary/octet-stream", "text/plain")


class Cause(StrEnum):
    """What keeps a file from being seen. Permission and type of an object in a bucket are Mastodon's to set, and `repair` sets
    them. All else is the web server's, the CDN's or the provider's.
    """

    PERMISSION = "permission"
    EXPOSED = "exposed"
    NOT_FOUND = "not_found"
    NEGATIVE_CACHE = "negative_cache"
    TYPE = "type"
    WEB_PAGE = "web_page"
    REDIRECTS = "redirects"
    TLS = "tls"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    BAD_ADDRESS = "bad_address"
    OTHER_SIZE = "other_size"
    SERVER_ERROR = "server_error"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered (as `storage.public.Shown`), and the type its bytes show, if they show one."""

    status: int
    content_type: str
    size: int | None
    trouble: str
    kind_of_bytes: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be answered: so many bytes; or nothing, where it is hidden (`is_private`)."""

    size: int
    is_private: bool = False
    is_picture: bool = True


_OF_THE_WAY = {
    "redirects": Cause.REDIRECTS,
    "tls": Cause.TLS,
    "dns": Cause.DNS,
    "connect": Cause.UNREACHABLE,
    "timeout": Cause.UNREACHABLE,
    "broken": Cause.UNREACHABLE,
    "bad_url": Cause.BAD_ADDRESS,
}


def cause(wanted: Wanted, answer: Answer) -> Cause | None:
    """Why the public does not get it; None where all is well."""
    if answer.trouble:
        return _OF_THE_WAY[answer.trouble]
    if wanted.is_private:
        return Cause.EXPOSED if answer.status in (200, 206) else None
    if answer.status in (401, 403):
        return Cause.PERMISSION
    if answer.status in (404, 410):
        return Cause.NOT_FOUND
    if answer.status not in (200, 206):
        return Cause.SERVER_ERROR
    plain = answer.content_type.partition(";")[0].strip().lower()
    if plain in ("text/html", "application/xhtml+xml", "application/xml", "text/xml"):
        return Cause.WEB_PAGE
    if answer.size is not None and answer.size != wanted.size:
        return Cause.OTHER_SIZE
    shown = answer.kind_of_bytes
    if plain in _NOTHING or (wanted.is_picture and shown is not None and plain != shown):
        return Cause.TYPE
    return None


_WORDS = {
    Cause.PERMISSION: "the public may not read it (403): its permission, or the bucket's policy; on a disk its mode or owner",
    Cause.EXPOSED: "everybody can see what should be hidden (of a suspended account, or a backup)",
    Cause.NOT_FOUND: "its public address answers 404 though the storage has it: a wrong host in S3_ALIAS_HOST or S3_HOSTNAME, "
    "or a web server that looks elsewhere, or may not enter a folder above it",
    Cause.NEGATIVE_CACHE: "the CDN remembers that it was missing once (purge its cache)",
    Cause.TYPE: "it is handed out as {type}, not as what it is",
    Cause.WEB_PAGE: "its public address answers with a web page instead of the file",
    Cause.REDIRECTS: "its public address leads in circles",
    Cause.TLS: "the certificate of its public address is not right",
    Cause.DNS: "the name of its public address leads nowhere",
    Cause.UNREACHABLE: "its public address cannot be reached",
    Cause.BAD_ADDRESS: "its public address is none",
    Cause.OTHER_SIZE: "the public gets another number of bytes than the storage has: an old copy in a cache, or another bucket",
    Cause.SERVER_ERROR: "its public address answers {status}",
}


def words(found: Cause, answer: Answer, url: str) -> str:
    """The cause for people."""
    said = _WORDS[found].format(type=answer.content_type or "nothing in particular", status=answer.status)
    return f"{said} ({url})"


def in_short(found: Cause) -> str:
    """The cause without what is peculiar to one file."""
    return _WORDS[found].format(type="another type", status="an error").partition(":")[0]


def is_ours(found: Cause, *, in_bucket: bool) -> bool:
    """Whether changing how the file is handed out may mend it: a page instead of a file may be its own wrong type."""
    return found in (Cause.PERMISSION, Cause.EXPOSED) or (found in (Cause.TYPE, Cause.WEB_PAGE) and in_bucket)
