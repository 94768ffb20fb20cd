"""The words every room shares, as types: a file's state, a finding, a row, what a row expects. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mastomend.mastodon.keys import ExpectedFile, Record
from mastomend.mastodon.kinds import Kind

#: What is to be stored: bytes, or a file that may be too large to hold in memory.
Content = bytes | Path


class State(StrEnum):
    """What is wrong with a file (product.md, vocabulary)."""

    MISSING = "missing"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNSERVABLE = "unservable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken file. `key` is empty when the row's file name would leave its directory."""

    kind: str
    id: int
    style: str
    key: str
    state: State
    is_local: bool
    domain: str | None
    remote_url: str | None
    file_name: str
    content_type: str | None
    expected_bytes: int | None
    actual_bytes: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One record looked at again, with everything a finding or a repair needs.

    `in_flight` means a transaction is changing this row right now: Mastodon deletes old files and writes new ones
    *before* it commits (facts §6.1), so nothing about the row's files can be said until it has.
    """

    record: Record
    domain: str | None
    remote_url: str | None
    suspended: bool
    in_flight: bool
    account_id: int | None = None
    media_type: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What we know of one medium in its post: its address and blurhash, its position, how many there are."""

    remote_url: str
    blurhash: str | None
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where else the origin can be asked about a record: an ActivityPub document, a preview card's page.

    `place` tells which of a post's media it is.
    """

    document: str | None = None
    page: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A row with the files it expects; no files when its name is unsafe."""

    kind: Kind
    row: Row
    files: tuple[ExpectedFile, ...]
