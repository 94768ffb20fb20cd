"""The same rules as `keys`, as SQL expressions that DuckDB evaluates over millions of rows.

Both are derived from the one table in `kinds`; a property test compares them on generated records. The kinds of one
table are read together, so that each table is read once. Input columns: `id` and, for kind number i of them,
`is_local_i, file_name_i, content_type_i, file_size_i, version_i, var_i` (what `inventory.rows` reads). The output is
one row per expected file: `n, id, key, expected_bytes`, where `n` counts `styles(kinds)`; a row whose file name would
leave its directory yields one row with `key` NULL.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.mastodon.keys import ORIGINAL
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
    return " || '/' || ".join(f"substr(digits, {1 + 3 * i}, 3)" for i in range(count))


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


def _cache(kind: Kind, i: int) -> str:
    match kind.remote:
        case RemoteRule.NEVER:
            return "''"
        case RemoteRule.ALWAYS:
            return f"CASE WHEN coalesce(version_{i}, 0) >= 1 THEN 'cache/' ELSE '' END"
        case RemoteRule.DOMAIN | RemoteRule.REMOTE_URL:
            return f"CASE WHEN NOT is_local_{i} AND coalesce(version_{i}, 0) >= 1 THEN 'cache/' ELSE '' END"


def _derived_condition(derived: Derived, i: int) -> str:
    conditions = [f"file_name_{i} <> ''", _safe(i)]
    if derived.content_types is not None:
        listed = ", ".join(quote(t) for t in sorted(derived.content_types))
        conditions.append(f"content_type_{i} IN ({listed})")
    if derived.var is not None:
        conditions.append(f"var_{i} = {quote(derived.var)}")
    return " AND ".join(conditions)


def _safe(i: int) -> str:
    return f"(NOT contains(file_name_{i}, '/') AND file_name_{i} NOT IN ('.', '..'))"


def expected_files_sql(kinds: Sequence[Kind], rows: str, key_prefix: str = "") -> str:
    """A SELECT over the relation `rows`, which it scans once, that yields every expected file of those kinds."""
    prefix = f"{key_prefix}/".lstrip("/") if key_prefix else ""
    conditions: list[str] = []
    keys: list[str] = []
    sizes: list[str] = []
    for i, kind in enumerate(kinds):
        folder = f"{quote(prefix)} || {_cache(kind, i)} || {quote(kind.name + '/')} || partition"
        name = f"file_name_{i}"
        sizes.append(f"WHEN {len(keys)} THEN file_size_{i}")
        conditions.append(f"{name} <> ''")
        keys.append(f"CASE WHEN {_safe(i)} THEN {folder} || {quote(f'/{ORIGINAL}/')} || {name} END")
        for derived in kind.derived:
            conditions.append(_derived_condition(derived, i))
            keys.append(f"{folder} || {quote(f'/{derived.style}/')} || {_styled_name(name, derived.extension)}")
    wanted = ", ".join(f"CASE WHEN {condition} THEN {n} END" for n, condition in enumerate(conditions))
    key = " ".join(f"WHEN {n} THEN {key}" for n, key in enumerate(keys))
    return f"""
SELECT n::BIGINT AS n, id, CASE n {key} END AS key, CASE n {" ".join(sizes)} END AS expected_bytes
FROM (SELECT *, {_PARTITION} AS partition, unnest([{wanted}]) AS n FROM (SELECT *, {_DIGITS} AS digits FROM {rows}))
WHERE n IS NOT NULL"""
