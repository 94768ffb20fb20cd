"""How Mastodon's rows are asked for, as SQL for PostgreSQL: which columns make a record, who is local, whose a row is. Pure.

All of a kind as columns for the join, a few again in full, those whose ids are near a key's. A column the schema lacks becomes
NULL, so a server in the middle of an upgrade is read as it is (facts §13.3). "Local" is decided in PostgreSQL (facts §1), so
URLs never leave it for sound records.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mastomend.mastodon.clearing import changed_by_repair, emptied
from mastomend.mastodon.columnar import scan_columns
from mastomend.mastodon.kinds import BLANK_CHARACTERS, EMOJIS, PREVIEW_CARDS, Kind, Owner, RemoteRule
from mastomend.mastodon.selection import EVERYTHING, HOST_OF_PAGE, Selection, conditions

#: What stands before the names of the columns a change may set.
GUARDED = "now_"


@dataclass(frozen=True, slots=True)
class Schema:
    """What of a table is really there, and how text is kept: PostgreSQL's name of the encoding.

    `keeps_bytes`: no encoding is checked, what is in it need not be text. `shows_versions`: a row's xmax may be looked at.
    """

    columns: Collection[str]
    encoding: str = "UTF8"
    keeps_bytes: bool = False
    shows_versions: bool = True


def must_see(
    kinds: Sequence[Kind], selection: Selection = EVERYTHING, *, described: bool = False
) -> dict[str, set[str]]:
    """The columns of each table that a scan of those kinds cannot do without; `described` as in `scan_sql`."""
    needs: dict[str, set[str]] = {}

    def need(table: str, *columns: str) -> None:
        needs.setdefault(table, set()).update(columns)

    for kind in kinds:
        need(kind.table, "id", *(kind.column(suffix) for suffix in ("file_name", "content_type", "file_size")))
        if kind.remote_url:
            need(kind.table, kind.remote_url)
        if kind.has_var:
            need(kind.table, "var")
        if described:
            need(kind.table, "created_at", "updated_at", kind.column("updated_at"))
            need(kind.table, *(["status_id"] if kind.owner is Owner.ACCOUNT_ID else []))
            need(kind.table, *(["url"] if kind is PREVIEW_CARDS else []))
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
        for table, columns in selection.needs(kind).items():
            need(table, *columns)
    return needs


def must_see_to_repair(
    kinds: Sequence[Kind], selection: Selection = EVERYTHING, *, limited: bool
) -> dict[str, set[str]]:
    """What a repair reads besides: whom it may ask (the allow-list, where federation is limited), and for what."""
    needs = must_see(kinds, selection)
    more: dict[str, set[str]] = {"domain_blocks": {"domain", "severity", "reject_media"}}
    more |= {"domain_allows": {"domain"}} if limited else {}
    tables = {kind.table for kind in kinds}
    if "accounts" in tables:
        more["accounts"] = {"uri"}
    if "custom_emojis" in tables:
        more["custom_emojis"] = {"uri", "shortcode", "domain"}
    if "preview_cards" in tables:
        more["preview_cards"] = {"url"}
    if "media_attachments" in tables:
        more["media_attachments"] = {"status_id", "blurhash", "remote_url"}
        more["statuses"] = {"id", "uri", "ordered_media_attachment_ids"}
    for table, columns in more.items():
        needs.setdefault(table, set()).update(columns)
    return needs


def literal(text: str, encoding: str) -> str:
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


def is_local(kind: Kind, alias: str, encoding: str) -> str:
    match kind.remote:
        case RemoteRule.DOMAIN:
            return f"{alias}.domain IS NULL"
        case RemoteRule.REMOTE_URL:
            return f"btrim(coalesce({alias}.remote_url, ''), {literal(BLANK_CHARACTERS, encoding)}) = ''"
        case RemoteRule.ALWAYS:
            return "false"
        case RemoteRule.NEVER:
            return "true"


def record_columns(kind: Kind, schema: Schema, alias: str = "t") -> dict[str, str]:
    """The columns of a `Record` after the id, each with its expression."""
    has_version = kind.has_version_column and kind.version_column in schema.columns
    return {
        "is_local": is_local(kind, alias, schema.encoding),
        "file_name": f"{alias}.{kind.column('file_name')}::text",
        "content_type": f"{alias}.{kind.column('content_type')}::text",
        "file_size": f"{alias}.{kind.column('file_size')}::int8",
        "version": f"{alias}.{kind.version_column}::int4" if has_version else "NULL::int4",
        "var": f"{alias}.var::text" if kind.has_var else "NULL::text",
    }


def scan_sql(
    kinds: Sequence[Kind], schema: Schema, selection: Selection = EVERYTHING, *, described: bool = False
) -> str:
    """The selected records of one table's kinds that name a file: the columns `mastodon.columnar` takes, and no others.

    `described`: also whose they are and how old: `is_local`, `domain` (of a card: its page's server), `account`, `status`,
    `created`, `touched` (the row) and, for kind number i, `updated_i` (the file) and whether it is `fetchable_i`: there is an
    address. Times in seconds since 1970, NULL where the schema does not say.
    """
    table = kinds[0].table
    selected = ["t.id::int8 AS id"]
    for i, kind in enumerate(kinds):
        columns = scan_columns(kind, record_columns(kind, schema))
        if schema.keeps_bytes:  # what is in it may be no text; see `as_read`
            columns["file_name"] = f"convert_to({columns['file_name']}, 'SQL_ASCII')"
        selected += [f"{expression} AS {name}_{i}" for name, expression in columns.items()]
    if described:
        selected += _description(kinds, schema)
    names_a_file = " OR ".join(f"t.{kind.column('file_name')} <> ''" for kind in kinds)
    where = " AND ".join(f"({one})" for one in (names_a_file, *_chosen(kinds[0], schema, selection)))
    return f"SELECT {', '.join(selected)} FROM {table} t WHERE {where}"


def _chosen(kind: Kind, schema: Schema, selection: Selection) -> list[str]:
    return conditions(
        kind, selection, lambda text: literal(text, schema.encoding), is_local(kind, "t", schema.encoding)
    )


def selected_ids_sql(kind: Kind, schema: Schema, selection: Selection) -> str:
    """The ids of what is selected, whether it names a file or not."""
    where = " AND ".join(f"({one})" for one in _chosen(kind, schema, selection))
    return f"SELECT t.id::int8 AS id FROM {kind.table} t WHERE {where or 'true'}"


def _description(kinds: Sequence[Kind], schema: Schema) -> list[str]:
    domain = {
        Owner.ACCOUNT: "t.domain",
        Owner.DOMAIN: "t.domain",
        Owner.ACCOUNT_ID: "(SELECT a.domain FROM accounts a WHERE a.id = t.account_id)",
        Owner.NONE: HOST_OF_PAGE if kinds[0] is PREVIEW_CARDS else "NULL",
    }[kinds[0].owner]
    account = {Owner.ACCOUNT: "t.id", Owner.ACCOUNT_ID: "t.account_id"}.get(kinds[0].owner, "NULL")

    def seconds(column: str) -> str:
        return f"extract(epoch FROM t.{column})::int8" if column in schema.columns else "NULL::int8"

    return [
        f"({is_local(kinds[0], 't', schema.encoding)})::bool AS is_local",
        f"{domain}::text AS domain",
        f"{account}::int8 AS account",
        f"{'t.status_id' if kinds[0].owner is Owner.ACCOUNT_ID else 'NULL'}::int8 AS status",
        f"{seconds('created_at')} AS created",
        f"{seconds('updated_at')} AS touched",
        *(f"{seconds(kind.column('updated_at'))} AS updated_{i}" for i, kind in enumerate(kinds)),
        *(f"{_has_address(kind, schema)} AS fetchable_{i}" for i, kind in enumerate(kinds)),
    ]


def _has_address(kind: Kind, schema: Schema) -> str:
    """Whether Mastodon knows where the file came from. A cover comes with its attachment, a card's picture with its page."""
    if kind is PREVIEW_CARDS:
        return "true"
    url = "remote_url" if kind.owner is Owner.ACCOUNT_ID else kind.remote_url
    if url is None:
        return "false"
    return f"(btrim(coalesce(t.{url}, ''), {literal(BLANK_CHARACTERS, schema.encoding)}) <> '')"


def as_read(kinds: Sequence[Kind], schema: Schema) -> str:
    """The columns of a batch of `scan_sql` as DuckDB keeps them. A name that is no text becomes one that is unsafe."""
    if not schema.keeps_bytes:
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


def detail_sql(kind: Kind, schema: Schema, *, guarded: bool = False) -> str:
    """Records by id, in full: one parameter, an array of ids. `guarded`: with the columns a change may set, as text."""
    _, join, domain, suspended = _owner_of(kind)
    url = f"t.{kind.remote_url}" if kind.remote_url else "NULL"
    media_type = "t.type" if kind.owner is Owner.ACCOUNT_ID else "NULL"
    name = kind.column("file_name")
    columns = record_columns(kind, schema)
    changed = [one for one in changed_by_repair(kind) if one in schema.columns] if guarded else []
    also = "".join(f", t.{one}::text AS {GUARDED}{one}" for one in changed)
    record = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    # with rights on single columns only, nobody may look at xmax
    in_flight = _IN_FLIGHT if schema.shows_versions else "false"
    return (
        f"SELECT t.id::int8 AS id, {record}, {domain}::text AS domain, "
        f"{url}::text AS remote_url, coalesce({suspended}, false) AS suspended, {in_flight} AS in_flight, "
        f"{media_type}::int4 AS media_type{also} "
        f"FROM {kind.table} t {join} WHERE t.id = ANY(%s) AND t.{name} IS NOT NULL AND t.{name} <> ''"
    )


def evictable_sql(kinds: Sequence[Kind], schema: Schema) -> str:
    """Rows of one table's kinds by id (one parameter, an array of ids) that name a file of one of them.

    For kind number i the columns of a `Record` with `_i` behind them; `now_…` are the columns that are emptied with it, as
    text; `used` as Mastodon's own retention counts age, in seconds since 1970.
    """
    first = kinds[0]
    own, join, domain, suspended = _owner_of(first)
    selected = ["t.id::int8 AS id"]
    for i, kind in enumerate(kinds):
        selected += [f"{sql} AS {name}_{i}" for name, sql in record_columns(kind, schema).items()]
        selected += [f"t.{column}::text AS {GUARDED}{column}" for column in emptied(kind)]
    of_row = first.owner is Owner.ACCOUNT_ID or first is PREVIEW_CARDS
    moments = ["t.created_at", "t.updated_at"] if of_row else [f"t.{first.column('updated_at')}"]
    used = f"extract(epoch FROM greatest({', '.join(moments)}))::int8"
    url = f"t.{first.remote_url}" if first.remote_url else "NULL"
    in_flight = _IN_FLIGHT if schema.shows_versions else "false"
    named = " OR ".join(f"t.{kind.column('file_name')} <> ''" for kind in kinds)
    return (
        f"SELECT {', '.join(selected)}, {used} AS used, {own} AS post, {domain}::text AS domain, {url}::text AS remote_url, "
        f"coalesce({suspended}, false) AS suspended, {in_flight} AS in_flight, "
        f"{'(t.account_id IS NOT NULL AND a.domain IS NULL)' if join else 'false'} AS ours"
        f"{', t.shortcode' if first is EMOJIS else ''} FROM {first.table} t {join} WHERE t.id = ANY(%s) AND ({named})"
    )


def _owner_of(kind: Kind) -> tuple[str, str, str, str]:
    """The post a row belongs to, the join with its account, the domain and whether the account is suspended."""
    match kind.owner:
        case Owner.ACCOUNT:
            return "NULL::int8", "", "t.domain", "(t.suspended_at IS NOT NULL AND t.id <> -99)"
        case Owner.ACCOUNT_ID:
            join = "LEFT JOIN accounts a ON a.id = t.account_id"
            return "t.status_id::int8", join, "a.domain", "(a.suspended_at IS NOT NULL)"
        case Owner.DOMAIN:
            return "NULL::int8", "", "t.domain", "false"
        case _:
            return "NULL::int8", "", "NULL", "false"


def near_sql(kind: Kind, schema: Schema) -> str:
    """Records whose ids are in one of some inclusive ranges: two parameters, arrays of their ends."""
    record = ", ".join(f"{expression} AS {column}" for column, expression in record_columns(kind, schema).items())
    name = kind.column("file_name")
    return (
        f"SELECT t.id::int8 AS id, {record} FROM unnest(%s::int8[], %s::int8[]) AS near(low, high) "
        f"JOIN {kind.table} t ON t.id BETWEEN near.low AND near.high WHERE t.{name} IS NOT NULL AND t.{name} <> ''"
    )


def emptied_sql(kind: Kind) -> str:
    """Those of some records (one parameter, an array of ids) that exist and name no file."""
    name = kind.column("file_name")
    return f"SELECT id::int8 AS id FROM {kind.table} WHERE id = ANY(%s) AND coalesce({name}, '') = ''"


def addresses_sql(kind: Kind) -> str | None:
    """Where else the origins of records (one parameter, an array of ids) can be asked; None where there is nothing to ask."""
    return _statement(f"addresses_of_{kind.table}")


def names_sql(kind: Kind, *, with_posts: bool = True) -> str | None:
    """What people call records (one parameter, an array of ids), and where they are seen; None: nothing."""
    alone = "" if with_posts else "_without_posts"
    return (_statement(f"names_of_{kind.table}{alone}") if alone else None) or _statement(f"names_of_{kind.table}")


def _statement(name: str) -> str | None:
    file = Path(__file__).with_name("sql") / f"{name}.sql"
    return file.read_text(encoding="utf-8") if file.exists() else None
