"""What this user can see of a database: which tables, where, which columns, and whether they may be read.

A table one may not see is not an empty one. `information_schema` hides what one has no rights on, and looks into one schema
only; so PostgreSQL's own catalogue is asked, by the connection's own search path, and what is missing becomes words that
name the table, the right and the GRANT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.string import StrDumper, TextLoader

from mastomend.errors import DatabaseError

Ask = Callable[[str, Sequence[object]], Sequence[Mapping[str, Any]]]

_FIND = """
SELECT (SELECT quote_ident(h.nspname) FROM pg_class o JOIN pg_namespace h ON h.oid = o.relnamespace
        WHERE o.oid = to_regclass('schema_migrations')) AS home, wanted.name,
       c.oid IS NOT NULL AS found, coalesce(row_security_active(c.oid), false) AS hidden,
       quote_ident(n.nspname) AS schema, quote_ident(current_user) AS user,
       coalesce(has_table_privilege(c.oid, 'SELECT'), false) AS whole,
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}') AS columns,
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND has_column_privilege(c.oid, a.attnum, 'SELECT')), '{}') AS readable,
       coalesce((SELECT array_agg(quote_ident(m.nspname)) FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
                 WHERE o.relname = wanted.name AND o.relkind IN ('r', 'p', 'v', 'm', 'f')
                   AND has_schema_privilege(m.oid, 'USAGE')), '{}') AS elsewhere,
       coalesce((SELECT array_agg(quote_ident(m.nspname)) FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
                 WHERE o.relname = wanted.name AND o.relkind IN ('r', 'p', 'v', 'm', 'f')
                   AND NOT has_schema_privilege(m.oid, 'USAGE')), '{}') AS closed
FROM unnest(%s::text[]) AS wanted(name)
LEFT JOIN pg_class c ON c.oid = to_regclass(quote_ident(wanted.name)) LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table as this user sees it.

    `elsewhere` are other schemas that have one of that name, `closed` those this user may not enter. `home` is where
    `schema_migrations` is: of tables that are in two schemas, Mastodon's is there. `hides_rows`: by row-level security.
    """

    name: str
    is_found: bool
    schema: str
    user: str
    is_readable: bool
    columns: frozenset[str]
    readable: frozenset[str]
    elsewhere: tuple[str, ...]
    closed: tuple[str, ...]
    home: str = ""
    hides_rows: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is such a table, seen or not."""
        return self.is_found or bool(self.elsewhere or self.closed)


def find_tables(ask: Ask, names: Sequence[str]) -> dict[str, Table]:
    """Those tables, also the ones that are not there."""
    return {
        row["name"]: Table(
            row["name"],
            row["found"],
            row["schema"] or "",
            row["user"],
            row["whole"],
            frozenset(row["columns"]),
            frozenset(row["readable"]),
            tuple(schema for schema in row["elsewhere"] if not row["found"] or schema != row["schema"]),
            tuple(row["closed"]),
            row["home"] or "",
            row["hidden"],
        )
        for row in ask(_FIND, [list(names)])
    }


def invisible(needs: Sequence[tuple[Table, Collection[str]]], database: str) -> DatabaseError | None:
    """Why those columns of those tables cannot all be read; None if they can."""
    troubles = [trouble for table, columns in needs if (trouble := _trouble(table, columns))]
    if not troubles:
        return None
    said = _together([one for one, _ in troubles], r"(.+? may not read )(\w+)()")
    helps = _together([one for _, one in troubles], r"(GRANT SELECT ON )(\S+)( TO .*;)")
    statements = [one for one in helps if one.endswith(";")]
    return DatabaseError(
        f"{database} cannot be seen as a whole: {'; '.join(said)}.",
        hint=" ".join(
            dict.fromkeys(
                [*(one for one in helps if one not in statements), *([_by_whom(statements)] if statements else [])]
            )
        ),
        statements=tuple(dict.fromkeys(statements)),
    )


def _together(texts: Sequence[str], pattern: str) -> list[str]:
    """Texts of that form become one that names them all, where the first of them stood; the others stay as they are."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    found = [re.fullmatch(pattern, text) for text in texts]
    for one in found:
        if one is not None:
            tables.setdefault((one[1], one[3]), {})[one[2]] = None
    return list(
        dict.fromkeys(
            text if one is None else one[1] + ", ".join(tables[one[1], one[3]]) + one[3]
            for text, one in zip(texts, found, strict=True)
        )
    )


def _by_whom(statements: Sequence[str]) -> str:
    return "As a superuser, in psql:" if any(one.startswith("ALTER ROLE") for one in statements) else IN_PSQL


#: What is said above statements that give a right.
IN_PSQL = "As the owner of the tables, in psql:"


def _trouble(table: Table, columns: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with one table, and what helps: a sentence, or a statement, which ends in a semicolon."""
    if not table.is_found:
        if table.closed:
            schema = table.closed[0]
            return (
                f"{table.name} is in the schema {schema}, which {table.user} may not enter",
                f"GRANT USAGE ON SCHEMA {schema} TO {table.user};",
            )
        if table.elsewhere:
            where = " and ".join(table.elsewhere)
            return (
                f"{table.name} is in the schema {where}, which is not in this user's search_path",
                f"ALTER ROLE {table.user} SET search_path = {table.elsewhere[0]};",
            )
        return (
            f"the table {table.name} does not exist",
            "Was a restore cut off? This version of Mastodon has that table.",
        )
    if table.home in table.elsewhere:
        return (
            f"{table.name} is found in the schema {table.schema}, which hides that in {table.home}, where Mastodon's "
            "schema_migrations is",
            f"ALTER ROLE {table.user} SET search_path = {table.home};",
        )
    if table.hides_rows:
        return (
            f"row-level security hides rows of {table.name} from {table.user}",
            f"ALTER ROLE {table.user} BYPASSRLS;",
        )
    if absent := sorted(set(columns) - table.columns):
        return (
            f"{table.name} has no column {', '.join(absent)}",
            "Is a migration under way, or was a restore cut off? Try again when it is over.",
        )
    if hidden := sorted(set(columns) - table.readable):
        if not table.readable:
            return (
                f"{table.user} may not read {table.name}",
                f"GRANT SELECT ON {table.schema}.{table.name} TO {table.user};",
            )
        names = ", ".join(hidden)
        return (
            f"{table.user} may not read {names} of {table.name}",
            f"GRANT SELECT ({names}) ON {table.schema}.{table.name} TO {table.user};",
        )
    return None


def cannot_read(table: str) -> DatabaseError:
    """A table that turned out to be closed."""
    return DatabaseError(
        f"PostgreSQL: this user may not read or change {table}.",
        hint="Give it that right, or use the user Mastodon uses.",
    )


class _AnyText(TextLoader):
    """Text that need not be text: bytes which are none become surrogates, so that the row, not the question, is in trouble."""

    def load(self, data: bytes | bytearray | memoryview) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


class _AnyTextDumper(StrDumper):
    """The same way back."""

    def dump(self, obj: str) -> bytes:
        return obj.encode("utf-8", "surrogateescape")


def keeps_bytes(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database checks no encoding (SQL_ASCII): what is in it need not be text."""
    return connection.info.parameter_status("server_encoding") == "SQL_ASCII"


def as_text(connection: psycopg.Connection[Any]) -> None:
    """From here on every text column of that connection is a `str`."""
    if keeps_bytes(connection):  # in UTF8 PostgreSQL would refuse a whole answer for one byte
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.adapters.register_dumper(str, _AnyTextDumper)
    for name in ("text", "varchar", "bpchar", "name"):
        connection.adapters.register_loader(name, _AnyText)


def is_text(value: str) -> bool:
    """Whether that value was text in the database."""
    return not any("\udc80" <= c <= "\udcff" for c in value)


def printable(value: str | None) -> str | None:
    """The value for reports, in which everything must be text."""
    return value if value is None or value.isascii() else value.encode("utf-8", "replace").decode()
