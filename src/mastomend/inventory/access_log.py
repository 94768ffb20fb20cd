"""When somebody last looked at a file, from web servers' access logs, read by the database engine: nginx's and Apache's
"combined" lines, Caddy's JSON; compressed or not.

A log tells of looks, never of their absence: what a CDN answers itself is in none. So a look makes a file younger, and a file
no log knows is as old as its row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from mastomend.errors import ConfigurationError
from mastomend.inventory.cached import UNITS
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote

#: Where a file's name in a log begins, and the digits of its record's id: `…/accounts/avatars/109/876/…/original/name`.
_FILE = f"/({'|'.join(kind.name for kinds in UNITS.values() for kind in kinds)})/((?:[0-9]{{3}}/)+)"
_PROXY = r"/media_proxy/([0-9]+)"
_COMBINED = r'\[([^\]]+)\] "[A-Z]+ ([^ "]+)[^"]*" ([0-9]{3})'


def refuse_unreadable(files: Sequence[Path]) -> None:
    """Before a scan that takes its time.

    Raises:
        ConfigurationError: a log is not there, or this user may not read it.
    """
    for file in files:
        try:
            with file.open("rb") as log:
                log.read(1)
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", hint="Check --access-log.") from None


def read(work: Workspace, files: Sequence[Path]) -> int:
    """The relation `looked` (unit, id, since: seconds since 1970), the last look at each; how many lines told of one.

    Raises:
        ConfigurationError: a log cannot be read, or none of its lines is one of a web server's.
    """
    work.connection.execute("CREATE TABLE IF NOT EXISTS looked (unit VARCHAR, id BIGINT, since BIGINT)")
    return sum(_read(work, file) for file in files)


def _read(work: Workspace, file: Path) -> int:
    ((before,),) = work.connection.execute("SELECT count(*) FROM looked").fetchall()
    step = f"log {file.absolute()}"
    if work.did(step):
        return 0
    kinds = ", ".join(f"({quote(kind.name)}, {quote(unit)})" for unit, kinds in UNITS.items() for kind in kinds)
    try:
        with work.step(step) as connection:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE lines AS {_lines_sql()}", [str(file)])
            ((lines, understood),) = connection.execute("SELECT count(*), count(moment) FROM lines").fetchall()
            if lines and not understood:
                raise ConfigurationError(
                    f"{file} is no access log: none of its {lines:,} lines is one of nginx's, Apache's or Caddy's.",
                    hint="Name logs in the combined format or Caddy's JSON with --access-log.",
                )
            connection.execute(
                f"""
                INSERT INTO looked
                SELECT u.unit, TRY_CAST(replace(f.digits, '/', '') AS BIGINT) AS record, max(f.moment) FROM (
                    SELECT regexp_extract(path, {quote(_FILE)}, 1) AS kind, regexp_extract(path, {quote(_FILE)}, 2) AS digits,
                        moment FROM lines WHERE status < 400 AND moment IS NOT NULL
                ) f JOIN (VALUES {kinds}) AS u(kind, unit) USING (kind) GROUP BY ALL HAVING record IS NOT NULL
                UNION ALL
                SELECT 'attachments', TRY_CAST(regexp_extract(path, {quote(_PROXY)}, 1) AS BIGINT) AS record, max(moment)
                FROM lines WHERE status < 400 AND moment IS NOT NULL AND contains(path, '/media_proxy/')
                GROUP BY ALL HAVING record IS NOT NULL
                """
            )
            ((now,),) = connection.execute("SELECT count(*) FROM looked").fetchall()
            connection.execute("DROP TABLE lines")
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {str(error).splitlines()[0]}", hint="Check --access-log."
        ) from None
    return int(now) - int(before)


def _lines_sql() -> str:
    """Each line as `path, status, moment`; what is understood neither way has no `moment`."""
    return f"""
        WITH raw AS (
            SELECT line, starts_with(line, '{{') AS is_json,
                regexp_extract(line, {quote(_COMBINED)}, ['stamp', 'path', 'status']) AS c
            FROM read_csv(?, columns = {{'line': 'VARCHAR'}}, delim = '\\x01', quote = '', escape = '', header = false,
                auto_detect = false, encoding = 'latin-1', strict_mode = false, ignore_errors = true, max_line_size = 1048576)
        )
        SELECT CASE WHEN is_json THEN regexp_extract(line, '"uri":"([^"]*)"', 1) ELSE c.path END AS path,
            TRY_CAST(CASE WHEN is_json THEN regexp_extract(line, '"status":([0-9]+)', 1) ELSE c.status END AS INTEGER)
                AS status,
            CASE WHEN is_json THEN TRY_CAST(TRY_CAST(regexp_extract(line, '"ts":([0-9.]+)', 1) AS DOUBLE) AS BIGINT)
                ELSE epoch(try_strptime(c.stamp, '%d/%b/%Y:%H:%M:%S %z'))::BIGINT END AS moment
        FROM raw
    """
