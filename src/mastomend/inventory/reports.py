"""Reports as Parquet: a dataclass's fields are the columns, written whole or not at all. The one writer of reports.

Rows are collected in a DuckDB table, which spills like everything else, and saved sorted. Text that is none (bytes of a
database without an encoding) is made printable; whole numbers have 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

import duckdb
from arro3.core import Array, DataType, Table

from mastomend.database.visibility import printable
from mastomend.interrupts import stoppable
from mastomend.inventory.workspace import scratch
from mastomend.mastodon.columnar import quote
from mastomend.state_files import inherit

_BATCH = 20_000


class Row(Protocol):
    """A dataclass whose fields are text, enumerations of text, whole numbers or truth values, each of them perhaps None."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


_Row = TypeVar("_Row", bound=Row)
_SORTS: tuple[tuple[type, str, DataType], ...] = (
    (bool, "BOOLEAN", DataType.bool()),
    (int, "BIGINT", DataType.int64()),
    (str, "VARCHAR", DataType.string()),
)


class Report(Generic[_Row]):
    """A report of rows of one dataclass. `order` names the columns it is sorted by."""

    def __init__(self, row: type[_Row], order: Sequence[str]) -> None:
        self._row = row
        self._order = ", ".join(order)
        hints = get_type_hints(row)
        self._types = {f.name: _bare(hints[f.name]) for f in fields(row)}
        self.columns = {name: _sort(of) for name, of in self._types.items()}

    def create(self, connection: duckdb.DuckDBPyConnection, table: str) -> None:
        """The table rows are collected in."""
        described = ", ".join(f"{name} {sql}" for name, (sql, _) in self.columns.items())
        connection.execute(f"CREATE OR REPLACE TABLE {table} ({described})")

    def append(self, connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[_Row]) -> None:
        """Add rows in bulk."""
        if not rows:
            return
        batch = Table.from_pydict(
            {
                name: Array([_plain(getattr(row, name)) for row in rows], type=arrow)
                for name, (_, arrow) in self.columns.items()
            }
        )
        connection.execute(f"INSERT INTO {table} SELECT * FROM batch")
        del batch

    def save(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        path: Path,
        about: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write the table as Parquet; `about` is what `about` tells of it."""
        save(connection, f"SELECT * FROM {table} ORDER BY {self._order}", path, about)

    def write(self, path: Path, rows: Iterable[_Row], budget: int) -> None:
        """A whole report at once. `budget` is how many bytes of it are held in memory.

        Raises:
            JournalError: it cannot be written.
        """
        rest = iter(rows)
        with scratch(path.parent, budget) as connection:
            self.create(connection, "report")
            while some := list(islice(rest, _BATCH)):
                self.append(connection, "report", some)
            self.save(connection, "report", path)

    def load(self, path: Path, condition: str = "", parameters: Sequence[object] = ()) -> Iterator[_Row]:
        """The rows of a report in its order, streamed; only those that meet a condition, if one is given."""
        where = f"WHERE {condition}" if condition else ""
        with stoppable(duckdb.connect(":memory:")) as connection:
            connection.execute("SET enable_progress_bar = false")
            result = connection.execute(
                f"SELECT {', '.join(self.columns)} FROM read_parquet(?) {where} ORDER BY {self._order}",
                [str(path), *parameters],
            )
            while found := result.fetchmany(_BATCH):
                for values in found:
                    yield self._row(**dict(zip(self.columns, map(_typed, self._types.values(), values), strict=True)))


def save(connection: duckdb.DuckDBPyConnection, select: str, path: Path, about: Mapping[str, str]) -> None:
    """What is selected as Parquet, with some words about it."""
    temporary = path.with_suffix(".tmp")
    words = ", ".join(f"{name}: {quote(said)}" for name, said in about.items())
    metadata = f", KV_METADATA {{{words}}}" if about else ""
    connection.execute(f"COPY ({select}) TO {quote(str(temporary))} (FORMAT parquet{metadata})")
    temporary.chmod(0o600)  # DuckDB makes it anew
    inherit(temporary)
    temporary.replace(path)


def about(path: Path) -> dict[str, str]:
    """The words a report was saved with; none of one that was cut off."""
    with stoppable(duckdb.connect(":memory:")) as connection:
        try:
            found = connection.execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)", [str(path)])
            return dict(found.fetchall())
        except duckdb.Error:
            return {}


def _bare(hint: Any) -> type:
    """The type without the None beside it."""
    if get_origin(hint) is UnionType:
        (hint,) = [one for one in get_args(hint) if one is not NoneType]
    assert isinstance(hint, type), hint
    return hint


def _sort(of: type) -> tuple[str, DataType]:
    return next((sql, arrow) for base, sql, arrow in _SORTS if issubclass(of, base))


def _plain(value: Any) -> Any:
    return printable(str(value)) if isinstance(value, str) else value


def _typed(of: type, value: Any) -> Any:
    return of(value) if value is not None and issubclass(of, StrEnum) else value
