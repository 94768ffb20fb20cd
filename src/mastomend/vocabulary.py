"""The words every room shares, as types: a file's state, a finding, a row, what a row expects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mastomend.mastodon.keys import ExpectedFile, Key, Record
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind
from mastomend.outcomes import OutcomeRow, Verdict

#: What is to be stored: bytes, or a file that may be too large to hold in memory.
Content = bytes | Path


#: What findings and outcomes can be counted by; `known` is what repairs have made of a finding.
COUNTED_BY = ("domain", "kind", "outcome", "reason", "known")


@dataclass(frozen=True, slots=True)
class Body:
    """What is to be stored, measured: `size` in bytes, `digest` its SHA-256 in hexadecimal."""

    content: Content = field(repr=False)
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Sending:
    """An object that is to be stored, small enough to be held in memory; as in `ports.Writing.put`."""

    key: Key
    data: bytes = field(repr=False)
    content_type: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Serving:
    """How a storage hands an object out to the public. None is what that storage does not tell, or does not keep."""

    is_public: bool | None
    content_type: str | None = None
    cache_control: str | None = None

    def __str__(self) -> str:
        who = {True: "public", False: "private", None: ""}[self.is_public]
        return ", ".join(part for part in (who, self.content_type, self.cache_control) if part) or "as it is"


@dataclass(frozen=True, slots=True)
class RowOf:
    """A row, as what something is done to. `kind` names the attachment, or the table where all of the row's are meant:
    `media_attachments 42` is its file and its thumbnail, as Mastodon clears them. The rest is what reports tell of it, and
    which file of it was meant (None where that is not known).
    """

    kind: str
    id: int
    is_local: bool = field(default=False, compare=False)
    domain: str | None = field(default=None, compare=False)
    remote_url: str | None = field(default=None, compare=False)
    file_name: str | None = field(default=None, compare=False)

    @property
    def table(self) -> str:
        """Where the row is."""
        return KIND_BY_NAME[self.kind].table if self.kind in KIND_BY_NAME else self.kind

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, slots=True)
class ObjectAt:
    """An object in a storage, as what something is done to: one that belongs to no row."""

    key: Key

    def __str__(self) -> str:
        return self.key


Subject = RowOf | ObjectAt


@dataclass(frozen=True, slots=True)
class Owned:
    """A row expects that key."""

    is_local: bool
    row: RowOf


@dataclass(frozen=True, slots=True)
class Nobody:
    """It is a key of Mastodon's, and no row expects it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """It is not understood: it belongs to somebody else."""


#: Whom a key belongs to.
Ownership = Owned | Nobody | Foreign


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a subject. `part` tells several of one subject apart: which plan of a run an undo took back."""

    subject: Subject
    verdict: Verdict
    part: int = 0

    def row(self) -> OutcomeRow:
        """Its row in a report."""
        v = self.verdict
        told = (v.outcome, v.source, v.reason.value, v.detail, v.files, v.bytes, v.tried)
        match self.subject:
            case RowOf(kind, id_, is_local, domain, remote_url):
                return OutcomeRow(kind, id_, is_local, domain, remote_url, *told)
            case ObjectAt(key):
                return OutcomeRow(key, 0, False, None, None, *told)


class State(StrEnum):
    """What is wrong with a file (product.md, vocabulary)."""

    MISSING = "missing"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNSERVABLE = "unservable"


class Stray(StrEnum):
    """Why an object is nobody's."""

    ORPHAN = "orphan"
    STALE_DUPLICATE = "stale_duplicate"
    DIRECTORY_MARKER = "directory_marker"
    TEMPORARY = "temporary"
    UNRECOGNIZED = "unrecognized"


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
class Tree:
    """The files of one kind in one folder. `lost` of the missing ones a repair has seen before.

    `hole` says why nothing can be in there; None where there is no such sign. `prefix` ends in a slash.
    """

    kind: str
    prefix: str
    expected: int
    missing: int
    lost: int = 0
    hole: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One record looked at again, with everything a finding or a repair needs.

    `in_flight` means a transaction is changing this row right now: Mastodon deletes old files and writes new ones
    *before* it commits (facts §6.1), so nothing about the row's files can be said until it has. `columns` are
    those a change may set, as text, where they were asked for.
    """

    record: Record
    domain: str | None
    remote_url: str | None
    suspended: bool
    in_flight: bool
    media_type: int | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict, compare=False)


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
