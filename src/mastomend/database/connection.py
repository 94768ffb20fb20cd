"""Reaching PostgreSQL: connection strings, one connection, and what it means when there is none, in words.

A pooler lends the session to somebody else between transactions. Settings do not tell for sure whether there is one, but it
shows: a pooler has to make up the process id it greets with.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from mastomend.database.visibility import as_text, cannot_read
from mastomend.errors import ConfigurationError, DatabaseError, MastomendError
from mastomend.mastodon.database_settings import Database
from mastomend.mastodon.values import redact

Connection = psycopg.Connection[dict[str, Any]]
#: Connections that may write.
Pool = ConnectionPool[Connection]

_CONNECT_TIMEOUT_S = "10"
_CONNECTIONS = 4
_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")
_DENIED = re.compile(r"permission denied for (?:table|relation|view|materialized view|sequence) (\S+)")


def conninfo(database: Database, application: str) -> str:
    """A libpq connection string. It holds the password: never print it."""
    parameters = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        **database.parameters,
        "application_name": application,
        "client_encoding": "UTF8",  # of a database in SQL_ASCII psycopg would give bytes
    }
    if not parameters.get("host") and not parameters.get("hostaddr") and "service" not in parameters:
        parameters["host"] = _socket_folder(parameters.get("port", ""))
    if database.password:
        parameters["password"] = database.password.reveal()
    return make_conninfo("", **cast(Any, parameters))


def _socket_folder(port: str) -> str:
    """Where the server's socket is when no host is named. Drivers bring libpqs that look in different places."""
    if host := os.environ.get("PGHOST"):
        return host
    socket = f".s.PGSQL.{port or os.environ.get('PGPORT') or '5432'}"
    return next((folder for folder in _SOCKET_FOLDERS if (Path(folder) / socket).exists()), _SOCKET_FOLDERS[0])


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
        )
        connection.read_only = read_only
        settle(database, connection)
    except psycopg.Error as error:
        raise connection_failure(database, error) from None
    return connection


def settle(database: Database, connection: psycopg.Connection[Any]) -> None:
    """Make a fresh connection one that can be used: its text is `str`, and behind a pooler it prepares nothing."""
    as_text(connection)
    if is_pooled(database, connection):
        connection.prepare_threshold = None


def is_pooled(database: Database, connection: psycopg.Connection[Any]) -> bool:
    """Whether the session may be lent to somebody else between transactions: the settings say so, or it shows.

    A pooler has to make up the process id it greets with.
    """
    if not database.prepared_statements:
        return True
    row: Any = connection.execute("SELECT pg_backend_pid()").fetchone()
    pid = next(iter(row.values() if isinstance(row, dict) else row)) if row else None
    return bool(pid != connection.info.backend_pid)


def writing_pool(database: Database) -> Pool:
    """Connections that may write, a few at once. Close it."""
    return ConnectionPool(
        conninfo(database, "mastomend"),
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=15,
        kwargs={"autocommit": True, "row_factory": dict_row},
        configure=partial(settle, database),
        open=True,
    )


def connection_failure(database: Database, error: Exception) -> MastomendError:
    """What went wrong with the connection and what to do about it."""
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.ProgrammingError) or re.search(r"invalid (integer|\w+ )?value|invalid port", text):
        return ConfigurationError(f"The settings of the connection to {database}: {redact(text)[:300]}.")
    if "Peer authentication failed" in text or "Ident authentication failed" in text:
        return DatabaseError(
            f"PostgreSQL takes {database} only from the system user of that name.",
            hint="Run as the user that runs Mastodon: sudo -u mastodon mastomend … A role of its own needs DB_HOST=127.0.0.1 "
            "and a password, or a line of its own in pg_hba.conf.",
        )
    if "password authentication failed" in text or "no password supplied" in text:
        return DatabaseError(f"PostgreSQL refuses the login for {database}.", hint="Check DB_USER and DB_PASS.")
    if "does not exist" in text and "database" in text:
        return DatabaseError(f"PostgreSQL has no such database: {database}.", hint="Check DB_NAME.")
    if "does not exist" in text and "role" in text:
        return DatabaseError(f"PostgreSQL has no such user: {database}.", hint="Check DB_USER.")
    if "permission denied for database" in text:
        return DatabaseError(
            f"PostgreSQL does not let this user into {database}.",
            hint="As the database's owner, in psql:",
            statements=[
                f"GRANT CONNECT ON DATABASE {_quoted(database, 'dbname')} TO {_quoted(database, 'user')};",
            ],
        )
    if "too many" in text or "remaining connection slots" in text:
        return DatabaseError(
            f"PostgreSQL has no connection left for {database}.", hint="Try again later, or raise max_connections."
        )
    if "is not permitted to log in" in text:
        return DatabaseError(
            f"PostgreSQL does not let {database} log in.",
            hint="As a superuser, in psql (sudo -u postgres psql):",
            statements=[f"ALTER ROLE {_quoted(database, 'user')} LOGIN;"],
        )
    if "Permission denied" in text:
        hint = "This user may not enter the folder of its socket: run it as the user that runs Mastodon."
    else:
        hint = (
            "Check DB_HOST and DB_PORT, and that PostgreSQL is running. In a container DB_HOST is the name of a service in "
            "the same network."
        )
    said = redact(text).partition(" Is the server running")[0]
    return DatabaseError(f"PostgreSQL cannot be reached at {database}: {said[:300].rstrip('.')}.", hint=hint)


def _quoted(database: Database, name: str) -> str:
    """A parameter of the connection as a name in a statement."""
    return sql.Identifier(database.parameters.get(name) or "NAME").as_string(None)


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
    if "row-level security" in text:
        return DatabaseError(
            "PostgreSQL: row-level security hides rows from this user.",
            hint="Use the owner of the tables, or a role with BYPASSRLS: what is hidden cannot be called whole.",
        )
    if match := _DENIED.search(text):
        return cannot_read(match[1])
    return DatabaseError(f"PostgreSQL: {redact(text)[:300]}")
