"""Reading a report back: the rows of findings.parquet or outcomes.parquet that are asked for, in order, a batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from arro3.core import Table

from mastomend.interrupts import stoppable
from mastomend.inventory.workspace import scratch

_BATCH = 500
_IN_DOMAIN = "domain = d OR ends_with(domain, '.' || d)"
#: Ways to sort, each with the columns it means.
SORTS = {
    "whose": "is_local DESC, word IN ('restored', 'refreshed'), domain NULLS FIRST, kind, id",
    "kind": "kind, id",
    "domain": "domain NULLS FIRST, kind, id",
    "word": "word, is_local DESC, kind, id",
}
#: A file nobody expects, with the columns of a finding.
_STRAY = (
    "SELECT * REPLACE (regexp_extract(key, '(?:^|/)([a-z_]+/[a-z_]+)/(?:[0-9]{3}/)', 1) AS kind) FROM (SELECT '' AS kind, "
    "0::BIGINT AS id, key, false AS is_local, NULL::VARCHAR AS domain, why, size AS actual_bytes, modified "
    "FROM read_parquet(?))"
)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are alike: their words, the number of their records, of this server's own users' among them, of files."""

    values: tuple[str | None, ...]
    records: int
    own: int
    files: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows. Empty means all; `words` are states or outcomes, domains have their subdomains with them.

    `records` are kind and id of all that may be shown; None: no matter which. `tried` gives kind and id of those that may not,
    `known` of all that may, as often as they are asked.
    """

    kinds: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    local: bool | None = None
    without_domains: tuple[str, ...] = ()
    records: Sequence[tuple[str, int]] | None = None
    limit: int | None = None
    sort: str = "whose"
    tried: Callable[[], Iterable[Table]] | None = None
    known: Callable[[], Iterable[Table]] | None = None
    entries: Callable[[], Iterable[Table]] | None = None


def browse(path: Path, wanted: Wanted, budget: int) -> Iterator[list[dict[str, Any]]]:
    """The rows as columns by name, with `word`: the state of a finding, the outcome of a record."""
    with scratch(path.parent, budget) as connection:
        _take_tried(connection, wanted)
        sql, values = _question(path, wanted, _columns(connection, path))
        result = connection.execute(sql, values)
        names = [column[0] for column in result.description]
        while rows := result.fetchmany(_BATCH):
            yield [dict(zip(names, row, strict=True)) for row in rows]


def number_of(path: Path, wanted: Wanted, budget: int) -> int:
    """How many rows there are, whatever the limit."""
    with _asked(path, wanted, budget) as (connection, sql, values, _):
        ((number,),) = connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchall()
        return int(number)


def groups(path: Path, wanted: Wanted, by: Sequence[str], budget: int) -> list[Group]:
    """The rows counted by some of `COUNTED_BY`, whatever the limit: the largest groups first."""
    with _asked(path, wanted, budget) as (connection, sql, values, columns):
        has_records = "why" not in columns
        if "known" in by:
            _take(connection, "entries", wanted.entries or (lambda: ()))
            sql = (
                f"SELECT found.*, coalesce(l.outcome, 'new') AS known FROM ({sql}) found "
                f"LEFT JOIN entries l ON {_same(columns)}"
            )
        same = "".join(f"{'word' if one == 'outcome' else one}, " for one in by)
        each = f"SELECT {same}is_local, count(*) AS files FROM ({sql}) GROUP BY {same}is_local, kind, id"
        # what has no server is this one's, or nobody's
        of = f"GROUP BY {same}{'is_local' if 'domain' in by else ''}".rstrip(", ") if by else ""
        counted = connection.execute(
            f"SELECT {same}count(*) AS records, count(*) FILTER (is_local) AS own, sum(files)::BIGINT AS files "
            f"FROM ({each}) {of} ORDER BY files DESC{same and f', {same[:-2]}'}",
            values,
        ).fetchall()
    return [
        Group(tuple(words), records if has_records else 0, own, files or 0) for *words, records, own, files in counted
    ]


@contextlib.contextmanager
def _asked(path: Path, wanted: Wanted, budget: int) -> Iterator[tuple[Any, str, Sequence[object], set[str]]]:
    """A connection, what is asked of it whatever the limit, and the columns of the report."""
    with scratch(path.parent, budget) as connection:
        _take_tried(connection, wanted)
        columns = _columns(connection, path)
        yield connection, *_question(path, wanted, columns, limited=False), columns


def filled(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of the reports that hold a row; only their last bytes are read."""
    with stoppable(duckdb.connect(":memory:")) as connection:
        for path in paths:
            with contextlib.suppress(duckdb.Error):  # cut off, or of another program: it is none
                ((rows,),) = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(path)]).fetchall()
                if rows:
                    yield path


def _take_tried(connection: Any, wanted: Wanted) -> None:
    """What is left out, or alone let in, where the question finds it."""
    for name, tables in (("tried", wanted.tried), ("known", wanted.known)):
        if tables is not None:
            _take(connection, name, tables)


def _take(connection: Any, name: str, tables: Callable[[], Iterable[Table]]) -> None:
    """Entries of the ledger as a table of that name."""
    connection.execute(f"CREATE TEMP TABLE {name} (kind VARCHAR, id BIGINT, file_name VARCHAR, outcome VARCHAR)")
    for batch in tables():
        connection.execute(f"INSERT INTO {name} SELECT kind, id, file_name, outcome FROM batch")
        del batch


def _columns(connection: Any, path: Path) -> set[str]:
    return {row[0] for row in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()}


def _same(columns: set[str]) -> str:
    """Whether an entry `l` of the ledger is about a row `found`: what is known of another file of the record says nothing."""
    same = "l.kind = found.kind AND l.id = found.id"
    return (
        f"{same} AND (coalesce(l.file_name, '') = '' OR l.file_name = found.file_name)"
        if "file_name" in columns
        else same
    )


def _by_ledger(wanted: Wanted, columns: set[str]) -> Iterator[str]:
    same = _same(columns)
    if wanted.tried is not None:
        yield f"NOT EXISTS (SELECT 1 FROM tried l WHERE {same})"
    if wanted.known is not None:
        yield f"EXISTS (SELECT 1 FROM known l WHERE {same})"


def _question(path: Path, wanted: Wanted, columns: set[str], *, limited: bool = True) -> tuple[str, Sequence[object]]:
    word: str = next(name for name in ("state", "why", "outcome") if name in columns)
    source = "FROM read_parquet(?)"
    if word == "why":
        source, columns = f"FROM ({_STRAY})", columns | {"kind", "id", "domain", "is_local"}
    values: list[object] = [str(path)]
    conditions = []
    for column, chosen in (("kind", wanted.kinds), (word, wanted.words), ("reason", wanted.reasons)):
        if chosen:
            conditions.append(f"list_contains(?, {column})" if column in columns else "false")
            values += [list(chosen)] if column in columns else []
    for negation, domains in (("", wanted.domains), ("NOT ", wanted.without_domains)):
        if domains:
            conditions.append(f"{negation}EXISTS (SELECT 1 FROM unnest(?) AS u(d) WHERE {_IN_DOMAIN})")
            values.append(list(domains))
    if wanted.records is not None:
        conditions.append("(kind, id) IN (SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[]))")
        values += [[kind for kind, _ in wanted.records], [record_id for _, record_id in wanted.records]]
    conditions += _by_ledger(wanted, columns)
    if wanted.local is not None:
        conditions.append("is_local" if wanted.local else "NOT is_local")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    if "source" in columns:  # a run that was not applied has not come to an outcome
        word = f"CASE WHEN {word} <> '' THEN {word} WHEN source <> '' THEN 'would be tried' ELSE 'would be left' END"
    sql = f"SELECT *, {word} AS word {source} found{where}"
    if limited:
        sql += f" ORDER BY {SORTS[wanted.sort]}" + ("" if wanted.limit is None else f" LIMIT {int(wanted.limit)}")
    return sql, values
