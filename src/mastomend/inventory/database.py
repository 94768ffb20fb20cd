"""PostgreSQL, for reading: which Mastodon, which columns, whole tables as Arrow, single rows looked at again.

Two drivers with two jobs: ADBC streams whole tables as Arrow (binary COPY), psycopg asks the small questions. Every
transaction here is read-only by PostgreSQL's own setting, so a defect cannot write, and every statement has a limit of
time. Behind a pooler both are said with each transaction: the session is lent to Mastodon next. Settings do not tell for
sure whether there is one, but it shows: a pooler has to make up the process id it greets with.
A replica, where there is one, gives the whole tables; the small questions, whose answers count, go to the primary.
Sources: facts/mastodon-media.md §13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import psycopg
from adbc_driver_manager import Error as AdbcError
from adbc_driver_postgresql import dbapi
from arro3.core import RecordBatch, RecordBatchReader
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.configuration import Database
from mastomend.mastodon.moderation import DomainBlock, Moderation, normalize_domain
from mastomend.mastodon.versions import Version, version

_CONNECT_TIMEOUT_S = "10"
STATEMENT_TIMEOUT_S = 600.0
_LOCK_MS = "10000"
_BATCH_BYTES = 6 * 1024 * 1024  # small enough to begin working on early, large enough to plan rarely


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

    def __init__(
        self,
        database: Database,
        application: str = "mastomend",
        *,
        replica: Database | None = None,
        timeout_s: float = STATEMENT_TIMEOUT_S,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Connect. `timeout_s` is how long one statement may take; `note` hears when the replica cannot serve."""
        self.settings = database
        self._replica = replica
        self._application = application
        self._limits = {"statement_timeout": str(max(1, int(min(timeout_s, 86_400) * 1000))), "lock_timeout": _LOCK_MS}
        self._note = note
        self._connection = connect(database, application, read_only=True)
        self._lock = threading.Lock()
        self._bulk: Any = None
        self._is_ours = False
        try:
            self._is_ours = self._take_session()
            self.version = self._read_version()
            self._columns = self._read_columns()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> MastodonDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bulk is not None:
            self._bulk.close()
        self._connection.close()

    def _take_session(self) -> bool:
        """Whether the session is ours alone; it is then read-only and limited as a whole, and a question one round trip."""
        row = self._connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
        if row is None or row["pid"] != self._connection.info.backend_pid or not self.settings.prepared_statements:
            return False
        for name, value in {**self._limits, "default_transaction_read_only": "on"}.items():
            self._connection.execute(f"SET {name} = {value}")
        return True

    def _read_version(self) -> Version:
        try:
            with self._transaction():
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
            with self._lock, self._transaction():
                return self._connection.execute(sql, parameters or None).fetchall()
        except psycopg.Error as error:
            raise failure(error) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Read-only and within the limits of time."""
        if self._is_ours:
            yield
            return
        limits = "; ".join(f"SET LOCAL {name} = {value}" for name, value in self._limits.items())
        self._connection.execute(f"BEGIN READ ONLY; {limits}")
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):  # the connection may be gone
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

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

    def rows(self, sql: str, begin: Callable[[], None] = lambda: None) -> Iterator[RecordBatch]:
        """A large result as Arrow batches, in a read-only transaction of its own that ends with them.

        From the replica if there is one. Should it be out of reach, or cancel the statement because it has to catch
        up, the primary is asked for the whole again; `begin` is called before the first batch of each try.

        Raises:
            DatabaseError: the database is out of reach, the result broke off, or it took too long.
        """
        if self._replica is not None:
            begin()
            try:
                yield from self._stream(self._replica, sql)
                return
            except DatabaseError as error:
                self._note(f"The replica cannot serve this ({error.message}) The primary is read instead.")
                self._replica = None
        begin()
        yield from self._stream(self.settings, sql)

    def _stream(self, database: Database, sql: str) -> Iterator[RecordBatch]:
        connection = self._bulk or self._connect_bulk(database)
        self._bulk = None
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
                for name, value in self._limits.items():
                    cursor.execute(f"SET LOCAL {name} = {value}")
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
                cursor.execute(sql)
                yield from _batches(cursor.fetch_arrow())
            connection.rollback()  # nothing was changed: this ends the transaction, and with it the snapshot
            self._bulk = connection
        except AdbcError as error:
            raise failure(error) from None
        finally:
            if self._bulk is None:
                connection.close()

    def _connect_bulk(self, database: Database) -> Any:
        """Connecting costs as much as a small table, so the connection is kept for the next one."""
        try:
            return dbapi.connect(conninfo(database, self._application))
        except AdbcError as error:
            raise connection_failure(database, error) from None


def _batches(stream: object) -> Iterator[RecordBatch]:
    """The batches of an Arrow stream. What breaks off while it is read comes as a bare `Exception` from there."""
    batches = RecordBatchReader.from_arrow(cast(Any, stream))
    while True:
        try:
            batch = next(batches, None)
        except Exception as error:
            raise failure(error) from None
        if batch is None:
            return
        yield batch


def failure(error: Exception) -> DatabaseError:
    """What PostgreSQL said, and what to do about it."""
    text = " ".join(str(error).split())
    if "statement timeout" in text:
        return DatabaseError(
            "PostgreSQL: a statement took longer than it may.",
            hint="Raise `statement_timeout_seconds` in mastomend.toml, or try again when the database is less busy.",
        )
    if "lock timeout" in text:
        return DatabaseError(
            "PostgreSQL: a table is locked by somebody else.", hint="Is a migration running? Try again when it is over."
        )
    return DatabaseError(f"PostgreSQL: {text[:300]}")
