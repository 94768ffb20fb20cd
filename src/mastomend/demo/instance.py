"""A simulated instance: a real database with Mastodon's schema, a real storage, and a `.env.production` that names both.

Records are stored the way Mastodon stores them: the origin's bytes go through the same rules, land under the same keys,
and the row says what Mastodon's row would say.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from mastomend.demo.services import S3Server
from mastomend.images.styles import Produced, produce
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.keys import ORIGINAL, Record, expected_files
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, Kind, is_blank
from mastomend.mastodon.processing import EXTENSIONS, image_rules
from mastomend.mastodon.versions import RELEASES, Version

VERSIONS = tuple(release.name for release in RELEASES)
_SCHEMA = Path(__file__).with_name("schema")
BUCKET = "mastodon-media"


def create_database(socket_dir: str, name: str, version: str) -> None:
    """A database with the schema of that Mastodon version, copied from a template after the first time."""
    template = f"template_{version.replace('.', '_')}"
    with psycopg.connect(host=socket_dir, user="postgres", dbname="postgres", autocommit=True) as server:
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone():
            server.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(template)))
            with psycopg.connect(host=socket_dir, user="postgres", dbname=template, autocommit=True) as fresh:
                for step in VERSIONS[: VERSIONS.index(version) + 1]:
                    text = (_SCHEMA / f"{step}.sql").read_text(encoding="utf-8")
                    fresh.execute(text)
                _add_foreign_keys(fresh, version)
        server.execute(
            psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                psycopg.sql.Identifier(name), psycopg.sql.Identifier(template)
            )
        )


def _add_foreign_keys(database: psycopg.Connection[Any], version: str) -> None:
    """Every foreign key of that version (facts §13.2a). A table of which no more is known than its keys has no more.

    Rails gives each an index. Here those have one that may be filled: without, deleting one row reads the whole table that may
    refer to it; an index on an empty table is one more file in each of hundreds of databases.
    """
    with (_SCHEMA / "foreign_keys.tsv").open(encoding="utf-8", newline="") as file:
        keys = list(csv.DictReader(file, delimiter="\t"))
    column = next(name for name in keys[0] if name.startswith(version))  # 4.7a: its source was an alpha's
    present = [row for row in keys if row[column] != "-"]
    targets = {row["target"] for row in present}
    statements = [f"CREATE TABLE IF NOT EXISTS {one} (id bigint PRIMARY KEY)" for one in sorted(targets)]
    for row in present:
        table, name = row["table"], row["column"]
        statements += [
            f"CREATE TABLE IF NOT EXISTS {table} ()",
            f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} bigint",
            f"ALTER TABLE {table} ADD FOREIGN KEY ({name}) REFERENCES {row['target']} ON DELETE {_ON_DELETE[row[column]]}",
        ]
        if table in _FILLED:
            statements.append(f"CREATE INDEX ON {table} ({name}) WHERE {name} IS NOT NULL")
    database.execute(";\n".join(statements))


#: Tables that tests and benches may fill.
_FILLED = (
    "accounts", "bookmarks", "favourites", "follows", "media_attachments", "mentions", "notifications", "polls", "quotes",
    "status_edits", "status_stats", "statuses", "statuses_tags",
)  # fmt: skip
_ON_DELETE = {"cascade": "CASCADE", "nullify": "SET NULL", "NO ACTION": "NO ACTION"}


class Media:
    """Direct access to the storage, as vandals and Mastodon itself have it: no safety here."""

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Remove a key."""
        raise NotImplementedError

    def read(self, key: str) -> bytes | None:
        """The bytes, None if there are none."""
        raise NotImplementedError

    def keys(self) -> set[str]:
        """Everything there is."""
        raise NotImplementedError


class DiskMedia(Media):
    """Media in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".writing")
        temporary.write_bytes(data)
        temporary.replace(path)

    def delete(self, key: str) -> None:
        (self.root / key).unlink()

    def read(self, key: str) -> bytes | None:
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def keys(self) -> set[str]:
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}


class BucketMedia(Media):
    """Media in a bucket."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self.bucket = bucket
        self.client = server.client()
        self.client.create_bucket(Bucket=bucket)

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def read(self, key: str) -> bytes | None:
        try:
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def keys(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {o["Key"] for page in pages for o in page.get("Contents", [])}


@dataclass(slots=True)
class SimulatedInstance:
    """The instance. `files` is the truth: every key the database expects, with the bytes that belong there."""

    folder: Path
    version: str
    db: psycopg.Connection[dict[str, Any]]
    media: Media
    env: Path
    key_prefix: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    _next: int = 0
    _columns: dict[str, set[str]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """A state directory of its own."""
        return self.folder / "state"

    def columns(self, table: str) -> set[str]:
        """The table's columns in this version."""
        if table not in self._columns:
            rows = self.db.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
            self._columns[table] = {row["column_name"] for row in rows}
        return self._columns[table]

    def insert(self, table: str, **values: object) -> int:
        """Insert a row; columns this version lacks are left out, time stamps filled in. The new id."""
        known = self.columns(table)
        row = {k: v for k, v in values.items() if k in known}
        for name in ("created_at", "updated_at"):
            if name in known:
                row.setdefault(name, "2026-01-01 00:00:00")
        columns, holes = ", ".join(f'"{c}"' for c in row), ", ".join(["%s"] * len(row))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({holes}) RETURNING id"
        found = self.db.execute(sql, list(row.values())).fetchone()
        assert found is not None
        return int(found["id"])

    def somebody(self, username: str = "somebody", **values: object) -> int:
        """An account without pictures, for whatever must belong to one. Its id."""
        return self.insert("accounts", username=username, uri=f"x:{username}", **values)

    def name(self, extension: str) -> str:
        """A new file name: 16 hexadecimal digits and the extension."""
        self._next += 1
        return f"{self._next * 0x9E3779B97F4A7C15 % 2**64:016x}.{extension}"

    def produced(self, kind: Kind, data: bytes) -> Produced:
        """What this version of Mastodon makes of a downloaded image."""
        rules = image_rules(kind, Version(self.version, ""), Limits())
        assert rules is not None
        return produce(kind, rules, data)

    def attachment(self, kind: Kind, made: Produced, file_name: str, version: int | None = 1) -> dict[str, object]:
        """The attachment's columns for what was made."""
        return {
            kind.column("file_name"): file_name,
            kind.column("content_type"): made.content_type,
            kind.column("file_size"): len(made.original),
            kind.column("updated_at"): "2026-01-01 00:00:00",
            kind.version_column: version,
        }

    def store(self, kind: Kind, record: Record, content: Mapping[str, bytes]) -> list[str]:
        """Write the record's files; the keys, `original` first."""
        keys = []
        for file in expected_files(kind, record, self.key_prefix):
            self.media.write(file.key, content[file.style])
            self.files[file.key] = content[file.style]
            keys.append(str(file.key))
        return keys

    def add_image(
        self,
        kind: Kind,
        data: bytes,
        *,
        remote_url: str | None = None,
        domain: str | None = None,
        record_id: int | None = None,
        version: int | None = 1,
        file_name: str | None = None,
        **values: object,
    ) -> tuple[int, list[str]]:
        """A row with one image attachment, stored. Its id and its keys. `domain` None means local."""
        made = self.produced(kind, data)
        file_name = file_name or self.name(EXTENSIONS[made.content_type][0])
        if kind.version_column not in self.columns(kind.table):
            version = None
        row = self.attachment(kind, made, file_name, version) | values
        if record_id is not None:
            row["id"] = record_id
        if kind.table in ("accounts", "custom_emojis"):
            row["domain"] = domain
        if kind.remote_url and remote_url is not None:
            row[kind.remote_url] = remote_url
        if kind in (MEDIA_FILES, MEDIA_THUMBNAILS):
            row["blurhash"] = made.blurhash
            row["file_meta"] = json.dumps({style: size.meta() for style, size in made.sizes.items()})
            row.setdefault("type", 0)
            row.setdefault("processing", 2)
        new = self.insert(kind.table, **row)
        local = (
            domain is None
            if kind.table in ("accounts", "custom_emojis")
            else is_blank(cast("str | None", row.get("remote_url")))
        )
        record = Record(new, local, file_name, made.content_type, len(made.original), version)
        return new, self.store(kind, record, made.files)

    def add_plain(self, kind: Kind, data: bytes, file_name: str, content_type: str, **values: object) -> list[str]:
        """A row whose file is stored as it is (backups, imports, audio, video)."""
        row: dict[str, object] = {
            kind.column("file_name"): file_name,
            kind.column("content_type"): content_type,
            kind.column("file_size"): len(data),
            **values,
        }
        has_version = kind.version_column in self.columns(kind.table)
        if has_version:
            row.setdefault(kind.version_column, 1)
        new = self.insert(kind.table, **row)
        var = row.get("var")
        record = Record(
            new,
            is_blank(cast("str | None", row.get("remote_url"))),
            file_name,
            content_type,
            len(data),
            cast("int | None", row.get(kind.version_column)) if has_version else None,
            str(var) if var else None,
        )
        styles = {file.style: data for file in expected_files(kind, record, self.key_prefix)}
        return self.store(kind, record, {**styles, ORIGINAL: data})


@contextmanager
def simulated_instance(
    folder: Path,
    socket_dir: str,
    version: str,
    *,
    s3: S3Server | None = None,
    name: str = "mastodon_production",
    bucket: str = BUCKET,
    key_prefix: str = "",
    redis_port: int | None = None,
) -> Iterator[SimulatedInstance]:
    """A fresh, empty instance of that version in `folder`; its database and files stay after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    create_database(socket_dir, name, version)
    lines = [
        "# The simulated instance's settings, in Mastodon's own words.",
        "LOCAL_DOMAIN=example.social",
        f"DB_HOST={socket_dir}",
        "DB_USER=postgres",
        f"DB_NAME={name}",
        *(
            ["# Nobody listens here: the simulated instance has no Redis.", "REDIS_PORT=1"]
            if redis_port is None
            else [f"REDIS_PORT={redis_port}"]
        ),
        "# The simulated fediverse lives on loopback addresses.",
        "ALLOWED_PRIVATE_ADDRESSES=127.0.0.0/8",
    ]
    media: Media
    if s3 is None:
        root = folder / "public" / "system"
        media = DiskMedia(root)
        lines.append(f"PAPERCLIP_ROOT_PATH={root}")
    else:
        media = BucketMedia(s3, bucket)
        lines += [
            "S3_ENABLED=true",
            f"S3_BUCKET={bucket}",
            f"S3_ENDPOINT={s3.endpoint}",
            f"AWS_ACCESS_KEY_ID={s3.access_key_id}",
            f"AWS_SECRET_ACCESS_KEY={s3.secret_access_key}",
            *([f"S3_KEY_PREFIX={key_prefix}"] if key_prefix else []),
        ]
    env = folder / ".env.production"
    env.write_text("\n".join(lines) + "\n", encoding="utf-8")
    connection = psycopg.connect(host=socket_dir, user="postgres", dbname=name, autocommit=True, row_factory=dict_row)
    made = SimulatedInstance(folder, version, connection, media, env, key_prefix)
    try:
        yield made
    finally:
        made.db.close()
