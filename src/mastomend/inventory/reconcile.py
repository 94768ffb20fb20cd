"""Expected against held, for the kinds of one table at a time: what differs becomes a *candidate*, to be looked at again.

On a disk the expected keys are looked up while the rows still stream in: nothing is kept but what differs. In a
bucket the kinds' prefixes are listed (one request per thousand objects) and joined in DuckDB within its budget.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Table

from mastomend.inventory import arrow_buffers
from mastomend.inventory.database import MastodonDatabase, Snapshot
from mastomend.inventory.rows import scan_sql
from mastomend.mastodon.columnar import expected_files_sql, quote, styles
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import Kind, RemoteRule
from mastomend.storage.ports import BulkLookup, Held, Listing
from mastomend.storage.ranges import RangedListing, list_in_ranges

_CHUNK = 4_096
_IN_FLIGHT = 2
#: A range of fewer keys is not worth a connection of its own: each reads up to a page too much.
_RANGE = 4_000
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


Counts = dict[Kind, KindCount]


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """The table candidates are collected in."""
    connection.execute("CREATE TABLE candidates (kind VARCHAR, id BIGINT, style VARCHAR, key VARCHAR)")


def add_candidates(connection: duckdb.DuckDBPyConnection, found: Collection[tuple[Kind, int, str, str]]) -> None:
    """Remember (kind, id, style, key); the key of an unsafe name is empty."""
    if not found:
        return
    kinds, ids, found_styles, keys = zip(*found, strict=True)
    batch = Table.from_pydict(
        {
            "kind": Array([kind.name for kind in kinds], type=DataType.string()),
            "id": Array(ids, type=DataType.int64()),
            "style": Array(found_styles, type=DataType.string()),
            "key": Array(keys, type=DataType.string()),
        }
    )
    connection.execute("INSERT INTO candidates SELECT kind, id, style, key FROM batch")
    del batch


def by_lookup(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    database: MastodonDatabase,
    store: BulkLookup,
    kinds: Sequence[Kind],
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> Counts:
    """Look every expected key up, in parallel, while rows arrive: two batches are looked up while a third is made."""
    counts: Counts = {kind: KindCount() for kind in kinds}
    names = styles(kinds)
    pending: deque[tuple[Future[list[tuple[int, int]]], array[int], RecordBatch]] = deque()

    def settle() -> None:
        future, numbers, batch = pending.popleft()
        found = future.result()
        if found or sampler:
            ids, keys = arrow_buffers.integers(batch["id"]), batch["key"].to_pylist()
            different = {i for i, _ in found}
            add_candidates(connection, [_candidate(names[numbers[i]], ids[i], keys[i]) for i in different])
            if sampler:
                for i, key in enumerate(keys):
                    kind, style = names[numbers[i]]
                    if i not in different:
                        sampler.offer(kind, ids[i], style, key)
        advance(batch.num_rows)

    with (
        snapshot.stream(scan_sql(kinds, database)) as rows,
        connection.cursor() as reader,
        ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="reconcile") as threads,
    ):
        # an unsafe name has no key: '' is never found, so it becomes a candidate like anything that is missing
        expected_sql = (
            "SELECT n, id, coalesce(key, '') AS key, coalesce(expected_bytes, -1)::BIGINT AS expected_bytes "
            f"FROM ({expected_files_sql(kinds, 'source_rows')})"
        )
        for source_rows in RecordBatchReader.from_arrow(rows):  # as they arrive, so that look-ups start at once
            reader.register("source_rows", source_rows)
            for batch in RecordBatchReader.from_arrow(reader.sql(expected_sql)):
                numbers = arrow_buffers.integers(batch["n"])
                for n, (kind, style) in enumerate(names):
                    _add(counts[kind], style, numbers.count(n))
                arguments = (*arrow_buffers.strings(batch["key"]), arrow_buffers.integers(batch["expected_bytes"]))
                pending.append((threads.submit(store.differing, *arguments), numbers, batch))
                if len(pending) > _IN_FLIGHT:
                    settle()
        while pending:
            settle()
    return counts


def by_listing(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    database: MastodonDatabase,
    store: Listing,
    kinds: Sequence[Kind],
    key_prefix: str,
    connections: int,
    advance: Callable[[int], None],
    sampler: Sampler | None,
) -> Counts:
    """List the kinds' prefixes over that many connections, then join."""
    counts: Counts = {kind: KindCount() for kind in kinds}
    names = styles(kinds)
    connection.execute("CREATE OR REPLACE TABLE expected (n BIGINT, id BIGINT, key VARCHAR, expected_bytes BIGINT)")
    with snapshot.stream(scan_sql(kinds, database)) as rows:
        sql = expected_files_sql(kinds, "source_rows", key_prefix)
        for source_rows in RecordBatchReader.from_arrow(rows):
            connection.register("source_rows", source_rows)
            connection.execute(f"INSERT INTO expected SELECT n, id, key, expected_bytes FROM ({sql})")
    connection.execute("CREATE OR REPLACE TABLE held (key VARCHAR, size BIGINT)")
    for prefix in (prefix for kind in kinds for prefix in prefixes(kind, key_prefix)):
        for chunk in _listing(connection, store, prefix, connections):
            if chunk:
                batch = Table.from_pydict(
                    {
                        "key": Array([o.key for o in chunk], type=DataType.string()),
                        "size": Array([o.size for o in chunk], type=DataType.int64()),
                    }
                )
                connection.execute("INSERT INTO held SELECT key, size FROM batch")
                del batch
            advance(len(chunk))
    for n, number in connection.execute("SELECT n, count(*) FROM expected GROUP BY n").fetchall():
        kind, style = names[n]
        _add(counts[kind], style, number)
    named = ", ".join(f"({n}, {quote(kind.name)}, {quote(style)})" for n, (kind, style) in enumerate(names))
    connection.execute(f"CREATE OR REPLACE TABLE numbered AS FROM (VALUES {named}) AS v(n, kind, style)")
    connection.execute(
        "INSERT INTO candidates SELECT kind, id, style, coalesce(key, '') "
        f"FROM ({_DIFFERENT_SQL}) JOIN numbered USING (n)"
    )
    if sampler:
        with connection.cursor() as reader:
            result = reader.execute(
                "SELECT e.n, e.id, e.key FROM expected e JOIN numbered USING (n) "
                "ANTI JOIN candidates c ON c.kind = numbered.kind AND c.id = e.id AND c.style = numbered.style"
            )
            while found := result.fetchmany(_CHUNK):
                for n, record_id, key in found:
                    kind, style = names[n]
                    sampler.offer(kind, record_id, style, key)
    connection.execute("DROP TABLE expected")
    connection.execute("DROP TABLE held")
    return counts


def _listing(
    connection: duckdb.DuckDBPyConnection, store: Listing, prefix: str, connections: int
) -> Iterator[Sequence[Held]]:
    """The listing of a prefix; cut where the database says that as many keys lie before as behind."""
    if not isinstance(store, RangedListing) or connections < 2:
        return store.list(prefix)
    found = connection.execute("SELECT count(*) FROM expected WHERE starts_with(key, ?)", [prefix]).fetchone()
    parts = min(connections, (found[0] if found else 0) // _RANGE)
    if parts < 2:
        return store.list(prefix)
    shares = [n / parts for n in range(1, parts)]
    cut = connection.execute(
        "SELECT quantile_disc(key, ?) FROM expected WHERE starts_with(key, ?)", [shares, prefix]
    ).fetchone()
    return list_in_ranges(store, prefix, cut[0] if cut else (), connections)


def _candidate(name: tuple[Kind, str], record_id: int, key: str) -> tuple[Kind, int, str, str]:
    kind, style = name
    return kind, record_id, style, key


def _add(count: KindCount, style: str, number: int) -> None:
    count.expected += number
    if style == ORIGINAL:
        count.records += number


def prefixes(kind: Kind, key_prefix: str) -> list[str]:
    """The folders a kind's objects live under, with a trailing slash."""
    base = f"{key_prefix}/" if key_prefix else ""
    plain = f"{base}{kind.name}/"
    return [plain] if kind.remote is RemoteRule.NEVER else [plain, f"{base}cache/{kind.name}/"]
