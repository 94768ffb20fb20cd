"""Expected against held, for one kind at a time: what differs becomes a *candidate*, to be looked at again.

On a disk the expected keys are looked up while the rows still stream in: nothing is kept but what differs. In a
bucket the kind's prefixes are listed (one request per thousand objects) and joined in DuckDB within its budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Table

from mastomend.inventory import arrow_buffers
from mastomend.inventory.database import MastodonDatabase, Snapshot
from mastomend.inventory.rows import scan_sql
from mastomend.mastodon.columnar import expected_files_sql
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import Kind, RemoteRule
from mastomend.storage.ports import MISSING, BulkLookup, Listing

_CHUNK = 4_096
_IN_FLIGHT = 2
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
    store: BulkLookup,
    kind: Kind,
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> KindCount:
    """Look every expected key up, in parallel, while rows arrive: two batches are looked up while a third is made."""
    count = KindCount()
    pending: deque[tuple[Future[list[tuple[int, int]]], RecordBatch]] = deque()

    def settle() -> None:
        future, batch = pending.popleft()
        found = future.result()
        count.held += batch.num_rows - sum(1 for _, size in found if size == MISSING)
        if found or sampler:
            ids, styles = batch["id"].to_pylist(), batch["style"].to_pylist()
            different = {(ids[i], styles[i]) for i, _ in found}
            add_candidates(connection, kind, sorted(different))
            if sampler:
                for record_id, style, key in zip(ids, styles, batch["key"].to_pylist(), strict=True):
                    if (record_id, style) not in different:
                        sampler.offer(kind, record_id, style, key)
        advance(batch.num_rows)

    with (
        snapshot.stream(scan_sql(kind, database)) as rows,
        connection.cursor() as reader,
        ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="reconcile") as threads,
    ):
        # an unsafe name has no key: '' is never found, so it becomes a candidate like anything that is missing
        expected_sql = (
            "SELECT id, style, coalesce(key, '') AS key, coalesce(expected_bytes, -1)::BIGINT AS expected_bytes "
            f"FROM ({expected_files_sql(kind, 'source_rows')})"
        )
        for source_rows in RecordBatchReader.from_arrow(rows):  # as they arrive, so that look-ups start at once
            reader.register("source_rows", source_rows)
            for batch in RecordBatchReader.from_arrow(reader.sql(expected_sql)):
                count.expected += batch.num_rows
                count.records += arrow_buffers.strings(batch["style"])[1].count(ORIGINAL.encode())
                arguments = (*arrow_buffers.strings(batch["key"]), arrow_buffers.integers(batch["expected_bytes"]))
                pending.append((threads.submit(store.differing, *arguments), batch))
                if len(pending) > _IN_FLIGHT:
                    settle()
        while pending:
            settle()
    return count


def by_listing(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    database: MastodonDatabase,
    store: Listing,
    kind: Kind,
    key_prefix: str,
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> KindCount:
    """List the kind's prefixes, then join."""
    count = KindCount()
    connection.execute(
        "CREATE OR REPLACE TABLE expected (id BIGINT, style VARCHAR, key VARCHAR, expected_bytes BIGINT)"
    )
    with snapshot.stream(scan_sql(kind, database)) as rows:
        sql = expected_files_sql(kind, "source_rows", key_prefix)
        for source_rows in RecordBatchReader.from_arrow(rows):
            connection.register("source_rows", source_rows)
            connection.execute(f"INSERT INTO expected SELECT id, style, key, expected_bytes FROM ({sql})")
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
