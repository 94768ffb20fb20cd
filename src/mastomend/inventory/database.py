"""PostgreSQL, for reading: which Mastodon, which columns, one snapshot as Arrow, single rows looked at again.

Two drivers with two jobs: ADBC streams whole tables as Arrow (binary COPY), psycopg asks the small questions. Every
session here is read-only by PostgreSQL's own setting, so a defect cannot write. Sources: facts/mastodon-media.md §13.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from adbc_driver_manager import Error as AdbcError
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.configuration import Database
from mastomend.mastodon.moderation import DomainBlock, Moderation, normalize_domain
from mastomend.mastodon.versions import Version, version

_CONNECT_TIMEOUT_S = "10"
_BATCH_BYTES = 3 * 1024 * 1024  # small enough to begin working on early, large enough to plan rarely


def conninfo(database: Database, application: str) -> str:
    """A libpq connection string. It holds the password: never print it."""
    parameters = {"connect_timeout": _CONNECT_TIMEOUT_S, **database.parameters, "application_name": application}
    if database.password:
        parameters["password"] = database.password.reveal()
    return make_conninfo("", **cast(Any, parameters))


def connect(database: Database, application: str, *, read_only: bool) -> psycopg.Connection[dict[str, Any]]:
    """An autocommit connection.

    Raises:
        DatabaseError: unreachable or refused, in words.
    """
    try:
        connection = psycopg.connect(
            conninfo(database, application),
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=5 if database.prepared_statements else None,
        )
        # said with every transaction, not once a session: behind a pooler the session is not ours alone
        connection.read_only = read_only
    except psycopg.Error as error:
        raise connection_failure(database, error) from None
    return connection


def connection_failure(database: Database, error: Exception) -> DatabaseError:
    """What went wrong with the connection and what to do about it."""
    text = " ".join(str(error).split())
    if "password authentication failed" in text or "no password supplied" in text:
        return DatabaseError(f"PostgreSQL refuses the login for {database}.", hint="Check DB_USER and DB_PASS.")
    if "does not exist" in text and "database" in text:
        return DatabaseError(f"PostgreSQL has no such database: {database}.", hint="Check DB_NAME.")
    if "does not exist" in text and "role" in text:
        return DatabaseError(f"PostgreSQL has no such user: {database}.", hint="Check DB_USER.")
    return DatabaseError(
        f"PostgreSQL cannot be reached at {database}: {text[:300]}",
        hint="Check DB_HOST and DB_PORT, and that PostgreSQL is running.",
    )


class MastodonDatabase:
    """A Mastodon database, read-only. Close it, or use it as a context manager."""

    def __init__(self, database: Database, application: str = "mastomend") -> None:
        self.settings = database
        self._application = application
        self._connection = connect(database, application, read_only=True)
        self._lock = threading.Lock()
        try:
            self.version = self._read_version()
            self._columns = self._read_columns()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> MastodonDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _read_version(self) -> Version:
        try:
            with self._connection.transaction():
                rows = self._connection.execute("SELECT version FROM schema_migrations").fetchall()
        except psycopg.errors.UndefinedTable:
            raise ConfigurationError(
                f"{self.settings} is not a Mastodon database: it has no table schema_migrations.", hint="Check DB_NAME."
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseError(
                f"{self.settings}: this user may not read Mastodon's tables.", hint="Check DB_USER."
            ) from None
        return version(row["version"] for row in rows)

    def _read_columns(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        rows = self.query(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        )
        for row in rows:
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return {table: frozenset(columns) for table, columns in found.items()}

    def columns(self, table: str) -> frozenset[str]:
        """The table's columns as they really are; empty if there is no such table."""
        return self._columns.get(table, frozenset())

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows of a small question.

        Raises:
            DatabaseError: the connection broke or the statement was refused.
        """
        try:
            with self._lock, self._connection.transaction():
                return self._connection.execute(sql, parameters or None).fetchall()
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None

    def estimated_rows(self, table: str) -> int:
        """PostgreSQL's own estimate, for progress; 0 if it has none."""
        rows = self.query("SELECT greatest(reltuples, 0)::int8 AS n FROM pg_class WHERE oid = to_regclass(%s)", [table])
        return int(rows[0]["n"]) if rows else 0

    def moderation(self, *, limited_federation: bool) -> Moderation:
        """Domain blocks and, in limited federation mode, the allow-list (facts §1.1)."""
        blocks = self.query("SELECT domain, severity, reject_media FROM domain_blocks")
        allows = self.query("SELECT domain FROM domain_allows") if limited_federation else []
        return Moderation(
            {
                normalize_domain(row["domain"]): DomainBlock(bool(row["reject_media"]), row["severity"] == 1)
                for row in blocks
            },
            limited_federation,
            frozenset(normalize_domain(row["domain"]) for row in allows),
        )

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read-only, repeatable-read transaction for a whole scan, on a connection of its own."""
        try:
            connection = dbapi.connect(conninfo(self.settings, self._application))
        except AdbcError as error:
            raise connection_failure(self.settings, error) from None
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield Snapshot(connection)
        except AdbcError as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None
        finally:
            connection.close()


class Snapshot:
    """Queries that all see the same moment."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @contextmanager
    def stream(self, sql: str) -> Iterator[Any]:
        """The result as an Arrow C stream (any object with `__arrow_c_stream__`); it can be consumed once."""
        cursor = self._connection.cursor()
        try:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
            cursor.execute(sql)
            yield cursor.fetch_arrow()
        finally:
            cursor.close()
