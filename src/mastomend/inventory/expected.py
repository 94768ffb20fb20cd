"""What the database expects, in the scan's workspace: each table is read once, in one short transaction of its own.

PostgreSQL gives a table as fast as it can and is let go; whatever takes long (a cold disk, a slow bucket) happens
afterwards, from the copy here. A snapshot held open keeps vacuum from cleaning up the whole database, and the lock of
a mere SELECT makes a migration wait, so neither lasts longer than reading the table. Only the columns that keys are
made of are kept (some 40 bytes for each file name); the keys themselves are made from them whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import schema_of
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import expected_files_sql, quote, styles
from mastomend.mastodon.keys import CACHE, ORIGINAL, below
from mastomend.mastodon.kinds import Kind, RemoteRule, by_table
from mastomend.mastodon.rows_sql import as_read, scan_sql
from mastomend.mastodon.selection import EVERYTHING, Selection

#: Rows looked up in one step: half of what DuckDB stores together.
_CHUNK = 61_440
#: One row in so many tells where a listing is best cut.
_SAMPLE = 256


@dataclass(slots=True)
class KindCount:
    """How many records of a kind name a file, and how many files they need; `cached` of those below `cache/`."""

    records: int = 0
    expected: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a table's rows, as a relation; `number` counts from 0."""

    number: int
    rows: str


@dataclass(frozen=True, slots=True)
class Expected:
    """The expectations of the kinds of one table, which are read together. `key_prefix` stands before every key."""

    work: Workspace
    kinds: tuple[Kind, ...]
    key_prefix: str
    selection: Selection = EVERYTHING
    is_described: bool = False

    @property
    def table(self) -> str:
        """The table in Mastodon's database."""
        return self.kinds[0].table

    @property
    def _rows(self) -> str:
        return f"rows_{self.table}"

    @property
    def is_read(self) -> bool:
        """Whether the table's rows are here."""
        return self.work.did(f"read {self.table}")

    def read(self, database: MastodonDatabase, advance: Callable[[int], None]) -> None:
        """Take the table's rows; all of them or none.

        Raises:
            DatabaseError: they could not be read to the end.
        """
        with self.work.step(f"read {self.table}") as connection:
            is_empty, schema = True, schema_of(database, self.kinds[0])

            kept = as_read(self.kinds, schema)

            def begin() -> None:
                nonlocal is_empty
                is_empty = True
                connection.execute(f"CREATE OR REPLACE TABLE {self._rows} (id BIGINT)")

            for batch in database.rows(
                scan_sql(self.kinds, schema, self.selection, described=self.is_described), begin
            ):
                what = f"CREATE OR REPLACE TABLE {self._rows} AS" if is_empty else f"INSERT INTO {self._rows}"
                connection.execute(f"{what} SELECT {kept} FROM batch")
                is_empty = False
                advance(batch.num_rows)

    def count(self) -> dict[Kind, KindCount]:
        """Records and files of each kind."""
        counts = {kind: KindCount() for kind in self.kinds}
        if self.is_empty:
            return counts
        names = styles(self.kinds)
        cache = f"{below(self.key_prefix)}{CACHE}"
        counted = f"SELECT n, count(*), count(*) FILTER (starts_with(key, ?)) FROM ({self.files()}) GROUP BY n"
        for n, number, cached in self._all(counted, [cache]):
            kind, style = names[n]
            counts[kind].expected += number
            counts[kind].cached += cached
            if style == ORIGINAL:
                counts[kind].records += number
        return counts

    def files(self, rows: str | None = None) -> str:
        """A SELECT of every expected file: `n` (counting `styles`), `id`, `key` (NULL: unsafe), `expected_bytes`.

        Of all rows, or of those few.
        """
        if self.is_empty:
            return "SELECT 0::BIGINT AS n, 0::BIGINT AS id, ''::VARCHAR AS key, 0::BIGINT AS expected_bytes WHERE false"
        return expected_files_sql(self.kinds, rows or self._rows, self.key_prefix, few=rows is not None)

    def described(self) -> str:
        """A SELECT of every expected file with its kind and style, whose it is and how old (as in `rows_sql.scan_sql`):

        `kind, id, style, key, expected_bytes, is_local, domain, account, created, updated`.
        """
        assert self.is_described
        names = styles(self.kinds)
        numbers = {kind: i for i, kind in enumerate(self.kinds)}
        named = ", ".join(f"({n}, {quote(kind.name)}, {quote(style)})" for n, (kind, style) in enumerate(names))
        updated = " ".join(f"WHEN {n} THEN r.updated_{numbers[kind]}" for n, (kind, _) in enumerate(names))
        if self.is_empty:
            none = "NULL::VARCHAR AS kind, NULL::BIGINT AS id, NULL::VARCHAR AS style, NULL::VARCHAR AS key"
            of_it = (
                "NULL::BOOLEAN AS is_local, NULL::VARCHAR AS domain, NULL::BIGINT AS account, NULL::BIGINT AS created, "
                "NULL::BIGINT AS updated"
            )
            return f"SELECT {none}, NULL::BIGINT AS expected_bytes, {of_it} WHERE false"
        return (
            f"SELECT v.kind, f.id, v.style, f.key, f.expected_bytes, r.is_local, r.domain, r.account, r.created, "
            f"CASE f.n {updated} END AS updated FROM ({self.files()}) f JOIN {self._rows} r USING (id) "
            f"JOIN (VALUES {named}) AS v(n, kind, style) USING (n)"
        )

    def chunks(self) -> Iterator[Chunk]:
        """All rows, a few tens of thousands at a time, in the order they are kept; ids mostly ascend with it."""
        total = self._total()
        for number, start in enumerate(range(0, total, _CHUNK)):
            end = start + _CHUNK - 1
            yield Chunk(number, f"(SELECT * FROM {self._rows} WHERE rowid BETWEEN {start} AND {end})")

    def cuts(self, prefix: str, parts: int) -> list[str]:
        """At most `parts - 1` keys that cut what is expected below a prefix into parts of about one size."""
        if parts < 2 or self.is_empty:
            return []
        sample = self.files(f"(SELECT * FROM {self._rows} WHERE hash(id) % {_SAMPLE} = 0)")
        shares = [n / parts for n in range(1, parts)]
        ((found,),) = self._all(
            f"SELECT quantile_disc(key, ?) FROM ({sample}) WHERE starts_with(key, ?)", [shares, prefix]
        )
        return sorted(set(found or ()))

    def below(self) -> dict[str, int]:
        """How many expected keys start with each of the prefixes."""
        prefixes = self.prefixes()
        if self.is_empty:
            return dict.fromkeys(prefixes, 0)
        counted = ", ".join("count(*) FILTER (starts_with(key, ?))" for _ in prefixes)
        (found,) = self._all(f"SELECT {counted} FROM ({self.files()})", prefixes)
        return dict(zip(prefixes, found, strict=True))

    def prefixes(self) -> list[str]:
        """The folders the objects of these kinds live under, with a trailing slash."""
        base = below(self.key_prefix)
        return [
            f"{base}{cache}{kind.name}/"
            for kind in self.kinds
            for cache in (("",) if kind.remote is RemoteRule.NEVER else ("", "cache/"))
        ]

    def _all(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        return self.work.connection.execute(sql, list(parameters)).fetchall()

    def _total(self) -> int:
        ((total,),) = self._all(f"SELECT count(*) FROM {self._rows}")
        return int(total)

    @property
    def is_empty(self) -> bool:
        """Whether no record names a file."""
        return self._total() == 0


def expected(
    work: Workspace,
    kinds: Sequence[Kind],
    key_prefix: str,
    selection: Selection = EVERYTHING,
    *,
    described: bool = False,
) -> list[Expected]:
    """One for each table those kinds are in."""
    return [Expected(work, group, key_prefix, selection, described) for group in by_table(kinds)]
