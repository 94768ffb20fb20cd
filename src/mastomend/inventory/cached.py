"""What is cached from elsewhere, and what ties it to people here: relations in a scan's workspace.

A *unit* is what goes together: an attachment with its thumbnail, an avatar, a header, a card's picture, an emoji's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mastomend.database.reader import MastodonDatabase
from mastomend.database.ties import needs_here, places_here
from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.mastodon.relationships import Of, all_sql

#: The kinds of each unit, by its name; the first one's row is the unit's.
UNITS: Mapping[str, tuple[Kind, ...]] = {
    "attachments": (MEDIA_FILES, MEDIA_THUMBNAILS),
    "avatars": (AVATARS,),
    "headers": (HEADERS,),
    "preview_cards": (PREVIEW_CARDS,),
    "emojis": (EMOJIS,),
}
#: What a unit's ties are about.
TIED: Mapping[str, Of] = {
    "attachments": Of.POST,
    "avatars": Of.ACCOUNT,
    "headers": Of.ACCOUNT,
    "preview_cards": Of.CARD,
    "emojis": Of.EMOJI,
}


#: What tells of a link's posts, and of servers that do not answer.
_CARD_POSTS = {"preview_cards_statuses": {"preview_card_id", "status_id"}}
_UNREACHABLE = {"unavailable_domains": {"domain"}}


def require(database: MastodonDatabase, units: Sequence[str]) -> None:
    """All that is read to judge those units may be read by this user.

    Raises:
        DatabaseError: some of it may not, with every GRANT that is needed.
    """
    needs = needs_here(database, _sorts(units))
    for more in (_UNREACHABLE, _CARD_POSTS if "preview_cards" in units else {}):
        for table, columns in more.items():
            needs.setdefault(table, set()).update(columns)
    database.require(needs)


def _sorts(units: Sequence[str]) -> list[Of]:
    wanted = {TIED[unit] for unit in units} | ({Of.POST, Of.ACCOUNT} if _needs_posts(units) else set())
    return sorted(wanted, key=lambda one: one.value)


def read_ties(work: Workspace, database: MastodonDatabase, units: Sequence[str]) -> None:
    """The relation `ties` (tied, relationship, id, since): all there are, of what those units are tied by. Read anew each time,
    also where a scan is gone on with; one may be in it twice.
    """
    connection = work.connection
    connection.execute("CREATE OR REPLACE TABLE ties (tied VARCHAR, relationship VARCHAR, id BIGINT, since BIGINT)")
    for of in _sorts(units):
        for place in places_here(database, of):
            for batch in database.rows(all_sql(place)):
                connection.execute("INSERT INTO ties SELECT ?, ?, id, since FROM batch", [of.value, place.relationship])
                del batch
    connection.execute("CREATE OR REPLACE TABLE card_posts (card BIGINT, post BIGINT)")
    if "preview_cards" in units:
        sql = "SELECT preview_card_id::int8 AS card, status_id::int8 AS post FROM preview_cards_statuses"
        for batch in database.rows(sql):
            connection.execute("INSERT INTO card_posts SELECT card, post FROM batch")
            del batch


def _needs_posts(units: Sequence[str]) -> bool:
    return "attachments" in units or "preview_cards" in units


def read_unreachable(work: Workspace, database: MastodonDatabase) -> None:
    """The relation `unreachable` (domain): servers Mastodon has given up delivering to."""
    domains = [row["domain"] for row in database.query("SELECT lower(domain) AS domain FROM unavailable_domains")]
    work.connection.execute("CREATE OR REPLACE TABLE unreachable (domain VARCHAR)")
    if domains:
        work.connection.execute("INSERT INTO unreachable SELECT DISTINCT unnest(?::VARCHAR[])", [domains])


def join(work: Workspace, tables: Sequence[Expected], units: Sequence[str], now: int) -> None:
    """The relation `cached`: every unit that is cached from elsewhere.

    `unit, id, files, bytes, missing, hidden (may not be looked at), used, domain, account, post, fetchable`; `used` is never
    later than `now`.
    """
    sources = [
        _unit_sql(table, unit)
        for unit in units
        for table in tables
        if UNITS[unit][0] in table.kinds and not table.is_empty
    ]
    kinds = ", ".join(f"({quote(kind.name)}, {quote(unit)})" for unit in units for kind in UNITS[unit])
    rows = " UNION ALL ".join(sources) or _NOTHING
    looked = "SELECT unit, id, max(since) AS since FROM looked GROUP BY ALL"
    work.connection.execute(
        f"""
        CREATE OR REPLACE TABLE cached AS
        WITH sizes AS (
            SELECT u.unit, w.id, count(*) FILTER (w.size >= 0) AS files, sum(greatest(w.size, 0))::BIGINT AS bytes,
                count(*) FILTER (w.size = -1) AS missing, count(*) FILTER (w.size < -1) AS hidden
            FROM weighed w JOIN (VALUES {kinds}) AS u(kind, unit) USING (kind) GROUP BY ALL
        )
        SELECT r.unit, r.id, s.files, s.bytes, s.missing, s.hidden, l.since AS looked,
            least({now}, greatest(coalesce(r.used, {now}), coalesce(l.since, 0))) AS used,
            lower(r.domain) AS domain, r.account, r.post, r.fetchable
        FROM ({rows}) r JOIN sizes s USING (unit, id) LEFT JOIN ({looked}) l USING (unit, id)
        """
    )


_NOTHING = (
    "SELECT NULL::VARCHAR AS unit, NULL::BIGINT AS id, NULL::BIGINT AS used, NULL::VARCHAR AS domain, "
    "NULL::BIGINT AS account, NULL::BIGINT AS post, NULL::BOOLEAN AS fetchable WHERE false"
)


def _unit_sql(table: Expected, unit: str) -> str:
    """As Mastodon's own retention counts age: of an attachment and a card by its row, of the others by the file."""
    i = table.kinds.index(UNITS[unit][0])
    by_row = unit in ("attachments", "preview_cards")
    used = "greatest(created, touched)" if by_row else f"coalesce(updated_{i}, touched, created)"
    named = " OR ".join(f"file_name_{table.kinds.index(kind)} <> ''" for kind in UNITS[unit] if kind in table.kinds)
    return (
        f"SELECT {quote(unit)} AS unit, id, {used} AS used, domain, account, status AS post, fetchable_{i} AS fetchable "
        f"FROM rows_{table.table} WHERE NOT is_local AND ({named})"
        # what an own user brought along from elsewhere has an address, and is theirs
        f"{' AND NOT (account IS NOT NULL AND domain IS NULL)' if unit == 'attachments' else ''}"
    )
