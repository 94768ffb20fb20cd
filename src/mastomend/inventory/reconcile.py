"""Expected against held, for one kind at a time: what differs becomes a *candidate*, to be looked at again.

On a disk the expected keys are looked up while the rows still stream in: nothing is kept but what differs. In a
bucket the kind's prefixes are listed (one request per thousand objects) and joined in DuckDB within its budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
from arro3.core import Array, DataType, Table

from mastomend.inventory.database import MastodonDatabase, Snapshot
from mastomend.inventory.rows import scan_sql
from mastomend.mastodon.columnar import expected_files_sql
from mastomend.mastodon.kinds import Kind, RemoteRule
from mastomend.storage.ports import MISSING, Store

_CHUNK = 8_192
_IN_FLIGHT = 3
_DIFFERENT_SQL = Path(__file__).with_name("reconcile.sql").read_text(encoding="utf-8")


class Sampler(Protocol):
    """Takes files that look sound; a deep check reads some of them."""

    def offer(self, kind: Kind, record_id: int, style: str, key: str) -> None:
        """Consider one present file."""
        ...


@dataclass(slots=True)
class KindCount:
    """What the first pass saw of a kind."""

    records: int = 0
    expected: int = 0
    held: int = 0


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """The table candidates are collected in."""
    connection.execute("CREATE TABLE candidates (kind VARCHAR, id BIGINT, style VARCHAR)")


def add_candidates(connection: duckdb.DuckDBPyConnection, kind: Kind, found: Sequence[tuple[int, str]]) -> None:
    """Remember (id, style) pairs of a kind."""
    if not found:
        return
    batch = Table.from_pydict(
        {
            "id": Array([record_id for record_id, _ in found], type=DataType.int64()),
            "style": Array([style for _, style in found], type=DataType.string()),
        }
    )
    connection.execute("INSERT INTO candidates SELECT ?, id, style FROM batch", [kind.name])
    del batch


def by_lookup(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    database: MastodonDatabase,
    store: Store,
    kind: Kind,
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> KindCount:
    """Look every expected key up, in parallel, while rows arrive."""
    count = KindCount()
    pending: list[tuple[Future[Sequence[int]], list[tuple[int, str, str, int | None]]]] = []

    def settle() -> None:
        future, chunk = pending.pop(0)
        sizes = future.result()
        different = [
            (record_id, style)
            for (record_id, style, _, expected), size in zip(chunk, sizes, strict=True)
            if size < 0 or (size == 0 and expected != 0) or (expected is not None and size != expected)
        ]
        count.held += len(sizes) - sizes.count(MISSING)
        add_candidates(connection, kind, different)
        if sampler:
            broken = set(different)
            for record_id, style, key, _ in chunk:
                if (record_id, style) not in broken:
                    sampler.offer(kind, record_id, style, key)
        advance(len(chunk))

    with (
        snapshot.stream(scan_sql(kind, database)) as rows,
        connection.cursor() as reader,
        ThreadPoolExecutor(_IN_FLIGHT) as threads,
    ):
        reader.register("source_rows", rows)
        result = reader.execute(
            f"SELECT id, style, key, expected_bytes FROM ({expected_files_sql(kind, 'source_rows')})"
        )
        while chunk := result.fetchmany(_CHUNK):
            count.expected += len(chunk)
            count.records += sum(1 for row in chunk if row[1] == "original")
            unsafe = [(row[0], row[1]) for row in chunk if row[2] is None]
            if unsafe:
                add_candidates(connection, kind, unsafe)
                advance(len(unsafe))
                chunk = [row for row in chunk if row[2] is not None]
            pending.append((threads.submit(store.sizes, [row[2] for row in chunk]), chunk))
            if len(pending) > _IN_FLIGHT:
                settle()
        while pending:
            settle()
    return count


def by_listing(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    database: MastodonDatabase,
    store: Store,
    kind: Kind,
    key_prefix: str,
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> KindCount:
    """List the kind's prefixes, then join."""
    count = KindCount()
    with snapshot.stream(scan_sql(kind, database)) as rows:
        connection.register("source_rows", rows)
        sql = expected_files_sql(kind, "source_rows", key_prefix)
        connection.execute(f"CREATE OR REPLACE TABLE expected AS SELECT id, style, key, expected_bytes FROM ({sql})")
        connection.unregister("source_rows")
    connection.execute("CREATE OR REPLACE TABLE held (key VARCHAR, size BIGINT)")
    for prefix in prefixes(kind, key_prefix):
        for chunk in store.list(prefix):
            if chunk:
                batch = Table.from_pydict(
                    {
                        "key": Array([o.key for o in chunk], type=DataType.string()),
                        "size": Array([o.size for o in chunk], type=DataType.int64()),
                    }
                )
                connection.execute("INSERT INTO held SELECT key, size FROM batch")
                del batch
                count.held += len(chunk)
            advance(len(chunk))
    totals = connection.execute("SELECT count(*), count(*) FILTER (style = 'original') FROM expected").fetchone()
    assert totals is not None
    count.expected, count.records = totals
    connection.execute(f"INSERT INTO candidates SELECT ?, id, style FROM ({_DIFFERENT_SQL})", [kind.name])
    if sampler:
        with connection.cursor() as reader:
            result = reader.execute(
                "SELECT e.id, e.style, e.key FROM expected e ANTI JOIN candidates c "
                "ON c.kind = ? AND c.id = e.id AND c.style = e.style",
                [kind.name],
            )
            while found := result.fetchmany(_CHUNK):
                for record_id, style, key in found:
                    sampler.offer(kind, record_id, style, key)
    connection.execute("DROP TABLE expected")
    connection.execute("DROP TABLE held")
    return count


def prefixes(kind: Kind, key_prefix: str) -> list[str]:
    """The folders a kind's objects live under, with a trailing slash."""
    base = f"{key_prefix}/" if key_prefix else ""
    plain = f"{base}{kind.name}/"
    return [plain] if kind.remote is RemoteRule.NEVER else [plain, f"{base}cache/{kind.name}/"]
