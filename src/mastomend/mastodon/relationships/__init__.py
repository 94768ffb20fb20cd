"""What ties something cached to people here: every place in Mastodon's tables that says that somebody cares. Pure.

Each place is one SQL file of `id, at`: what is tied, and since when (NULL where the table does not say). Its name is the
*relationship*, after a dot what tells several places of one apart. A file says which columns it needs; where its first table
(or the column it names as `since`) does not exist, this version of Mastodon has no such place. Sources: facts §8.3, §13.2a.

All ties are read at once before anything is decided, and those of a few records again right before these are touched. A place
marked `once` is not read again: it says why that is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path


class Of(Enum):
    """What is tied; the value is the folder its places are in."""

    POST = "posts"
    ACCOUNT = "accounts"
    CARD = "cards"
    EMOJI = "emojis"


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `needs` are columns by table; `since` is the table, or the column of it, without which there is none."""

    of: Of
    relationship: str
    words: str
    needs: Mapping[str, Collection[str]]
    since: tuple[str, str | None]
    once: bool
    sql: str


@cache
def places(of: Of) -> tuple[Place, ...]:
    """Every place of that sort, in the order of their names."""
    folder = Path(__file__).with_name(of.value)
    return tuple(_place(of, file.stem, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql")))


def relationships(of: Of | None = None) -> tuple[str, ...]:
    """The names of all relationships, or of those of one sort; each once."""
    sorts = Of if of is None else (of,)
    return tuple(dict.fromkeys(place.relationship for sort in sorts for place in places(sort)))


def _place(of: Of, stem: str, text: str) -> Place:
    lines = text.splitlines()
    said = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    tables = [one.split(": ") for one in said[1].removeprefix("needs ").split("; ")]
    needs = {table: frozenset(columns.split(", ")) for table, columns in tables}
    since = next((line.removeprefix("since ") for line in said if line.startswith("since ")), tables[0][0])
    table, _, column = since.partition(".")
    sql = "\n".join(line for line in lines if not line.startswith("--"))
    is_once = any(line.startswith("once: ") for line in said)
    return Place(of, stem.partition(".")[0], said[0], needs, (table, column or None), is_once, sql)


def all_sql(place: Place) -> str:
    """Everything tied there, each once: `id`, and `since` in seconds since 1970."""
    return (
        "SELECT id::int8 AS id, max(extract(epoch FROM at))::int8 AS since "
        f"FROM ({place.sql}) tied WHERE id IS NOT NULL GROUP BY 1"
    )


def of_these_sql(those: Iterable[Place]) -> str:
    """What of some records is tied in those places now: `relationship`, `id`, `at`. Each takes the same array of ids."""
    return " UNION ALL ".join(
        f"SELECT '{place.relationship}' AS relationship, id::int8 AS id, extract(epoch FROM at)::int8 AS at "
        f"FROM ({place.sql}) tied{i} WHERE id = ANY(%s)"
        for i, place in enumerate(those)
    )
