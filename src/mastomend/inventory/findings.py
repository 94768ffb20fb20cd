"""Findings are kept in Parquet, one row each (product.md, `check --json`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
from arro3.core import Array, DataType, Table

from mastomend.database.visibility import printable
from mastomend.vocabulary import Finding, State

_COLUMNS: tuple[tuple[str, str, DataType], ...] = (
    ("kind", "VARCHAR", DataType.string()),
    ("id", "BIGINT", DataType.int64()),
    ("style", "VARCHAR", DataType.string()),
    ("key", "VARCHAR", DataType.string()),
    ("state", "VARCHAR", DataType.string()),
    ("is_local", "BOOLEAN", DataType.bool()),
    ("domain", "VARCHAR", DataType.string()),
    ("remote_url", "VARCHAR", DataType.string()),
    ("file_name", "VARCHAR", DataType.string()),
    ("content_type", "VARCHAR", DataType.string()),
    ("expected_bytes", "BIGINT", DataType.int64()),
    ("actual_bytes", "BIGINT", DataType.int64()),
    ("detail", "VARCHAR", DataType.string()),
)


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """The table findings are collected in; it spills like everything else."""
    columns = ", ".join(f"{name} {sql}" for name, sql, _ in _COLUMNS)
    connection.execute(f"CREATE OR REPLACE TABLE findings ({columns})")


def append(connection: duckdb.DuckDBPyConnection, findings: Sequence[Finding]) -> None:
    """Add findings in bulk."""
    if not findings:
        return
    batch = Table.from_pydict(
        {
            name: Array(
                [printable(str(v)) if isinstance(v, str) else v for v in (getattr(f, name) for f in findings)],
                type=arrow,
            )
            for name, _, arrow in _COLUMNS
        }
    )
    connection.execute("INSERT INTO findings SELECT * FROM batch", None)
    del batch


def save(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write the findings as Parquet, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    target = str(temporary).replace("'", "''")
    connection.execute(f"COPY (SELECT * FROM findings ORDER BY kind, id, style) TO '{target}' (FORMAT parquet)")
    temporary.chmod(0o600)  # DuckDB makes it anew
    os.replace(temporary, path)  # noqa: PTH105 - the atomic one


def load(path: Path, kinds: Iterable[str] = ()) -> Iterator[Finding]:
    """Findings in order of kind and id, streamed; only those kinds when any are named."""
    names = ", ".join(name for name, _, _ in _COLUMNS)
    wanted = list(kinds)
    condition = "WHERE list_contains(?, kind)" if wanted else ""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET enable_progress_bar = false")
        result = connection.execute(
            f"SELECT {names} FROM read_parquet(?) {condition} ORDER BY kind, id, style",
            [str(path), wanted] if wanted else [str(path)],
        )
        while rows := result.fetchmany(10_000):
            for row in rows:
                values = dict(zip((name for name, _, _ in _COLUMNS), row, strict=True))
                yield Finding(**{**values, "state": State(values["state"])})
