"""Record → storage keys, and storage key → candidate records, as pure functions.

`key = [S3_KEY_PREFIX/] [cache/] CLASS/ATTACHMENTS / ID_PARTITION / STYLE / FILENAME` (facts §2.1). Forward is exact.
Backward is a *set*: an id of 10, 13, 14, 16, 17 or 19 digits shares its directory with neighbours (facts §2.2), so a
key names ranges of ids that the file name must narrow down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from mastomend.mastodon.kinds import KIND_BY_NAME, Kind, RemoteRule

Key = NewType("Key", str)

CACHE = "cache/"
ORIGINAL = "original"
_PARTITION_LIMIT = 1_000_000_000
_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """One row's attachment of one kind, as the database holds it. `file_name` is never NULL or empty here."""

    id: int
    is_local: bool
    file_name: str
    content_type: str | None = None
    file_size: int | None = None
    version: int | None = None
    var: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """One file a record needs. `size` in bytes is known only for `original` (facts §0.2)."""

    style: str
    key: Key
    size: int | None


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a key says. `ids` are inclusive ranges of ids that may own it, exact candidates first."""

    kind: Kind
    cached: bool
    style: str
    file_name: str
    ids: tuple[tuple[int, int], ...]


def partition(record_id: int) -> str:
    """The id's directories, e.g. 109876543210987654 → `109/876/543/210/987/654` (facts §2.2).

    Padded to 9 digits below 10⁹ and to 12 from there on; a minus sign consumes padding; a remainder of one or two
    digits is dropped.
    """
    padded = f"{record_id:0{9 if record_id < _PARTITION_LIMIT else 12}d}".lstrip("-")
    return "/".join(padded[i : i + 3] for i in range(0, len(padded) - 2, 3))


def is_safe_name(file_name: str) -> bool:
    """Whether a file of that name stays in its directory. Any other name is a finding, never a path."""
    return (
        "/" not in file_name
        and "\0" not in file_name
        and file_name not in ("", ".", "..")
        and not any("\ud800" <= c <= "\udfff" for c in file_name)  # bytes that are no text
    )


def below(key_prefix: str) -> str:
    """What every key begins with: `S3_KEY_PREFIX` and a slash, or nothing."""
    return f"{key_prefix}/" if key_prefix else ""


def is_private(key: str, key_prefix: str = "") -> bool:
    """Whether Mastodon hides that file from the public: the archives people asked for (facts §4.2)."""
    return key.removeprefix(below(key_prefix)).startswith("backups/")


def split_name(file_name: str) -> tuple[str, str]:
    """Base and extension (without dot) as Ruby's `File.extname` sees them: leading dots never start an extension."""
    stem = file_name.lstrip(".")
    if "." not in stem:
        return file_name, ""
    base, _, extension = file_name.rpartition(".")
    return base, extension


def styled_name(file_name: str, fixed_extension: str | None) -> str:
    """The file name of a derived style (facts §2.3)."""
    base, extension = split_name(file_name)
    extension = extension if fixed_extension is None else fixed_extension
    return f"{base}.{extension}" if extension else base


def is_cached(kind: Kind, record: Record) -> bool:
    """Whether the record's files live under `cache/` (facts §2.1)."""
    if kind.remote is RemoteRule.NEVER or (record.is_local and kind.remote is not RemoteRule.ALWAYS):
        return False
    return (record.version or 0) >= 1


def directory(kind: Kind, record: Record, key_prefix: str = "") -> str:
    """The record's directory, ending in `/`; styles are its children."""
    return f"{below(key_prefix)}{CACHE if is_cached(kind, record) else ''}{kind.name}/{partition(record.id)}/"


def styles(kind: Kind, content_type: str | None, var: str | None = None) -> list[tuple[str, str | None]]:
    """The derived styles a record of that stored content type has: (style, fixed extension or None)."""
    return [
        (d.style, d.extension)
        for d in kind.derived
        if (d.content_types is None or content_type in d.content_types) and (d.var is None or d.var == var)
    ]


def expected_files(kind: Kind, record: Record, key_prefix: str = "") -> list[ExpectedFile]:
    """Every file the record needs, `original` first.

    Raises:
        ValueError: the file name would leave its directory; such a record has no keys.
    """
    if not is_safe_name(record.file_name):
        raise ValueError(f"{kind.name} {record.id}: unsafe file name {record.file_name!r}")
    base = directory(kind, record, key_prefix)
    files = [ExpectedFile(ORIGINAL, Key(f"{base}{ORIGINAL}/{record.file_name}"), record.file_size)]
    for style, extension in styles(kind, record.content_type, record.var):
        files.append(ExpectedFile(style, Key(f"{base}{style}/{styled_name(record.file_name, extension)}"), None))
    return files


_KEY = re.compile(
    r"(?P<cache>cache/)?(?P<kind>[a-z_]+/[a-z_]+)/(?P<groups>\d{3}(?:/\d{3}){1,5})/(?P<style>[^/]+)/(?P<name>[^/]+)\Z",
    re.DOTALL,
)


def parse_key(key: str, key_prefix: str = "") -> ParsedKey | None:
    """The kind, style, name and candidate ids a key stands for; None for what is not a Mastodon key at all."""
    prefix = below(key_prefix)
    if not key.startswith(prefix):
        return None
    match = _KEY.match(key[len(prefix) :])
    kind = KIND_BY_NAME.get(match["kind"]) if match else None
    if match is None or kind is None or (match["cache"] and kind.remote is RemoteRule.NEVER):
        return None
    if match["style"] != ORIGINAL and all(match["style"] != d.style for d in kind.derived):
        return None
    ids = candidate_ids(match["groups"].replace("/", ""))
    return ParsedKey(kind, bool(match["cache"]), match["style"], match["name"], ids) if ids else None


def candidate_ids(digits: str) -> tuple[tuple[int, int], ...]:
    """Inclusive id ranges whose partition consists of these digits (a multiple of three of them)."""
    value, length = int(digits), len(digits)
    if length == 6:  # "-%08d": only negative ids have two levels; -99 is the instance actor
        return ((-(value * 100 + 99), -max(value * 100, 1)),)
    if length == 9:
        return ((value, value),)
    ranges: list[tuple[int, int]] = []
    if length == 12:
        if value >= _PARTITION_LIMIT:
            ranges.append((value, value))
    elif digits[0] != "0":
        ranges.append((value, value))
    if digits[0] != "0":  # ids one or two digits longer drop their remainder
        ranges += [(value * scale, min(value * scale + scale - 1, _MAX_ID)) for scale in (10, 100)]
    return tuple((low, high) for low, high in ranges if low <= _MAX_ID)
