"""The two questions asked about rows: all of a kind as columns for the join, and a few again in full.

Both select what is really there: a column the schema lacks becomes NULL, so a server in the middle of an upgrade is
read as it is (facts §13.3). "Local" is decided in PostgreSQL (facts §1), so URLs never leave it for sound records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mastomend.database.reader import MastodonDatabase
from mastomend.mastodon.columnar import scan_columns
from mastomend.mastodon.jobs import emoji_cache_key, status_cache_keys
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import BLANK_CHARACTERS, EMOJIS, IMPORTS, KINDS, Kind, Owner, RemoteRule
from mastomend.vocabulary import Addresses, Place, Row


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


def must_see(kinds: Sequence[Kind]) -> dict[str, set[str]]:
    """The columns of each table that a scan of those kinds cannot do without."""
    needs: dict[str, set[str]] = {}

    def need(table: str, *columns: str) -> None:
        needs.setdefault(table, set()).update(columns)

    for kind in kinds:
        need(kind.table, "id", *(kind.column(suffix) for suffix in ("file_name", "content_type", "file_size")))
        if kind.remote_url:
            need(kind.table, kind.remote_url)
        if kind.has_var:
            need(kind.table, "var")
        match kind.owner:
            case Owner.ACCOUNT:
                need(kind.table, "domain", "suspended_at")
            case Owner.ACCOUNT_ID:
                need(kind.table, "account_id", "type", "remote_url")
                need("accounts", "id", "domain", "suspended_at")
            case Owner.DOMAIN:
                need(kind.table, "domain")
            case Owner.NONE:
                pass
    return needs


def _quote(text: str, encoding: str) -> str:
    """A literal of the characters that database can hold, in ASCII. Where it knows no encoding, of their bytes."""
    if encoding == "SQL_ASCII":
        return "E'" + "".join(f"\\{byte:03o}" for byte in text.encode()) + "'"
    if encoding != "UTF8":
        text = "".join(c for c in text if _is_in(c, encoding))
    escaped = "".join(c if " " < c < "\x7f" and c not in "'\\" else f"\\u{ord(c):04x}" for c in text)
    return f"E'{escaped}'"


def _is_in(character: str, encoding: str) -> bool:
    """Whether an encoding, by PostgreSQL's name of it, has that character. What Python does not know has ASCII."""
    try:
        character.encode(encoding.replace("WIN", "cp"))
    except (UnicodeEncodeError, LookupError):
        return character.isascii()
    return True


def _is_local(kind: Kind, alias: str, encoding: str) -> str:
    match kind.remote:
        case RemoteRule.DOMAIN:
            return f"{alias}.domain IS NULL"
        case RemoteRule.REMOTE_URL:
            return f"btrim(coalesce({alias}.remote_url, ''), {_quote(BLANK_CHARACTERS, encoding)}) = ''"
        case RemoteRule.ALWAYS:
            return "false"
        case RemoteRule.NEVER:
            return "true"


def _record_columns(kind: Kind, database: MastodonDatabase, alias: str) -> dict[str, str]:
    """The columns of a `Record` after the id, each with its expression."""
    has_version = kind.has_version_column and kind.version_column in database.columns(kind.table)
    return {
        "is_local": _is_local(kind, alias, database.encoding),
        "file_name": f"{alias}.{kind.column('file_name')}::text",
        "content_type": f"{alias}.{kind.column('content_type')}::text",
        "file_size": f"{alias}.{kind.column('file_size')}::int8",
        "version": f"{alias}.{kind.version_column}::int4" if has_version else "NULL::int4",
        "var": f"{alias}.var::text" if kind.has_var else "NULL::text",
    }


def scan_sql(kinds: Sequence[Kind], database: MastodonDatabase) -> str:
    """All records of one table's kinds that name a file: the columns `mastodon.columnar` takes, and no others."""
    table = kinds[0].table
    selected = ["t.id::int8 AS id"]
    for i, kind in enumerate(kinds):
        columns = scan_columns(kind, _record_columns(kind, database, "t"))
        if database.keeps_bytes:  # what is in it may be no text; see `as_read`
            columns["file_name"] = f"convert_to({columns['file_name']}, 'SQL_ASCII')"
        selected += [f"{expression} AS {name}_{i}" for name, expression in columns.items()]
    names_a_file = " OR ".join(f"t.{kind.column('file_name')} <> ''" for kind in kinds)
    return f"SELECT {', '.join(selected)} FROM {table} t WHERE {names_a_file}"


def as_read(kinds: Sequence[Kind], database: MastodonDatabase) -> str:
    """The columns of a batch of `scan_sql` as DuckDB keeps them. A name that is no text becomes one that is unsafe."""
    if not database.keeps_bytes:
        return "*"
    names = (f"file_name_{i}" for i, _ in enumerate(kinds))
    changed = ", ".join(f"CASE WHEN {n} IS NOT NULL THEN coalesce(TRY(decode({n})), '/') END AS {n}" for n in names)
    return f"* REPLACE ({changed})"


# A row version that a running transaction has replaced or locked carries that transaction in xmax. Comparing it with
# the transactions in progress costs no lock and needs no rights.
# Those a snapshot lists are older than its xmax; one that is a little newer was begun by whoever runs right now.
_IN_FLIGHT = (
    "t.xmax::text <> '0' AND (t.xmax::text IN (SELECT (x::text::int8 & 4294967295)::text "
    "FROM pg_snapshot_xip(pg_current_snapshot()) x) OR mod(t.xmax::text::int8 - "
    "(pg_snapshot_xmax(pg_current_snapshot())::text::int8 & 4294967295) + 4294967296, 4294967296) < 1048576)"
)


def detail_sql(kind: Kind, database: MastodonDatabase) -> str:
    """Records by id, in full: one parameter, an array of ids."""
    join, domain, suspended = "", "NULL", "false"
    match kind.owner:
        case Owner.ACCOUNT:
            domain, suspended = "t.domain", "(t.suspended_at IS NOT NULL AND t.id <> -99)"
        case Owner.ACCOUNT_ID:
            join = "LEFT JOIN accounts a ON a.id = t.account_id"
            domain, suspended = "a.domain", "(a.suspended_at IS NOT NULL)"
        case Owner.DOMAIN:
            domain = "t.domain"
        case Owner.NONE:
            pass
    url = f"t.{kind.remote_url}" if kind.remote_url else "NULL"
    media_type = "t.type" if kind.owner is Owner.ACCOUNT_ID else "NULL"
    name = kind.column("file_name")
    columns = _record_columns(kind, database, "t")
    record = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    # with rights on single columns only, nobody may look at xmax
    in_flight = _IN_FLIGHT if database.table(kind.table).is_readable else "false"
    return (
        f"SELECT t.id::int8 AS id, {record}, {domain}::text AS domain, "
        f"{url}::text AS remote_url, coalesce({suspended}, false) AS suspended, {in_flight} AS in_flight, "
        f"{media_type}::int4 AS media_type "
        f"FROM {kind.table} t {join} WHERE t.id = ANY(%s) AND t.{name} IS NOT NULL AND t.{name} <> ''"
    )


def read_rows(database: MastodonDatabase, kind: Kind, ids: Sequence[int]) -> dict[int, Row]:
    """The rows as they are now, by id; rows that are gone or name no file any more are left out."""
    found: dict[int, Row] = {}
    for row in database.query(detail_sql(kind, database), [list(ids)]):
        record = _record(row)
        found[record.id] = Row(
            record,
            row["domain"],
            row["remote_url"],
            row["suspended"],
            row["in_flight"],
            row["media_type"],
        )
    return found


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        row["id"], row["is_local"], row["file_name"], row["content_type"], row["file_size"], row["version"], row["var"]
    )


def read_in_ranges(database: MastodonDatabase, kind: Kind, ranges: Sequence[tuple[int, int]]) -> list[Record]:
    """The records whose ids are in one of those inclusive ranges and that name a file. A record may come twice."""
    columns = _record_columns(kind, database, "t")
    record = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    name = kind.column("file_name")
    rows = database.query(
        f"SELECT t.id::int8 AS id, {record} FROM unnest(%s::int8[], %s::int8[]) AS near(low, high) "
        f"JOIN {kind.table} t ON t.id BETWEEN near.low AND near.high WHERE t.{name} IS NOT NULL AND t.{name} <> ''",
        [[low for low, _ in ranges], [high for _, high in ranges]],
    )
    return [_record(row) for row in rows]


_ADDRESSES = {
    "accounts": "SELECT t.uri AS document, NULL AS page FROM accounts t WHERE t.id = %s",
    "custom_emojis": "SELECT t.uri AS document, NULL AS page FROM custom_emojis t WHERE t.id = %s",
    "preview_cards": "SELECT NULL AS document, t.url AS page FROM preview_cards t WHERE t.id = %s",
    "media_attachments": """
SELECT s.uri AS document, NULL AS page, t.blurhash, t.remote_url,
       coalesce(array_position(s.ordered_media_attachment_ids, t.id),
                (SELECT count(*) FROM media_attachments m WHERE m.status_id = t.status_id AND m.id <= t.id)) - 1 AS position,
       coalesce(cardinality(s.ordered_media_attachment_ids),
                (SELECT count(*) FROM media_attachments m WHERE m.status_id = t.status_id)) AS total
FROM media_attachments t LEFT JOIN statuses s ON s.id = t.status_id WHERE t.id = %s""",
}


def read_addresses(database: MastodonDatabase, kind: Kind, record_id: int) -> Addresses:
    """Where else the record's origin can be asked; all None where there is nothing to ask."""
    query = _ADDRESSES.get(kind.table)
    rows = database.query(query, [record_id]) if query else []
    if not rows:
        return Addresses()
    row = rows[0]
    place = None
    if "position" in row and row["position"] is not None:
        place = Place(row["remote_url"] or "", row["blurhash"], int(row["position"]), int(row["total"]))
    return Addresses(row["document"] or None, row["page"] or None, place)


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
    name = kind.column("file_name")
    rows = database.query(
        f"SELECT id::int8 AS id FROM {kind.table} WHERE id = ANY(%s) AND coalesce({name}, '') = ''", [list(ids)]
    )
    return [row["id"] for row in rows]
