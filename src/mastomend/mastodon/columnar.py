"""The same rules as `keys`, as SQL expressions that DuckDB evaluates over millions of rows.

Both are derived from the one table in `kinds`; a property test compares them on generated records. Input columns:
`id, is_local, file_name, content_type, file_size, version, var` (what `inventory.rows` reads). The output is one row
per expected file: `id, style, key, expected_bytes, is_local`; a row whose file name would leave its directory
yields one row with `key` NULL.
"""

from __future__ import annotations

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


PARTITION = "CASE length(digits) // 3 " + " ".join(f"WHEN {n} THEN {_groups(n)}" for n in (6, 3, 4, 5, 2)) + " END"

SAFE_NAME = "(NOT contains(file_name, '/') AND file_name NOT IN ('.', '..'))"

_BASE = r"""CASE WHEN starts_with(file_name, '.')
    THEN coalesce(nullif(regexp_extract(file_name, '(?s)^(\.*[^.].*)\.[^.]*$', 1), ''), file_name)
    WHEN contains(file_name, '.') THEN left(file_name, length(file_name) - length(split_part(file_name, '.', -1)) - 1)
    ELSE file_name END"""
_EXTENSION = r"""CASE WHEN starts_with(file_name, '.') THEN regexp_extract(file_name, '(?s)^\.*[^.].*\.([^.]*)$', 1)
    WHEN contains(file_name, '.') THEN split_part(file_name, '.', -1) ELSE '' END"""


def _styled_name(extension: str | None) -> str:
    if extension is not None:
        return f"({_BASE}) || {quote('.' + extension)}"
    return f"({_BASE}) || CASE WHEN ({_EXTENSION}) = '' THEN '' ELSE '.' || ({_EXTENSION}) END"


def _condition(derived: Derived) -> str:
    conditions = ["true"]
    if derived.content_types is not None:
        listed = ", ".join(quote(t) for t in sorted(derived.content_types))
        conditions.append(f"coalesce(content_type IN ({listed}), false)")
    if derived.var is not None:
        conditions.append(f"coalesce(var = {quote(derived.var)}, false)")
    return " AND ".join(conditions)


def _cache(kind: Kind) -> str:
    match kind.remote:
        case RemoteRule.NEVER:
            return "''"
        case RemoteRule.ALWAYS:
            return "CASE WHEN coalesce(version, 0) >= 1 THEN 'cache/' ELSE '' END"
        case RemoteRule.DOMAIN | RemoteRule.REMOTE_URL:
            return "CASE WHEN NOT is_local AND coalesce(version, 0) >= 1 THEN 'cache/' ELSE '' END"


def expected_files_sql(kind: Kind, rows: str, key_prefix: str = "") -> str:
    """A SELECT over the relation `rows` (scanned once per style) that yields every expected file of that kind."""
    prefix = f"{key_prefix}/".lstrip("/") if key_prefix else ""
    folder = f"{quote(prefix)} || {_cache(kind)} || {quote(kind.name + '/')} || ({PARTITION})"

    def files(style: str, name: str, size: str, condition: str) -> str:
        key = f"{folder} || {quote(f'/{style}/')} || {name}"
        return f"""
SELECT id, {quote(style)} AS style, CASE WHEN {SAFE_NAME} THEN {key} END AS key, {size} AS expected_bytes, is_local
FROM (SELECT *, {_DIGITS} AS digits FROM {rows}{condition})"""

    selects = [files("original", "file_name", "file_size", "")]
    for derived in kind.derived:
        condition = f" WHERE {_condition(derived)} AND {SAFE_NAME}"
        selects.append(files(derived.style, _styled_name(derived.extension), "NULL", condition))
    return " UNION ALL".join(selects)
