"""The same rules as `keys`, as SQL expressions that DuckDB evaluates over millions of rows.

Both are derived from the one table in `kinds`; a property test compares them on generated records. The kinds of one
table are read together, so that each table is read once. Input columns: `id` and, for kind number i of them, those of
`scan_columns`, each with `_i` behind it (what `database.rows` reads). The output is one row per expected file:
`n, id, key, expected_bytes`, where `n` counts `styles(kinds)`; a row whose file name would leave its directory yields
one row with `key` NULL.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mastomend.mastodon.keys import ORIGINAL, below
from mastomend.mastodon.kinds import Derived, Kind, RemoteRule


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


# abs() of the padded id: "-%08d" for negatives, "%09d" below 10⁹, "%012d" above (facts §2.2).
_DIGITS = """CASE WHEN id >= 100000000000 THEN id::VARCHAR
    WHEN id >= 1000000000 THEN lpad(id::VARCHAR, 12, '0')
    WHEN id >= 0 THEN lpad(id::VARCHAR, 9, '0')
    ELSE lpad(ltrim(id::VARCHAR, '-'), greatest(length(id::VARCHAR) - 1, 8)::INTEGER, '0') END"""


def _groups(count: int) -> str:
    return f"concat_ws('/', {', '.join(f'substr(digits, {1 + 3 * i}, 3)' for i in range(count))})"


_PARTITION = "CASE length(digits) // 3 " + " ".join(f"WHEN {n} THEN {_groups(n)}" for n in (6, 3, 4, 5, 2)) + " END"

_BASE = r"""CASE WHEN starts_with({name}, '.')
    THEN coalesce(nullif(regexp_extract({name}, '(?s)^(\.*[^.].*)\.[^.]*$', 1), ''), {name})
    WHEN contains({name}, '.') THEN left({name}, length({name}) - length(split_part({name}, '.', -1)) - 1)
    ELSE {name} END"""
_EXTENSION = r"""CASE WHEN starts_with({name}, '.') THEN regexp_extract({name}, '(?s)^\.*[^.].*\.([^.]*)$', 1)
    WHEN contains({name}, '.') THEN split_part({name}, '.', -1) ELSE '' END"""


def styles(kinds: Sequence[Kind]) -> list[tuple[Kind, str]]:
    """What `n` counts: every kind's original and derived styles. A style may occur twice, under two conditions."""
    return [(kind, style) for kind in kinds for style in (ORIGINAL, *(d.style for d in kind.derived))]


def _styled_name(name: str, extension: str | None) -> str:
    base, own = _BASE.format(name=name), _EXTENSION.format(name=name)
    if extension is not None:
        return f"({base}) || {quote('.' + extension)}"
    return f"({base}) || CASE WHEN ({own}) = '' THEN '' ELSE '.' || ({own}) END"


def scan_columns(kind: Kind, record: Mapping[str, str]) -> dict[str, str]:
    """The input columns of a kind and how they are made of a `Record`'s, in PostgreSQL's or DuckDB's SQL.

    Every column costs as much as any other to send, to decode and to keep: there are no more than the rules need.
    """
    columns = {"file_name": record["file_name"], "file_size": record["file_size"]}
    match kind.remote:
        case RemoteRule.NEVER:
            pass
        case RemoteRule.ALWAYS:
            columns["in_cache"] = f"coalesce({record['version']}, 0) >= 1"
        case RemoteRule.DOMAIN | RemoteRule.REMOTE_URL:
            columns["in_cache"] = f"(coalesce({record['version']}, 0) >= 1 AND NOT ({record['is_local']}))"
    if types := frozenset().union(*(d.content_types or () for d in kind.derived)):
        columns["content_type"] = f"CASE WHEN {_in(record['content_type'], types)} THEN {record['content_type']} END"
    if any(d.var for d in kind.derived):
        known = {d.var for d in kind.derived if d.var}
        columns["var"] = f"CASE WHEN {_in(record['var'], known)} THEN {record['var']} END"
    return columns


def _in(value: str, among: Collection[str]) -> str:
    return f"{value} IN ({', '.join(map(quote, sorted(among)))})"


def _cache(kind: Kind, i: int) -> str:
    return "''" if kind.remote is RemoteRule.NEVER else f"CASE WHEN in_cache_{i} THEN 'cache/' ELSE '' END"


def _derived_condition(derived: Derived, i: int) -> str:
    conditions = [f"file_name_{i} <> ''", _safe(i)]
    if derived.content_types is not None:
        conditions.append(_in(f"content_type_{i}", derived.content_types))
    if derived.var is not None:
        conditions.append(f"var_{i} = {quote(derived.var)}")
    return " AND ".join(conditions)


def _safe(i: int) -> str:
    return f"(NOT contains(file_name_{i}, '/') AND file_name_{i} NOT IN ('.', '..'))"


def expected_files_sql(kinds: Sequence[Kind], rows: str, key_prefix: str = "", *, few: bool = False) -> str:
    """A SELECT over the relation `rows` that yields every expected file of those kinds.

    `few` rows are held in memory so that what their files have in common is made once.
    """
    prefix = below(key_prefix)
    selects: list[str] = []

    def select(condition: str, key: str, size: str = "NULL") -> None:
        selects.append(
            f"SELECT {len(selects)}::BIGINT AS n, id, {key} AS key, {size}::BIGINT AS expected_bytes "
            f"FROM placed WHERE {condition}"
        )

    for i, kind in enumerate(kinds):
        folder = f"{quote(prefix)}, {_cache(kind, i)}, {quote(kind.name + '/')}, partition"
        name = f"file_name_{i}"
        key = f"CASE WHEN {_safe(i)} THEN concat({folder}, {quote(f'/{ORIGINAL}/')}, {name}) END"
        select(f"{name} <> ''", key, f"file_size_{i}")
        for derived in kind.derived:
            key = f"concat({folder}, {quote(f'/{derived.style}/')}, {_styled_name(name, derived.extension)})"
            select(_derived_condition(derived, i), key)
    placed = f"SELECT *, {_PARTITION} AS partition FROM (SELECT *, {_DIGITS} AS digits FROM {rows})"
    return f"WITH placed AS {'' if few else 'NOT '}MATERIALIZED ({placed}) {' UNION ALL '.join(selects)}"
