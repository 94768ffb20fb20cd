"""Reports as Parquet, from dataclass rows, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from arro3.core import Array, DataType, Table

from mastomend.database.visibility import printable
from mastomend.inventory.workspace import scratch
from mastomend.outcomes import OutcomeRow

_BATCH = 20_000
_OUTCOMES: tuple[tuple[str, str, DataType], ...] = (
    ("kind", "VARCHAR", DataType.string()),
    ("id", "BIGINT", DataType.int64()),
    ("is_local", "BOOLEAN", DataType.bool()),
    ("domain", "VARCHAR", DataType.string()),
    ("remote_url", "VARCHAR", DataType.string()),
    ("outcome", "VARCHAR", DataType.string()),
    ("source", "VARCHAR", DataType.string()),
    ("reason", "VARCHAR", DataType.string()),
    ("detail", "VARCHAR", DataType.string()),
    ("files", "INTEGER", DataType.int32()),
    ("bytes", "BIGINT", DataType.int64()),
    ("tried", "VARCHAR", DataType.string()),
)


def save_outcomes(path: Path, outcomes: Iterable[OutcomeRow], budget: int) -> None:
    """`outcomes.parquet`: one row per record. `budget` is how many bytes of them are held in memory.

    Raises:
        JournalError: it cannot be written.
    """
    temporary = path.with_suffix(".tmp")
    rows = iter(outcomes)
    with scratch(path.parent, budget) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'{name} {sql}' for name, sql, _ in _OUTCOMES)})")
        while chunk := list(islice(rows, _BATCH)):
            batch = Table.from_pydict(
                {
                    name: Array(
                        [printable(str(v)) if isinstance(v, str) else v for v in (getattr(o, name) for o in chunk)],
                        type=arrow,
                    )
                    for name, _, arrow in _OUTCOMES
                }
            )
            connection.execute("INSERT INTO t SELECT * FROM batch")
            del batch
        target = str(temporary).replace("'", "''")
        connection.execute(f"COPY (SELECT * FROM t ORDER BY kind, id) TO '{target}' (FORMAT parquet)")
    temporary.chmod(0o600)  # DuckDB makes it anew
    os.replace(temporary, path)  # noqa: PTH105 - the atomic one
