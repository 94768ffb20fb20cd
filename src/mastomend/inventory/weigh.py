"""What records take: of every file they expect, how many bytes the storage holds. Steps in the workspace, as in a scan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Table

from mastomend.inventory import arrow_buffers, held
from mastomend.inventory.expected import Chunk, Expected
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote, styles
from mastomend.progress import Progress
from mastomend.storage.ports import MISSING, TELL, BulkLookup, Store
from mastomend.vocabulary import State

_IN_FLIGHT = 2
#: What the scan's own storage holds.
WEIGHED = "weighed"


def weigh(
    tables: Sequence[Expected],
    store: Store,
    work: Workspace,
    progress: Progress,
    connections: int,
    announce: Callable[[int], None] = lambda requests: None,
    into: str = WEIGHED,
    *,
    few: bool = False,
) -> None:
    """The relation of that name (kind, id, style, size): a size is -1 where the file is missing, -2 where it cannot be looked
    at. Another storage than the scan's own has another one.

    On a disk every file is looked up, and elsewhere if they are `few`; else what is below the kinds' folders is listed over so
    many connections, and `announce` hears how many list requests that takes.

    Raises:
        StorageError: it cannot be completed; what was seen stays in the workspace.
    """
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS {into} (kind VARCHAR, id BIGINT, style VARCHAR, size BIGINT)")
    if isinstance(store, BulkLookup):
        for table in tables:
            progress.start(f"{table.table}: sizes", sum(one.expected for one in table.count().values()))
            _look_up(table, store, progress.advance, into)
        return
    held_there = held.HELD if into == WEIGHED else f"{held.HELD}_{into}"
    held.create(work, held_there)
    if few:
        progress.start("looking files up", sum(c.expected for table in tables for c in table.count().values()))
        held.look_up(store, tables, work, progress.advance, held_there)
    else:
        listing = held.StorageListing(store, tables, connections, into=held_there)
        announce(listing.requests)
        progress.start("listing the storage", listing.expected)
        listing.read(work, progress.advance)
    for table in tables:
        if not work.did(f"{into} {table.table}"):
            with work.step(f"{into} {table.table}") as connection:
                connection.execute(
                    f"INSERT INTO {into} SELECT v.kind, f.id, v.style, coalesce(h.size, {MISSING}) "
                    f"FROM ({table.files()}) f JOIN {names(table)} USING (n) "
                    f"LEFT JOIN (SELECT DISTINCT ON (digest) digest, size FROM {held_there}) h ON h.digest = md5_number(f.key)"
                )


def tell_missing(tables: Sequence[Expected], work: Workspace) -> None:
    """What is missing goes to `findings`, as in a check's first look: whether that is an unmounted disk is judged by it."""
    described = " UNION ALL ".join(table.described() for table in tables)
    work.connection.execute("DELETE FROM findings")
    missing = f"(SELECT kind, id, style FROM {WEIGHED} WHERE size = {MISSING})"
    work.connection.execute(
        f"INSERT INTO findings BY NAME SELECT kind, id, style, d.key, {quote(State.MISSING)} AS state, d.is_local, d.domain, "
        f"'' AS file_name, '' AS detail FROM {missing} w JOIN ({described}) d USING (kind, id, style)"
    )


def names(table: Expected) -> str:
    """The kinds and styles of that table's files as a relation `v(n, kind, style)`, by their number `n`."""
    named = ", ".join(
        f"({n}, {quote(kind.name)}, {quote(style)})" for n, (kind, style) in enumerate(styles(table.kinds))
    )
    return f"(VALUES {named}) AS v(n, kind, style)"


def _look_up(table: Expected, store: BulkLookup, advance: Callable[[int], None], into: str) -> None:
    """Two batches are looked up while a third is made."""
    with table.work.connection.cursor() as reader, ThreadPoolExecutor(_IN_FLIGHT, "weigh") as threads:
        for chunk in table.chunks():
            step = f"{into} {table.table} {chunk.number}"
            if table.work.did(step):
                continue
            with table.work.step(step) as connection:
                for batch, sizes in _sizes(table, chunk, store, reader, threads):
                    _keep(connection, table, batch, sizes, into)
                    advance(batch.num_rows)


def _sizes(
    table: Expected, chunk: Chunk, store: BulkLookup, reader: duckdb.DuckDBPyConnection, threads: ThreadPoolExecutor
) -> Iterator[tuple[RecordBatch, list[int]]]:
    pending: deque[tuple[RecordBatch, Future[list[tuple[int, int]]]]] = deque()

    def answered() -> tuple[RecordBatch, list[int]]:
        batch, answer = pending.popleft()
        return batch, [size for _, size in answer.result()]  # of all of them, in their order

    sql = f"SELECT n, id, concat(key, chr(0)) AS key, {TELL}::BIGINT AS tell FROM ({table.files(chunk.rows)})"
    for batch in RecordBatchReader.from_arrow(reader.sql(sql)):
        keys = arrow_buffers.strings(batch["key"])
        pending.append((batch, threads.submit(store.differing, *keys, arrow_buffers.integers(batch["tell"]))))
        if len(pending) > _IN_FLIGHT:
            yield answered()
    while pending:
        yield answered()


def _keep(
    connection: duckdb.DuckDBPyConnection, table: Expected, batch: RecordBatch, sizes: list[int], into: str
) -> None:
    found = Table.from_pydict({"n": batch["n"], "id": batch["id"], "size": Array(sizes, type=DataType.int64())})
    connection.execute(
        f"INSERT INTO {into} SELECT v.kind, f.id, v.style, f.size FROM found f JOIN {names(table)} USING (n)"
    )
    del found
