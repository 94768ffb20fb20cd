"""Posts that go, and come back: each batch is a transaction that locks, looks once more, hands out what goes, and deletes.

What refers to a post by a foreign key goes with it or is set to NULL, whatever version and fork: PostgreSQL's own catalogue
says which. All of that is handed to the archive before anything is deleted; the transaction ends when that is durable.
Locked posts cannot be touched meanwhile: a favourite, a boost, an answer refers to the post, and waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout

from mastomend.database.connection import Connection, Pool
from mastomend.database.reader import MastodonDatabase
from mastomend.database.visibility import IN_PSQL
from mastomend.errors import DatabaseError
from mastomend.mastodon.posts_sql import CLOSURE_SQL, REFERENCES_SQL, still_sql
from mastomend.mastodon.relationships import Place, of_these_sql

#: How long one batch may wait for a lock, and take.
_LIMITS = ("SET LOCAL lock_timeout = '2s'", "SET LOCAL statement_timeout = '60s'")
STATUSES = "statuses"
#: A lock that is held, or was wanted the other way round: it may be free a moment later.
_OF_THE_MOMENT = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.SerializationFailure,
)


#: The tables of which rows go with posts, or are changed when posts go; and what this user may not do there.
_RIGHTS_SQL = """
WITH RECURSIVE going(name) AS (
    SELECT to_regclass('statuses')::oid
    UNION
    SELECT c.conrelid FROM pg_constraint c JOIN going g ON c.confrelid = g.name WHERE c.contype = 'f' AND c.confdeltype = 'c'
), wanted(name, may) AS (
    SELECT name, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) FROM going
    UNION SELECT to_regclass('statuses')::oid, 'DELETE'
    UNION SELECT to_regclass('tombstones')::oid, 'SELECT'
    UNION SELECT c.conrelid, unnest(ARRAY['SELECT', 'UPDATE']) FROM pg_constraint c JOIN going g ON c.confrelid = g.name
          WHERE c.contype = 'f' AND c.confdeltype = 'n'
)
SELECT r.relname AS name, string_agg(w.may, ', ' ORDER BY w.may) AS lacking, quote_ident(current_user) AS who
FROM wanted w JOIN pg_class r ON r.oid = w.name WHERE NOT has_table_privilege(w.name, w.may)
GROUP BY r.relname ORDER BY r.relname
"""


def barred_from_posts(database: MastodonDatabase) -> DatabaseError | None:
    """Why this user could not archive and delete posts, and bring them back; None if it could."""
    rows = database.query(_RIGHTS_SQL)
    if not rows:
        return None
    grants = [f"GRANT {row['lacking']} ON {row['name']} TO {row['who']};" for row in rows]
    some = ", ".join(row["name"] for row in rows)
    return DatabaseError(
        f"{rows[0]['who']} may not archive and delete posts: it lacks rights in {some}.",
        hint=IN_PSQL,
        statements=grants,
    )


@dataclass(frozen=True, slots=True)
class Archived:
    """A row that goes with a post (`change` is `deleted`, `row` all of it as JSON), or that is changed when it goes (`changed`:
    `row` holds the columns that become NULL, `key` the row's id). `number` is the order in which rows come back.
    """

    post: int
    number: int
    name: str
    change: str
    key: int
    row: str


@dataclass(frozen=True, slots=True)
class _Reference:
    """That column of that table refers to the `target` column of another one."""

    name: str
    column: str
    target: str
    rule: str


class Posts:
    """Posts behind connections that may write. `places` tell who has touched one; they are asked for when first needed."""

    def __init__(self, pool: Pool, places: Callable[[], Sequence[Place]]) -> None:
        self._pool = pool
        self._look_up = places
        self._references: dict[str, list[_Reference]] = {}
        self._columns: dict[str, set[str]] = {}

    @cached_property
    def _places(self) -> list[Place]:
        return [place for place in self._look_up() if not place.once]

    def exists(self, post: int) -> bool:
        """Whether there is a post of that id."""
        with self._pool.connection() as connection:
            return connection.execute("SELECT 1 FROM statuses WHERE id = %s", [post]).fetchone() is not None

    def delete(
        self, posts: Sequence[int], cut_off: int, keep: Callable[[Sequence[Archived]], None]
    ) -> list[str | None]:
        """Delete them with everything that goes with them. One answer for each: None, or why it stays, in words.

        Raises:
            DatabaseError: the connection is lost, or this user may not delete; nothing was deleted then.
        """
        return self._in_one(len(posts), lambda connection: self._delete(connection, posts, cut_off, keep))

    def restore(self, posts: Sequence[int], rows: Sequence[Archived]) -> list[str | None]:
        """Bring them back, with their ids. One answer for each: None, or why it could not be."""
        by_post: dict[int, list[Archived]] = {}
        for row in sorted(rows, key=lambda one: one.number):
            by_post.setdefault(row.post, []).append(row)

        def bring_back(connection: Connection) -> list[str | None]:
            """One may refer to another of them: those that were refused are tried again as long as that helps."""
            answers = {post: self._restore(connection, post, by_post.get(post, [])) for post in posts}
            while refused := [post for post, why in answers.items() if why is not None and by_post.get(post)]:
                again = {post: self._restore(connection, post, by_post[post]) for post in refused}
                answers |= again
                if all(why is not None for why in again.values()):
                    break
            return [answers[post] for post in posts]

        return self._in_one(len(posts), bring_back)

    def _in_one(self, number: int, act: Callable[[Connection], list[str | None]]) -> list[str | None]:
        try:
            with self._pool.connection() as connection, connection.transaction():
                for limit in _LIMITS:
                    connection.execute(limit)
                return act(connection)
        except _OF_THE_MOMENT as error:
            return [f"somebody is changing it right now: {error.diag.message_primary}"] * number
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"PostgreSQL: {error.diag.message_primary}.",
                hint="Deleting posts takes DELETE on statuses and all that goes with it. Use the user Mastodon uses.",
            ) from None
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None

    # --- going --------------------------------------------------------------------------------------------------------

    def _delete(
        self, connection: Connection, posts: Sequence[int], cut_off: int, keep: Callable[[Sequence[Archived]], None]
    ) -> list[str | None]:
        closure, locked = self._locked(connection, posts)
        members = [row["id"] for row in closure]
        why = self._why_not(connection, members, locked, cut_off)
        answers: dict[int, str] = {}
        for row in closure:
            if row["id"] in why:
                answers.setdefault(row["root"], why[row["id"]])
        going = {row["id"]: row["root"] for row in closure if row["root"] not in answers}
        if going:
            depths = {row["id"]: row["depth"] for row in closure}  # the last one is the deepest
            keep(list(self._archived(connection, dict(sorted(going.items(), key=lambda one: depths[one[0]])))))
            connection.execute("DELETE FROM statuses WHERE id = ANY(%s)", [list(going)])
        there = {row["root"] for row in closure}
        return [answers.get(post) if post in there else "it is gone already" for post in posts]

    def _locked(self, connection: Connection, posts: Sequence[int]) -> tuple[list[dict[str, Any]], set[int]]:
        """The posts with all their boosts, and which of them are locked; what belongs to them and has belongings of its own (a
        poll has votes) is, too. Boosts that came while the others were locked are looked for again.
        """
        known: set[int] = set()
        locked: set[int] = set()
        while True:
            closure = connection.execute(CLOSURE_SQL, [list(posts)]).fetchall()
            new = {row["id"] for row in closure} - known
            if not new:
                return closure, locked
            known |= new
            lock = "SELECT id FROM statuses WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED"
            locked |= {row["id"] for row in connection.execute(lock, [list(new)])}
            for reference in self._referring(connection, STATUSES):
                if reference.rule == "c" and reference.name != STATUSES and self._referring(connection, reference.name):
                    statement = sql.SQL("SELECT 1 FROM {} WHERE {} = ANY(%s) FOR UPDATE").format(
                        sql.Identifier(reference.name), sql.Identifier(reference.column)
                    )
                    connection.execute(statement, [list(new)])

    def _why_not(
        self, connection: Connection, members: Sequence[int], locked: set[int], cut_off: int
    ) -> Mapping[int, str]:
        still = {row["id"] for row in connection.execute(still_sql(cut_off), [list(members)])}
        why = {one: "somebody is changing it right now" for one in members if one not in locked}
        why |= {one: "it was touched, answered or boosted meanwhile" for one in members if one not in still | set(why)}
        asked = of_these_sql(self._places)
        for row in connection.execute(asked, [list(members)] * len(self._places)):
            why.setdefault(row["id"], f"somebody here has come to care for it: {row['relationship']}")
        return why

    def _archived(self, connection: Connection, going: Mapping[int, int]) -> Iterator[Archived]:
        """Everything that goes with those posts (each with its root, a boost behind what it boosts), parents first."""
        number = 0
        waiting: list[tuple[str, dict[int, int]]] = [(STATUSES, dict(going))]
        rows = connection.execute(
            "SELECT id, to_jsonb(s)::text AS row FROM statuses s WHERE id = ANY(%s)",
            [list(going)],
        ).fetchall()
        order = {post: i for i, post in enumerate(going)}
        for row in sorted(rows, key=lambda one: order[one["id"]]):
            number += 1
            yield Archived(going[row["id"]], number, STATUSES, "deleted", row["id"], row["row"])
        while waiting:
            name, roots = waiting.pop(0)
            for reference in self._referring(connection, name):
                if reference.name == STATUSES and reference.rule == "c":
                    continue  # boosts: they are among them
                found = self._rows(connection, reference, list(roots))
                is_gone = reference.rule == "c"
                children: dict[int, int] = {}
                for row in found:
                    if row["key"] in going and reference.name == STATUSES:
                        continue  # it goes itself
                    number += 1
                    root = roots[row["of"]]
                    text = row["row"] if is_gone else json.dumps({reference.column: row["of"]})
                    yield Archived(
                        root, number, reference.name, "deleted" if is_gone else "changed", row["key"] or 0, text
                    )
                    if is_gone and row["key"]:
                        children[row["key"]] = root
                if children:
                    waiting.append((reference.name, children))

    def _referring(self, connection: Connection, name: str) -> list[_Reference]:
        if name not in self._references:
            rows = connection.execute(REFERENCES_SQL, [name]).fetchall()
            if odd := next((row for row in rows if row["col"] is None or row["rule"] not in ("c", "n")), None):
                raise DatabaseError(
                    f"{odd['name']} refers to {name} in a way that is not understood here: its rows could not be archived.",
                    hint="Nothing was deleted. Is that table a fork's, or your own?",
                )
            self._references[name] = [_Reference(row["name"], row["col"], row["target"], row["rule"]) for row in rows]
        return self._references[name]

    @staticmethod
    def _rows(connection: Connection, reference: _Reference, ids: list[int]) -> list[dict[str, Any]]:
        number = "CASE WHEN to_jsonb(t)->>'id' ~ '^-?[0-9]+$' THEN (to_jsonb(t)->>'id')::int8 END"
        statement = sql.SQL(
            f"SELECT {{column}}::int8 AS of, to_jsonb(t)::text AS row, {number} AS key FROM {{table}} t "
            "WHERE {column} = ANY(%s)"
        ).format(table=sql.Identifier(reference.name), column=sql.Identifier(reference.column))
        return connection.execute(statement, [ids]).fetchall()

    # --- coming back --------------------------------------------------------------------------------------------------

    def _restore(self, connection: Connection, post: int, rows: Sequence[Archived]) -> str | None:
        if not rows:
            return "the archive does not have it"
        if why := self._in_the_way(connection, rows):
            return why
        try:
            with connection.transaction():
                for row in rows:
                    self._bring_back(connection, row)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            return f"the database does not take it: {error.diag.message_primary}"
        return None

    def _in_the_way(self, connection: Connection, rows: Sequence[Archived]) -> str:
        """Mastodon may have fetched the post again: then it has another id, and the old one's address is taken."""
        for row in rows:
            if row.name == STATUSES and row.change == "deleted":
                if self._is_buried(connection, json.loads(row.row)["uri"]):
                    return "its author has deleted it meanwhile"
                found = connection.execute(
                    "SELECT id FROM statuses WHERE id = %s OR uri = %s", [row.key, json.loads(row.row)["uri"]]
                ).fetchone()
                if found is not None:
                    return (
                        "it is there again"
                        if found["id"] == row.key
                        else f"Mastodon has fetched it again, as {found['id']}"
                    )
        return ""

    @staticmethod
    def _is_buried(connection: Connection, uri: str) -> bool:
        if connection.execute("SELECT to_regclass('tombstones') AS name").fetchone() == {"name": None}:
            return False
        return connection.execute("SELECT 1 FROM tombstones WHERE uri = %s", [uri]).fetchone() is not None

    def _filled(self, connection: Connection, name: str) -> set[str]:
        """The columns of that table that are stored as they are given."""
        if name not in self._columns:
            rows = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
                "AND attgenerated = ''",
                [name],
            )
            self._columns[name] = {row["attname"] for row in rows}
        return self._columns[name]

    def _bring_back(self, connection: Connection, row: Archived) -> None:
        table = sql.Identifier(row.name)
        if row.change == "deleted":
            there = self._filled(connection, row.name)  # a version may have come between, with columns of its own
            names = sql.SQL(", ").join(sql.Identifier(one) for one in json.loads(row.row) if one in there)
            statement = sql.SQL(
                "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM jsonb_populate_record(NULL::{0}, %s::jsonb)"
            ).format(table, names)
            connection.execute(statement, [row.row])
            return
        for column, value in json.loads(row.row).items():  # whoever has set it to something else meanwhile knows better
            statement = sql.SQL("UPDATE {} SET {} = %s WHERE id = %s AND {} IS NULL").format(
                table, sql.Identifier(column), sql.Identifier(column)
            )
            connection.execute(statement, [value, row.key])
