"""Cached records as they are now, with everything that letting their files go takes: names, columns, age, whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import schema_of
from mastomend.mastodon.jobs import emoji_cache_key, status_cache_keys
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import EMOJIS, Kind
from mastomend.mastodon.rows_sql import evictable_sql


@dataclass(frozen=True, slots=True)
class Cached:
    """A row: its attachments that name a file, all columns that are emptied with them as text, when it was last used (seconds
    since 1970) and which post it belongs to. `forget` are the keys under which Mastodon has cached its names.
    """

    id: int
    records: Mapping[Kind, Record]
    columns: Mapping[str, str | None]
    used: int | None
    post: int | None
    domain: str | None
    remote_url: str | None
    suspended: bool
    in_flight: bool
    is_ours: bool = False
    forget: tuple[str, ...] = field(default=())

    @property
    def is_local(self) -> bool:
        """Whether any of it is this server's own; what an own user brought along from elsewhere has an address, too."""
        return self.is_ours or any(record.is_local for record in self.records.values())


def read_evictable(database: MastodonDatabase, kinds: Sequence[Kind], ids: Sequence[int]) -> dict[int, Cached]:
    """The rows of one table by id, with the attachments of those kinds; a row that names none is left out.

    Raises:
        DatabaseError: they cannot be read.
    """
    rows = database.query(evictable_sql(kinds, schema_of(database, kinds[0])), [list(ids)])
    return {row["id"]: _cached(database, kinds, row) for row in rows}


def _cached(database: MastodonDatabase, kinds: Sequence[Kind], row: Mapping[str, Any]) -> Cached:
    fields = ("is_local", "file_name", "content_type", "file_size", "version", "var")
    records = {
        kind: Record(row["id"], *(row[f"{name}_{i}"] for name in fields))
        for i, kind in enumerate(kinds)
        if row[f"file_name_{i}"]
    }
    columns = {name.removeprefix("now_"): value for name, value in row.items() if name.startswith("now_")}
    forget: tuple[str, ...] = ()
    if kinds[0] is EMOJIS:
        forget = (emoji_cache_key(row["shortcode"], row["domain"]),)
    elif row["post"] is not None:
        forget = tuple(status_cache_keys(row["post"], database.version))
    return Cached(
        row["id"], records, columns, row["used"], row["post"], row["domain"], row["remote_url"], row["suspended"],
        row["in_flight"], row["ours"], forget,
    )  # fmt: skip
