"""Expected against held: what differs becomes a *candidate*, to be looked at again (`confirm`).

On a disk every expected key is looked up, which is several times faster than walking Mastodon's one directory a file.
Anywhere else a listing answers a thousand questions with one request, and DuckDB joins it with the expected keys. Both
work in steps (see `workspace`).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import duckdb
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Table

from mastomend.inventory import arrow_buffers
from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote, styles
from mastomend.mastodon.kinds import Kind
from mastomend.storage.ports import BulkLookup

_FETCH = 4_096
_IN_FLIGHT = 2
_DIFFERENT_SQL = Path(__file__).with_name("reconcile.sql").read_text(encoding="utf-8")

Candidate = tuple[Kind, int, str, str]


class Sampler(Protocol):
    """Takes files that look sound; a deep check reads some of them."""

    def offer(self, kind: Kind, record_id: int, style: str, key: str) -> None:
        """Consider one present file."""
        ...

    def drain(self) -> Collection[Candidate]:
        """Those offered since the last call that turned out to be broken."""
        ...


def create(work: Workspace) -> None:
    """The table candidates are collected in; the key of an unsafe name is empty."""
    work.connection.execute(
        "CREATE TABLE IF NOT EXISTS candidates (kind VARCHAR, id BIGINT, style VARCHAR, key VARCHAR)"
    )


def _add_candidates(connection: duckdb.DuckDBPyConnection, found: Collection[Candidate]) -> None:
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


@dataclass(frozen=True, slots=True)
class _Looked:
    """One batch of expected files with those that differ: (index, size)."""

    step: str
    batch: RecordBatch
    different: Sequence[tuple[int, int]]


def by_lookup(
    table: Expected, store: BulkLookup, advance: Callable[[int], None], sampler: Sampler | None = None
) -> None:
    """Look every expected key up, in parallel: two batches are looked up while a third is made."""
    names = styles(table.kinds)
    with table.work.connection.cursor() as reader:
        for step, looked in groupby(_look_up(table, store, reader), key=lambda one: one.step):
            with table.work.step(step) as connection:
                for one in looked:
                    _settle(connection, one, names, sampler)
                    advance(one.batch.num_rows)
                if sampler:
                    _add_candidates(connection, sampler.drain())


def _look_up(table: Expected, store: BulkLookup, reader: duckdb.DuckDBPyConnection) -> Iterator[_Looked]:
    pending: deque[tuple[str, RecordBatch, Future[list[tuple[int, int]]]]] = deque()

    def next_answer() -> _Looked:
        step, batch, answer = pending.popleft()
        return _Looked(step, batch, answer.result())

    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="reconcile") as threads:
        for chunk in table.chunks():
            step = f"looked up {table.table} {chunk.number}"
            if table.work.did(step):
                continue
            # an unsafe name has no key: '' is never found, so it becomes a candidate like anything that is missing
            sql = (
                "SELECT n, id, concat(key, chr(0)) AS key, coalesce(expected_bytes, -1)::BIGINT AS expected_bytes "
                f"FROM ({table.files(chunk.rows)})"
            )
            for batch in RecordBatchReader.from_arrow(reader.sql(sql)):
                keys, sizes = arrow_buffers.strings(batch["key"]), arrow_buffers.integers(batch["expected_bytes"])
                pending.append((step, batch, threads.submit(store.differing, *keys, sizes)))
                if len(pending) > _IN_FLIGHT:
                    yield next_answer()
        while pending:
            yield next_answer()


def _settle(
    connection: duckdb.DuckDBPyConnection, looked: _Looked, names: Sequence[tuple[Kind, str]], sampler: Sampler | None
) -> None:
    if not looked.different and not sampler:
        return
    batch = looked.batch
    numbers: array[int] = arrow_buffers.integers(batch["n"])
    ids, keys = arrow_buffers.integers(batch["id"]), [key.removesuffix("\0") for key in batch["key"].to_pylist()]
    different = {i for i, _ in looked.different}
    _add_candidates(connection, [_candidate(names[numbers[i]], ids[i], keys[i]) for i in different])
    if sampler:
        for i, key in enumerate(keys):
            if i not in different:
                sampler.offer(*_candidate(names[numbers[i]], ids[i], key))


def by_join(tables: Sequence[Expected], work: Workspace, sampler: Sampler | None = None) -> None:
    """Join what the tables expect with `held`."""
    for table in tables:
        step = f"joined {table.table}"
        if work.did(step):
            continue
        names = styles(table.kinds)
        named = ", ".join(f"({n}, {quote(kind.name)}, {quote(style)})" for n, (kind, style) in enumerate(names))
        with work.step(step) as connection:
            connection.execute(f"CREATE OR REPLACE TABLE numbered AS FROM (VALUES {named}) AS v(n, kind, style)")
            connection.execute(
                f"INSERT INTO candidates WITH expected AS ({table.files()}), different AS ({_DIFFERENT_SQL}) "
                "SELECT DISTINCT kind, id, style, coalesce(key, '') FROM different JOIN numbered USING (n)"
            )
            if sampler:
                _offer_sound(connection, table, sampler)
                _add_candidates(connection, sampler.drain())


def _offer_sound(connection: duckdb.DuckDBPyConnection, table: Expected, sampler: Sampler) -> None:
    names = styles(table.kinds)
    result = connection.execute(
        f"SELECT e.n, e.id, e.key FROM ({table.files()}) e JOIN numbered USING (n) "
        "ANTI JOIN candidates c ON c.kind = numbered.kind AND c.id = e.id AND c.style = numbered.style"
    )
    while found := result.fetchmany(_FETCH):
        for n, record_id, key in found:
            sampler.offer(*_candidate(names[n], record_id, key))


def _candidate(name: tuple[Kind, str], record_id: int, key: str) -> Candidate:
    kind, style = name
    return kind, record_id, style, key
