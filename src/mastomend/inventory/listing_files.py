"""Listings somebody made before: S3 Inventory, `rclone`, `find`, `aws s3 ls`, CSV, Parquet.

For a bucket of hundreds of millions of objects the provider makes a listing every night anyway, and a backup server may
have one of a disk. What such a file says is a hint like any other: findings count only after a live look. What it
cannot say is what was lost since it was made.

Keys are taken relative to the bucket or the media directory; `./`, the directory's own path and `s3://BUCKET/` before
them are dropped. Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from mastomend.errors import ConfigurationError
from mastomend.interrupts import stoppable
from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage, Storage

_SAMPLE = 50
_KEY_NAMES = ("key", "path", "name")
_SIZE_NAMES = ("size", "bytes", "size_bytes", "content_length")


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a line says key and size: groups of a regular expression in RE2's syntax; size None where it does not."""

    name: str
    pattern: str
    key: int
    size: int | None = None


_DATE = r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d\S*"
#: The first that fits every line of a sample is used.
GRAMMARS = (
    Grammar("aws s3 ls, s5cmd ls", rf"^{_DATE}\s+(?:[A-Z_]+\s+)?(\d+)\s+(.+)$", 2, 1),
    Grammar("rclone lsl", rf"^\s*(\d+) {_DATE} (.+)$", 2, 1),
    Grammar("rclone ls, find -printf '%s %p\\n'", r"^\s*(\d+)[ \t]+(.+)$", 2, 1),
    Grammar("rclone lsf --format sp", r"^(\d+)[;,](.+)$", 2, 1),
    Grammar("rclone lsf --format ps, CSV without a header", r'^"?(.+?)"?[;,\t]"?(\d+)"?$', 1, 2),
    Grammar("rclone lsf, find", r"^(.+)$", 1),
)


@dataclass(frozen=True, slots=True)
class FileListing:
    """What was read. `known` objects lie where media of the kinds checked do; `sized` says if sizes were given."""

    objects: int
    known: int
    sized: bool


def read(work: Workspace, files: Sequence[Path], storage: Storage, tables: Sequence[Expected]) -> FileListing:
    """Fill `held` from those files.

    Raises:
        ConfigurationError: one of them cannot be read or understood, or none of its keys is Mastodon's.
    """
    step = "read listing files"
    connection = work.connection
    if not work.did(step):
        with work.step(step):
            prefixes = [prefix for table in tables for prefix in table.prefixes()]
            of_kind = " OR ".join(f"starts_with(key, {quote(prefix)})" for prefix in prefixes)
            connection.execute("CREATE OR REPLACE TABLE file_listing (objects BIGINT, known BIGINT, sized BIGINT)")
            for file in files:
                _read(connection, file, storage, of_kind)
    ((objects, known, sized),) = connection.execute(
        "SELECT sum(objects)::BIGINT, sum(known)::BIGINT, sum(sized)::BIGINT FROM file_listing"
    ).fetchall()
    return FileListing(objects, known, sized == known)


def _read(connection: duckdb.DuckDBPyConnection, file: Path, storage: Storage, of_kind: str) -> None:
    known = 0
    try:
        for source in _sources(connection, file):
            key = f"regexp_replace(key, {quote(_before(storage))}, '')"
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE read_keys AS "
                f"SELECT md5_number(key) AS digest, size, {of_kind} AS known FROM (SELECT {key} AS key, size FROM ({source}))"
            )
            ((here,),) = connection.execute("SELECT count(*) FILTER (known) FROM read_keys").fetchall()
            known += here
            connection.execute("INSERT INTO held SELECT digest, size FROM read_keys WHERE known")
            connection.execute(
                "INSERT INTO file_listing SELECT count(*), count(*) FILTER (known), count(size) FILTER (known) FROM read_keys"
            )
            connection.execute("DROP TABLE read_keys")
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read as a listing: {str(error).splitlines()[0][:200]}",
            hint="See docs/how-to/listing-files.md for what is understood.",
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    if not known:
        ((example,),) = connection.execute(f"SELECT min(key) FROM ({_sources(connection, file)[0]})").fetchall()
        raise ConfigurationError(
            f"{file}: none of its keys is one of the media to be checked; one of them is {example!r}.",
            hint="Keys must be relative to the bucket or the media directory: list the whole of it.",
        )


def _before(storage: Storage) -> str:
    """What may stand before a key, as a regular expression."""
    own = ""
    match storage:
        case FilesystemStorage(root=root):
            own = rf"{re.escape(root)}/|"
        case S3Storage(bucket=bucket):
            own = rf"s3://{re.escape(bucket)}/|"
        case _:
            pass
    return rf"^({own}\./|/)"


def _sources(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """SELECTs of `key` and `size` that together are the listing."""
    with file.open("rb") as opened:
        start = opened.read(4096).lstrip()
    if start.startswith(b"PAR1"):
        return [_columns(connection, f"read_parquet({quote(str(file))})", file)]
    if start.startswith(b"{"):
        return _inventory(file)
    if start.startswith(b"["):
        fields = "{Path: 'VARCHAR', Size: 'BIGINT', IsDir: 'BOOLEAN'}"
        listed = f"read_json({quote(str(file))}, columns={fields}, format='array')"
        return [f"SELECT Path AS key, Size AS size FROM {listed} WHERE NOT coalesce(IsDir, false)"]
    return [_text(connection, file)]


def _text(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    lines = (
        f"read_csv({quote(str(file))}, columns={{line: 'VARCHAR'}}, delim='\x01', quote='', escape='', header=false, "
        "auto_detect=false, max_line_size=65536, ignore_errors=true)"  # a line in another encoding is no key of Mastodon's
    )
    sample = [line for (line,) in connection.execute(f"SELECT line FROM {lines} LIMIT {_SAMPLE}").fetchall() if line]
    if not sample:
        what = "has no line that is text" if file.stat().st_size else "is empty"
        raise ConfigurationError(f"{file} {what}.", hint="An empty listing says nothing about the storage.")
    header = [word.strip().strip('"').lower() for word in re.split(r"[,;\t]", sample[0])]
    if len(header) > 1 and any(name in header for name in _KEY_NAMES):
        return _columns(connection, f"read_csv({quote(str(file))}, header=true, all_varchar=true)", file)
    fitting = next(g for g in GRAMMARS if all(re.match(g.pattern, line) for line in sample))
    pattern = quote(fitting.pattern)
    size = "NULL" if fitting.size is None else f"nullif(regexp_extract(line, {pattern}, {fitting.size}), '')"
    return (
        f"SELECT regexp_extract(line, {pattern}, {fitting.key}) AS key, TRY_CAST({size} AS BIGINT) AS size FROM {lines} "
        "WHERE line IS NOT NULL AND NOT ends_with(line, '/')"
    )


def _columns(connection: duckdb.DuckDBPyConnection, relation: str, file: Path) -> str:
    """Key and size out of a relation that names them; only the current versions, where it lists all."""
    names = {row[0].lower(): row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    key = next((names[name] for name in _KEY_NAMES if name in names), None)
    if key is None:
        raise ConfigurationError(
            f"{file} has no column named key, path or name, but {', '.join(names)}.",
            hint="Give the columns of a CSV or Parquet listing the names key and size.",
        )
    size = next((f'"{names[name]}"' for name in _SIZE_NAMES if name in names), "NULL")
    conditions = ["true"]
    if "is_latest" in names:
        conditions.append(f'"{names["is_latest"]}"::BOOLEAN')
    if "is_delete_marker" in names:
        conditions.append(f'NOT coalesce("{names["is_delete_marker"]}"::BOOLEAN, false)')
    where = " AND ".join(conditions)
    return f'SELECT "{key}"::VARCHAR AS key, TRY_CAST({size} AS BIGINT) AS size FROM {relation} WHERE {where}'


def _inventory(manifest: Path) -> list[str]:
    """The files an S3 Inventory's manifest names, found beside it, each with the digest the manifest gives."""
    try:
        document: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        sort, schema = document["fileFormat"], document["fileSchema"]
        named = [(str(entry["key"]), str(entry["MD5checksum"])) for entry in document["files"]]
        columns = [name.strip() for name in str(schema).split(",")]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{manifest} is no manifest of an S3 Inventory: {error}.", hint="Name its manifest.json."
        ) from None
    if sort not in ("CSV", "Parquet"):
        raise ConfigurationError(
            f"{manifest}: Mastomend does not read {sort}.", hint="Set the inventory's format to CSV or Parquet."
        )
    if not named:
        raise ConfigurationError(
            f"{manifest} names no files: the bucket was empty when it was made, or it is not whole."
        )
    found = [_beside(manifest, key, digest) for key, digest in named]
    return [_inventory_csv(path, columns) if sort == "CSV" else _inventory_parquet(path) for path in found]


def _inventory_csv(path: Path, schema: list[str]) -> str:
    """Keys are URL-encoded in an inventory's CSV, with a plus sign for a space."""
    columns = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in schema)
    relation = f"read_csv({quote(str(path))}, columns={{{columns}}}, header=false, auto_detect=false, quote='\"')"
    conditions = ["true"]
    if "IsLatest" in schema:
        conditions.append("IsLatest = 'true'")
    if "IsDeleteMarker" in schema:
        conditions.append("IsDeleteMarker <> 'true'")
    size = "TRY_CAST(Size AS BIGINT)" if "Size" in schema else "NULL::BIGINT"
    key = "url_decode(replace(Key, '+', '%20'))"
    return f"SELECT {key} AS key, {size} AS size FROM {relation} WHERE {' AND '.join(conditions)}"


def _inventory_parquet(path: Path) -> str:
    with stoppable(duckdb.connect(":memory:")) as connection:
        return _columns(connection, f"read_parquet({quote(str(path))})", path)


def _beside(manifest: Path, key: str, digest: str) -> Path:
    """An inventory lies at CONFIG/DATE/manifest.json and CONFIG/data/…; copies are often put into one folder.

    Raises:
        ConfigurationError: the file is not there, or not the one the manifest means.
    """
    name = key.rpartition("/")[2]
    folder = manifest.absolute().parent
    places = [folder / name, folder / "data" / name, folder.parent / "data" / name, *(p / key for p in folder.parents)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigurationError(
            f"{manifest} names {key}, which is not beside it.",
            hint="Copy the inventory with its data folder: rclone copy remote:bucket/inventory DIR",
        )
    with path.open("rb") as file:
        if hashlib.file_digest(file, "md5").hexdigest() != digest:
            raise ConfigurationError(f"{path} is not what {manifest} means: its MD5 differs.", hint="Copy it again.")
    return path
