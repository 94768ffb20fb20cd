"""PostgreSQL, for reading: which Mastodon, which columns, whole tables as Arrow, single rows looked at again.

Two drivers with two jobs: ADBC streams whole tables as Arrow (binary COPY), psycopg asks the small questions. Every
transaction here is read-only by PostgreSQL's own setting, so a defect cannot write, and every statement has a limit of
time. Behind a pooler both are said with each transaction: the session is lent to Mastodon next.
A replica, where there is one, gives the whole tables; the small questions, whose answers count, go to the primary.
Sources: facts/mastodon-media.md §13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import psycopg
from adbc_driver_manager import Error as AdbcError
from adbc_driver_postgresql import dbapi
from arro3.core import RecordBatch, RecordBatchReader

from mastomend.database.connection import connect, connection_failure, conninfo, failure, is_pooled
from mastomend.database.visibility import Table, find_tables, invisible, keeps_bytes
from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.database_settings import Database
from mastomend.mastodon.moderation import DomainBlock, Moderation, normalize_domain
from mastomend.mastodon.versions import Version, version

_LOCK_MS = "10000"
_MIGRATIONS = "schema_migrations"
_BATCH_BYTES = 6 * 1024 * 1024  # small enough to begin working on early, large enough to plan rarely


class MastodonDatabase:
    """A Mastodon database, read-only. Close it, or use it as a context manager."""

    def __init__(
        self,
        database: Database,
        application: str = "mastomend",
        *,
        replica: Database | None = None,
        timeout_s: float = 600.0,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Connect. `timeout_s` is how long one statement may take; `note` hears when the replica cannot serve."""
        self.settings = database
        self._replica = replica
        self._application = application
        self._limits = {
            "statement_timeout": str(max(1, int(min(timeout_s, 86_400) * 1000))),
            "lock_timeout": _LOCK_MS,
            "row_security": "off",  # rows that a policy hides are an error then, not an absence
        }
        self._note = note
        self._connection = connect(database, application, read_only=True)
        self._lock = threading.Lock()
        self._bulk: Any = None
        self._is_ours = False
        try:
            self._is_ours = self._take_session()
            self._tables: dict[str, Table] = {}
            self.version = self._read_version()
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
        if is_pooled(self.settings, self._connection):
            return False
        for name, value in {**self._limits, "default_transaction_read_only": "on"}.items():
            self._connection.execute(f"SET {name} = {value}")
        return True

    def _read_version(self) -> Version:
        """From its migrations, which must be there and readable.

        Raises:
            ConfigurationError: this is no Mastodon database. DatabaseError: it is one, but cannot be looked into.
        """
        self._tables.update(find_tables(self._ask, [_MIGRATIONS, "accounts"]))
        migrations = self._tables[_MIGRATIONS]
        if not (migrations.exists or self._tables["accounts"].exists):
            raise ConfigurationError(
                f"{self.settings} is not a Mastodon database: it has no table {_MIGRATIONS}.", hint="Check DB_NAME."
            )
        try:
            self._require({_MIGRATIONS: {"version"}})
        except DatabaseError as error:
            if error.statements:
                error.hint = f"What else this version's tables need, the next run tells. {error.hint}"
            raise
        return version(row["version"] for row in self._ask(f"SELECT version FROM {_MIGRATIONS}", ()))

    def _ask(self, sql: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
        return self.query(sql, parameters)

    def table(self, name: str) -> Table:
        """The table as this user sees it, by the connection's own search path."""
        if name not in self._tables:
            self._tables.update(find_tables(self._ask, [name]))
        return self._tables[name]

    def look_at(self, names: Iterable[str]) -> None:
        """Look at many tables with one question."""
        unknown = [name for name in dict.fromkeys(names) if name not in self._tables]
        if unknown:
            self._tables.update(find_tables(self._ask, unknown))

    def columns(self, table: str) -> frozenset[str]:
        """The table's columns as they really are, whether they may be read or not; empty if there is no such table."""
        return self.table(table).columns

    def require(self, needs: Mapping[str, Collection[str]]) -> None:
        """All of those columns of those tables are there and may be read.

        Raises:
            DatabaseError: some are not; in words, with the GRANT that helps.
        """
        self.look_at(needs)
        self._require(needs)

    def _require(self, needs: Mapping[str, Collection[str]]) -> None:
        wanted = [(self._tables[name], _with_versions(self._tables[name], columns)) for name, columns in needs.items()]
        if trouble := invisible(wanted, str(self.settings)):
            raise trouble

    @property
    def keeps_bytes(self) -> bool:
        """Whether the database checks no encoding (SQL_ASCII): what is in it need not be text."""
        return keeps_bytes(self._connection)

    @property
    def encoding(self) -> str:
        """PostgreSQL's name of the database's encoding, such as `UTF8`."""
        return self._connection.info.parameter_status("server_encoding") or "UTF8"

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


def _with_versions(table: Table, columns: Collection[str]) -> set[str]:
    """With the attachments' versions, which are read where they are there: the files' keys hang on them."""
    versions = {
        column.removesuffix("file_name") + "storage_schema_version" for column in columns if "file_name" in column
    }
    return {*columns, *(versions & table.columns)}
