"""The broken records of a scan that one run takes up, in the order they are taken up.

There may be as many as the instance has records, so they are kept where a scan keeps its own: in DuckDB within a budget,
spilling to disk. What the journal knows of them (decided already, due again, in the ledger) is joined there, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import duckdb
from arro3.core import Array, DataType, Table

from mastomend.inventory.workspace import scratch

_BROKEN_SQL = Path(__file__).with_name("broken.sql").read_text(encoding="utf-8")
_BATCH = 250
_TAKEN_AT_ONCE = 20_000

#: The name of its kind and its id.
Record = tuple[str, int]


class WorkList:
    """The records; `work_list` makes it. Several iterators may be open at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, findings: Path, kinds: Sequence[str]) -> None:
        self._connection = connection
        self._kinds = list(kinds)
        self._numbers = {kind: number for number, kind in enumerate(self._kinds, 1)}
        ((styles,),) = connection.execute(
            "SELECT list(DISTINCT style) FROM read_parquet(?) WHERE state = 'corrupt'", [str(findings)]
        ).fetchall()
        self._styles: list[str] = sorted(styles or ())
        connection.execute(f"CREATE TABLE broken AS {_BROKEN_SQL}", [str(findings), self._kinds, self._styles])

    def __len__(self) -> int:
        ((number,),) = self._connection.execute("SELECT count(*) FROM broken").fetchall()
        return int(number)

    def batches(self, kinds: Sequence[str]) -> Iterator[list[tuple[str, int, frozenset[str]]]]:
        """Records of those kinds with their styles that do not decode, a few hundred at a time, hosts interleaved."""
        numbers = [self._numbers[kind] for kind in kinds]
        with self._connection.cursor() as reader:
            result = reader.execute(
                "SELECT kind, id, corrupt FROM broken WHERE list_contains(?, kind) ORDER BY position, kind, id",
                [numbers],
            )
            while rows := result.fetchmany(_BATCH):
                yield [(self._kinds[kind - 1], record_id, self._named(bits)) for kind, record_id, bits in rows]

    def _named(self, bits: int) -> frozenset[str]:
        return frozenset(style for n, style in enumerate(self._styles) if bits >> n & 1) if bits else frozenset()

    def keep(self, records: Iterable[Record]) -> None:
        """Take up only those."""
        self._take(records)
        self._connection.execute("CREATE OR REPLACE TABLE broken AS FROM broken SEMI JOIN taken USING (kind, id)")

    def leave_out(self, records: Iterable[Record]) -> None:
        """Do not take those up."""
        self._take(records)
        self._connection.execute("CREATE OR REPLACE TABLE broken AS FROM broken ANTI JOIN taken USING (kind, id)")

    def limit(self, number: int, tried: Iterable[Record]) -> int:
        """Take up at most so many, never tried ones first, the first of every host first. How many are left out."""
        before = len(self)
        self._take(tried)
        self._connection.execute(
            "CREATE OR REPLACE TABLE broken AS SELECT b.* FROM broken b LEFT JOIN taken t USING (kind, id) "
            f"ORDER BY t.id IS NOT NULL, b.position, b.kind, b.id LIMIT {int(number)}"
        )
        return before - len(self)

    def sound(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those of the records that are of these kinds and not broken, kind by kind. Ask before anything is left out."""
        self._take(records)
        with self._connection.cursor() as reader:
            result = reader.execute("SELECT kind, id FROM taken ANTI JOIN broken USING (kind, id) ORDER BY kind")
            while rows := result.fetchmany(_TAKEN_AT_ONCE):
                yield from ((self._kinds[kind - 1], record_id) for kind, record_id in rows)

    def _take(self, records: Iterable[Record]) -> None:
        """Records of other kinds are none of ours."""
        self._connection.execute("CREATE OR REPLACE TABLE taken (kind UTINYINT, id BIGINT)")
        rest = ((self._numbers[kind], record_id) for kind, record_id in records if kind in self._numbers)
        while some := list(islice(rest, _TAKEN_AT_ONCE)):
            kinds, ids = zip(*some, strict=True)
            batch = Table.from_pydict(
                {"kind": Array(kinds, type=DataType.uint8()), "id": Array(ids, type=DataType.int64())}
            )
            self._connection.execute("INSERT INTO taken SELECT * FROM batch")
            del batch


@contextlib.contextmanager
def work_list(folder: Path, budget: int, findings: Path, kinds: Sequence[str]) -> Iterator[WorkList]:
    """The broken records of those kinds; `folder` is where they may spill to.

    Raises:
        JournalError: there is no room for them.
    """
    with scratch(folder, budget) as connection:
        yield WorkList(connection, findings, kinds)
