"""Rows of Mastodon's tables by id, as they are now; how they are asked for is `mastodon.rows_sql`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mastomend.database.reader import MastodonDatabase
from mastomend.database.visibility import IN_PSQL
from mastomend.errors import DatabaseError
from mastomend.mastodon.clearing import changed_by_repair
from mastomend.mastodon.jobs import emoji_cache_key, status_cache_keys
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import EMOJIS, IMPORTS, KINDS, Kind, RemoteRule
from mastomend.mastodon.rows_sql import (
    GUARDED,
    Schema,
    addresses_sql,
    detail_sql,
    emptied_sql,
    literal,
    must_see_to_repair,
    names_sql,
    near_sql,
    selected_ids_sql,
)
from mastomend.mastodon.selection import EVERYTHING, OwnPost, Selection, unknown_sql
from mastomend.vocabulary import Addresses, Place, Row


def schema_of(database: MastodonDatabase, kind: Kind) -> Schema:
    """What of the kind's table is there."""
    table = database.table(kind.table)
    return Schema(table.columns, database.encoding, database.keeps_bytes, table.is_readable)


def kinds_of(database: MastodonDatabase) -> tuple[Kind, ...]:
    """The kinds this instance's version has, whether they can be seen or not (`imports` went away in 4.4)."""
    database.look_at(kind.table for kind in KINDS)
    return tuple(
        kind
        for kind in KINDS
        if kind is not IMPORTS
        or database.version.has_imports
        or kind.column("file_name") in database.columns(kind.table)
    )


def unchangeable(database: MastodonDatabase, kinds: Sequence[Kind]) -> DatabaseError | None:
    """Why this user could not change what a repair of those kinds changes; None if it could."""
    return barred_from(
        database,
        [
            (kind.table, column)
            for kind in kinds
            if kind.remote is not RemoteRule.NEVER  # their files come back, their rows stay
            for column in changed_by_repair(kind)
        ],
    )


def require_to_repair(
    database: MastodonDatabase, kinds: Sequence[Kind], selection: Selection = EVERYTHING, *, limited: bool
) -> None:
    """May this user read all that a repair reads, what may change included: it is read right before?

    Raises:
        DatabaseError: it may not.
    """
    needs = must_see_to_repair(kinds, selection, limited=limited)
    for kind in kinds:
        there = schema_of(database, kind).columns
        needs.setdefault(kind.table, set()).update(one for one in changed_by_repair(kind) if one in there)
    database.require(needs)


def changes_anything(database: MastodonDatabase, kinds: Sequence[Kind]) -> bool:
    """Whether this user may change any column of the tables of those kinds."""
    (row,) = database.query(
        "SELECT coalesce(bool_or(has_any_column_privilege(to_regclass(quote_ident(t)), 'UPDATE')), false) AS may "
        "FROM unnest(%s::text[]) AS t",
        [[kind.table for kind in kinds]],
    )
    return bool(row["may"])


def barred_from(database: MastodonDatabase, columns_of: Iterable[tuple[str, str]]) -> DatabaseError | None:
    """Why this user could not change those columns (table, column) as far as they exist; None if it could."""
    wanted = [(table, column) for table, column in columns_of if column in database.columns(table)]
    tables, columns = [table for table, _ in wanted], [column for _, column in wanted]
    rows = database.query(
        "SELECT w.t AS name, string_agg(DISTINCT w.c, ', ') AS columns, quote_ident(current_user) AS who "
        "FROM unnest(%s::text[], %s::text[]) AS w(t, c) "
        "WHERE NOT has_column_privilege(to_regclass(quote_ident(w.t)), w.c, 'UPDATE') GROUP BY w.t ORDER BY w.t",
        [tables, columns],
    )
    if not rows:
        return None
    barred = ", ".join(row["name"] for row in rows)
    grants = [f"GRANT UPDATE ({row['columns']}) ON {row['name']} TO {row['who']};" for row in rows]
    return DatabaseError(f"{rows[0]['who']} may not change {barred}.", hint=IN_PSQL, statements=grants)


def read_rows(database: MastodonDatabase, kind: Kind, ids: Sequence[int], *, guarded: bool = False) -> dict[int, Row]:
    """The rows as they are now, by id; rows that are gone or name no file any more are left out.

    `guarded`: with the columns a change may set, as they are at that same moment.
    """
    found: dict[int, Row] = {}
    for row in database.query(detail_sql(kind, schema_of(database, kind), guarded=guarded), [list(ids)]):
        record = _record(row)
        found[record.id] = Row(
            record,
            row["domain"],
            row["remote_url"],
            row["suspended"],
            row["in_flight"],
            row["media_type"],
            {name.removeprefix(GUARDED): value for name, value in row.items() if name.startswith(GUARDED)},
        )
    return found


def unknown(database: MastodonDatabase, selection: Selection) -> list[str]:
    """The accounts and posts of a selection that are not there, as they were named."""
    database.require(
        (
            {"accounts": {"id", "username", "domain", *(("uri", "url") if selection.has_addresses else ())}}
            if selection.accounts or any(isinstance(one, OwnPost) for one in selection.statuses)
            else {}
        )
        | ({"statuses": {"id", "uri", "url", "account_id"}} if selection.statuses else {})
    )
    sql = unknown_sql(selection, lambda text: literal(text, database.encoding))
    return [row["name"] for row in database.query(sql)] if sql else []


def read_namesakes(database: MastodonDatabase, names: Sequence[str]) -> list[str]:
    """A few accounts that are called like those (`@user`, whatever their server), or else almost so on the same server."""
    users = [name.removeprefix("@").partition("@")[0].lower() for name in names]
    found = database.query(
        "SELECT username, domain FROM accounts WHERE lower(username) = ANY(%s) ORDER BY domain NULLS FIRST, id LIMIT 3",
        [users],
    )
    if not found:
        found = [row for name in names for row in _almost(database, name)]
    return [f"@{row['username']}{'' if row['domain'] is None else '@' + row['domain']}" for row in found[:3]]


def _almost(database: MastodonDatabase, name: str) -> list[dict[str, Any]]:
    """Accounts of that one's server whose name is a slip of the finger away from it."""
    user, _, domain = name.removeprefix("@").lower().partition("@")
    rows = database.query(
        "SELECT username, domain FROM accounts WHERE domain IS NOT DISTINCT FROM %s AND length(username) BETWEEN %s AND %s "
        "AND (lower(left(username, 1)) = %s OR lower(right(username, 1)) = %s) LIMIT 20000",
        [domain or None, len(user) - 2, len(user) + 2, user[:1], user[-1:]],
    )
    by_name = {row["username"].lower(): row for row in rows}
    return [by_name[one] for one in get_close_matches(user, by_name, cutoff=0.75)]


def read_selected_ids(database: MastodonDatabase, kind: Kind, selection: Selection) -> list[int]:
    """The ids of that kind's records that are selected."""
    return [row["id"] for row in database.query(selected_ids_sql(kind, schema_of(database, kind), selection))]


def has_accounts_of(database: MastodonDatabase, domains: Sequence[str]) -> bool:
    """Whether an account of each of those servers, or of a subdomain, is known; of no server all are."""
    asked = "SELECT EXISTS (SELECT 1 FROM accounts WHERE domain = %s OR domain LIKE %s) AS there"
    return all(database.query(asked, [domain, f"%.{domain}"])[0]["there"] for domain in domains)


def read_some_ids(database: MastodonDatabase, kind: Kind, number: int) -> list[int]:
    """Ids of so many records that name a file, from blocks taken at random; of a small table all may be among them."""
    rows = max(database.estimated_rows(kind.table), 1)
    percent = min(100.0, 100.0 * 10 * number / rows)
    name = kind.column("file_name")
    found = database.query(
        f"SELECT id::int8 AS id FROM {kind.table} TABLESAMPLE SYSTEM ({percent:.6f}) WHERE {name} <> '' LIMIT {int(number)}"
    )
    return [row["id"] for row in found]


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        row["id"], row["is_local"], row["file_name"], row["content_type"], row["file_size"], row["version"], row["var"]
    )


def read_in_ranges(database: MastodonDatabase, kind: Kind, ranges: Sequence[tuple[int, int]]) -> list[Record]:
    """The records whose ids are in one of those inclusive ranges and that name a file. A record may come twice."""
    rows = database.query(
        near_sql(kind, schema_of(database, kind)), [[low for low, _ in ranges], [high for _, high in ranges]]
    )
    return [_record(row) for row in rows]


def read_addresses(database: MastodonDatabase, kind: Kind, ids: Sequence[int]) -> dict[int, Addresses]:
    """Where else the records' origins can be asked, by id; a record of whom nothing is known is not in it."""
    query = addresses_sql(kind)
    rows = database.query(query, [list(ids)]) if query and ids else []
    return {row["id"]: _addresses(row) for row in rows}


def _addresses(row: Mapping[str, Any]) -> Addresses:
    place = None
    if row.get("position") is not None:
        place = Place(row["remote_url"] or "", row["blurhash"], int(row["position"]), int(row["total"]))
    return Addresses(row["document"] or None, row["page"] or None, place)


def read_names(
    database: MastodonDatabase, kind: Kind, ids: Sequence[int], *, with_posts: bool = True
) -> dict[int, tuple[str, str | None]]:
    """What people call the records, and where they are seen, by id; a record that is gone is not in it. Without posts it is
    told whose media are, and not where.
    """
    query = names_sql(kind, with_posts=with_posts)
    rows = database.query(query, [list(ids)]) if query and ids else []
    return {row["id"]: (row["name"], row["address"]) for row in rows if row["name"]}


def read_cached_under(database: MastodonDatabase, kind: Kind, record_id: int) -> tuple[str, ...]:
    """The cache keys (without the cache's prefix) under which Mastodon may hold that record's file names."""
    if kind is EMOJIS:
        rows = database.query("SELECT shortcode, domain FROM custom_emojis WHERE id = %s", [record_id])
        return tuple(emoji_cache_key(row["shortcode"], row["domain"]) for row in rows)
    if kind.table == "media_attachments":
        rows = database.query(
            "SELECT status_id FROM media_attachments WHERE id = %s AND status_id IS NOT NULL", [record_id]
        )
        return tuple(key for row in rows for key in status_cache_keys(row["status_id"], database.version))
    return ()


def read_emptied(database: MastodonDatabase, kind: Kind, ids: Sequence[int]) -> list[int]:
    """Those of the records that exist and name no file."""
    return [row["id"] for row in database.query(emptied_sql(kind), [list(ids)])]


def read_media_of_suspended(database: MastodonDatabase) -> list[int]:
    """The ids of attachments whose accounts are suspended: Mastodon hides their files (facts §1.1)."""
    database.require({"media_attachments": {"id", "account_id", "file_file_name"}, "accounts": {"id", "suspended_at"}})
    found = database.query(
        "SELECT m.id::int8 AS id FROM media_attachments m JOIN accounts a ON a.id = m.account_id "
        "WHERE a.suspended_at IS NOT NULL AND m.file_file_name <> '' ORDER BY m.id"
    )
    return [row["id"] for row in found]


def read_clock(database: MastodonDatabase) -> float:
    """What time it is there, in seconds since 1970."""
    return float(database.query("SELECT extract(epoch FROM clock_timestamp())::float8 AS at")[0]["at"])
