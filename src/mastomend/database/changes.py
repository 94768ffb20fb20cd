"""Guarded changes of rows: a row changes only while the columns that were read still are as they were read.

Many changes are one round trip. A change that PostgreSQL does not take, or that finds the row changed, is an answer.
Values are PostgreSQL's text form; None is NULL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout

from mastomend.database.connection import Pool
from mastomend.errors import DatabaseError

Values = Mapping[str, str | None]
#: Somebody else holds that row, or wanted it the other way round: it may be free a moment later.
_OF_ONE = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.SerializationFailure,
)


class Change(Protocol):
    """What a row is to become, and what it must still be."""

    @property
    def table(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def before(self) -> Values: ...
    @property
    def after(self) -> Values: ...


class GuardedRows:
    """Rows behind connections that may write. Safe to use from many threads."""

    def __init__(self, pool: Pool) -> None:
        self.pool = self._pool = pool

    def set(self, changes: Sequence[Change]) -> Sequence[str | None]:
        """Make those changes. One answer for each, in order: None, or why the row was left alone, in words.

        Raises:
            DatabaseError: the connection is lost, or this user may not change that table.
        """
        answers: list[str | None] = [None] * len(changes)
        ordered = sorted(range(len(changes)), key=lambda i: (_shape(changes[i]), changes[i].id))
        for _, group in groupby(ordered, key=lambda i: _shape(changes[i])):
            same = list(group)
            for i, answer in zip(same, self._set_alike([changes[i] for i in same]), strict=True):
                answers[i] = answer
        return answers

    def _set_alike(self, changes: Sequence[Change]) -> list[str | None]:
        first = changes[0]
        assigned = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in first.after)
        guards: list[sql.Composable] = [sql.SQL("id = %s")]
        guards += [sql.SQL("{}::text IS NOT DISTINCT FROM %s").format(sql.Identifier(name)) for name in first.before]
        statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            sql.Identifier(first.table), assigned, sql.SQL(" AND ").join(guards)
        )
        parameters = [[*change.after.values(), change.id, *change.before.values()] for change in changes]
        try:
            counts = self._run(statement, parameters)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError, *_OF_ONE) as error:
            if len(changes) > 1:  # all of them were taken back together
                return [answer for change in changes for answer in self._set_alike([change])]
            return [f"{first.table} {first.id} does not take it: {' '.join(str(error).split())[:200]}"]
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseError(
                f"PostgreSQL: this user may not change {first.table}.",
                hint="Run the command without --apply: it prints the GRANT. Or use the user Mastodon uses.",
            ) from None
        except (psycopg.Error, PoolTimeout) as error:
            raise _lost(error) from None
        return [
            None if count == 1 else f"{change.table} {change.id} was changed by somebody else meanwhile"
            for change, count in zip(changes, counts, strict=True)
        ]

    def _run(self, statement: sql.Composed, parameters: Sequence[Sequence[object]]) -> list[int]:
        """How many rows each changed: one statement alone, or all in one transaction and one round trip."""
        with self._pool.connection() as connection:
            if len(parameters) == 1:
                return [connection.execute(statement, parameters[0]).rowcount]
            text = statement.as_bytes(connection)  # else it would be put together for each of them
            with connection.transaction(), connection.pipeline():
                cursors = [connection.execute(text, values) for values in parameters]
            return [cursor.rowcount for cursor in cursors]

    def read(self, table: str, ids: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, str | None]]:
        """Those columns of those rows, as text; rows that are not there are left out.

        Raises:
            DatabaseError: the connection is lost.
        """
        names = sql.SQL(", ").join(sql.SQL("{0}::text AS {0}").format(sql.Identifier(name)) for name in columns)
        statement = sql.SQL("SELECT id::int8 AS row_id, {} FROM {} WHERE id = ANY(%s)").format(
            names, sql.Identifier(table)
        )
        try:
            with self._pool.connection() as connection:
                rows = connection.execute(statement, [list(ids)]).fetchall()
        except (psycopg.Error, PoolTimeout) as error:
            raise _lost(error) from None
        return {row.pop("row_id"): row for row in rows}

    def are(self, table: str, record_id: int, values: Values) -> bool:
        """Whether that row's columns have those values."""
        row = self.read(table, [record_id], list(values)).get(record_id)
        return row is not None and all(row[name] == value for name, value in values.items())


def _shape(change: Change) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What changes must share to be one statement."""
    return change.table, tuple(change.after), tuple(change.before)


def _lost(error: Exception) -> DatabaseError:
    return DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}")
