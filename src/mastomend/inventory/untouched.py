"""Posts from elsewhere that are old enough and that nobody here has touched: read once, sorted out in the database engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mastomend.database.reader import MastodonDatabase
from mastomend.database.ties import places_here
from mastomend.inventory.workspace import scratch
from mastomend.mastodon.posts_sql import BOOSTS_SQL, candidates_sql
from mastomend.mastodon.relationships import Of, all_sql

_TOGETHER = 5_000


@dataclass(frozen=True, slots=True)
class Untouched:
    """What was found, for as long as the block: `old` posts may go as far as posts themselves tell, `number` of them were
    touched by nobody, boosts of them not counted, which go with them; `kept` are the others by what ties them, each under one.
    """

    connection: duckdb.DuckDBPyConnection
    old: int
    number: int
    kept: dict[str, int]

    def ids(self, limit: int | None = None) -> Iterator[int]:
        """Their ids, the oldest first, some thousands in memory at a time."""
        bound = "" if limit is None else f" LIMIT {int(limit)}"
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM free ORDER BY id{bound}")
            while rows := cursor.fetchmany(_TOGETHER):
                for (post,) in rows:
                    yield post


@contextmanager
def untouched(database: MastodonDatabase, cut_off: int, folder: Path, budget: int) -> Iterator[Untouched]:
    """Find them. A boost goes with what it boosts: a post stays whose boost does.

    Raises:
        DatabaseError: a place may not be read, or the connection is lost.
    """
    with scratch(folder, budget) as connection:
        connection.execute("CREATE TABLE old (id BIGINT)")
        connection.execute("CREATE TABLE ties (relationship VARCHAR, id BIGINT)")
        connection.execute("CREATE TABLE boosts (id BIGINT, boosted BIGINT)")
        for batch in database.rows(candidates_sql(cut_off)):
            connection.execute("INSERT INTO old SELECT id FROM batch")
            del batch
        for place in places_here(database, Of.POST):
            for batch in database.rows(all_sql(place)):
                connection.execute("INSERT INTO ties SELECT ?, id FROM batch", [place.relationship])
                del batch
        for batch in database.rows(BOOSTS_SQL):
            connection.execute("INSERT INTO boosts SELECT id, boosted FROM batch")
            del batch
        connection.execute("CREATE TABLE free AS SELECT id FROM old ANTI JOIN ties USING (id)")
        while _release(connection):
            pass
        kept = connection.execute(
            "SELECT coalesce(t.relationship, 'boost') AS why, count(*) FROM (SELECT id FROM old ANTI JOIN free USING (id)) o "
            "LEFT JOIN (SELECT id, min(relationship) AS relationship FROM ties GROUP BY id) t USING (id) "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        ((old,),) = connection.execute("SELECT count(*) FROM old").fetchall()
        connection.execute(
            "DELETE FROM free WHERE id IN (SELECT b.id FROM boosts b SEMI JOIN free f ON f.id = b.boosted)"
        )
        ((number,),) = connection.execute("SELECT count(*) FROM free").fetchall()
        yield Untouched(connection, int(old), int(number), {why: int(n) for why, n in kept})


def _release(connection: duckdb.DuckDBPyConnection) -> int:
    """Keep what is boosted by something that stays; how many that were."""
    connection.execute(
        "CREATE OR REPLACE TABLE held AS SELECT DISTINCT b.boosted AS id FROM boosts b SEMI JOIN free f ON f.id = b.boosted "
        "ANTI JOIN free o ON o.id = b.id"
    )
    connection.execute("DELETE FROM free WHERE id IN (SELECT id FROM held)")
    ((number,),) = connection.execute("SELECT count(*) FROM held").fetchall()
    return int(number)
