"""What ties records to people here, from the database: `mastodon.relationships` says where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mastomend.database.reader import MastodonDatabase
from mastomend.mastodon.relationships import Of, Place, of_these_sql, places


@dataclass(frozen=True, slots=True)
class Tie:
    """One record is tied by that relationship; since when in seconds since 1970, None if the table does not say."""

    relationship: str
    id: int
    at: int | None


def places_here(database: MastodonDatabase, of: Of) -> tuple[Place, ...]:
    """The places of that sort this database has.

    Raises:
        DatabaseError: one of them may not be read: whoever is tied there could not be spared.
    """
    here = _here(database, [of])
    database.require(_needs(here))
    return here


def needs_here(database: MastodonDatabase, sorts: Iterable[Of]) -> dict[str, set[str]]:
    """All tables and columns that tell of ties of those sorts in this database."""
    return _needs(_here(database, sorts))


def _here(database: MastodonDatabase, sorts: Iterable[Of]) -> tuple[Place, ...]:
    known = [place for of in sorts for place in places(of)]
    database.look_at(table for place in known for table in (*place.needs, place.since[0]))
    return tuple(place for place in known if _exists(database, *place.since))


def _needs(here: Iterable[Place]) -> dict[str, set[str]]:
    needs: dict[str, set[str]] = {}
    for place in here:
        for table, columns in place.needs.items():
            needs.setdefault(table, set()).update(columns)
    return needs


def _exists(database: MastodonDatabase, table: str, column: str | None) -> bool:
    found = database.table(table)
    return found.exists and (column is None or column in found.columns)


def ties_of(database: MastodonDatabase, those: Sequence[Place], ids: Sequence[int]) -> list[Tie]:
    """What ties those records in those places now.

    Raises:
        DatabaseError: the connection is lost.
    """
    asked = [place for place in those if not place.once]
    rows = database.query(of_these_sql(asked), [list(ids)] * len(asked)) if asked and ids else []
    return [Tie(row["relationship"], row["id"], row["at"]) for row in rows]


def card_posts(database: MastodonDatabase, cards: Sequence[int]) -> list[tuple[int, int]]:
    """The posts that show those preview cards, as (card, post)."""
    sql = (
        "SELECT preview_card_id AS card, status_id AS post FROM preview_cards_statuses WHERE preview_card_id = ANY(%s)"
    )
    return [(row["card"], row["post"]) for row in database.query(sql, [list(cards)])]
