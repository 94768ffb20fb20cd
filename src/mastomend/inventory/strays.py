"""Objects nobody expects, each with why: what a listing of everything leaves when the expected keys are taken out.

What is Mastomend's own (the quarantine) is none. The others are told apart by their keys and by which records live: whoever
acts on them asks again, row and object, right before. What is not understood is *unrecognized*, never an orphan; so are the
keys of kinds that were not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mastomend.inventory import reports
from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace, scratch
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.keys import CACHE, ORIGINAL, below
from mastomend.mastodon.leftovers import TEMPORARY, folders_of, keys_of
from mastomend.vocabulary import Stray

#: Where Mastomend keeps its own (`actions.actions`).
OURS = ".mastomend/"


def create(work: Workspace) -> None:
    """The relations `objects` (key, size, modified: all there is) and `stray` (the same, and `why`)."""
    columns = "key VARCHAR, size BIGINT, modified BIGINT"
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS objects ({columns})")
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS stray ({columns}, why VARCHAR)")


def sort_out(work: Workspace, tables: Sequence[Expected], key_prefix: str) -> None:
    """Fill `stray` from `objects`. An object a listing gave twice is one."""
    if work.did("sorted out"):
        return
    kinds = [kind for table in tables for kind in table.kinds]
    expected = " UNION ALL ".join(f"SELECT key FROM ({table.files()})" for table in tables)
    living = " UNION ALL ".join(
        f"SELECT {_home('key', key_prefix)} AS home FROM ({table.files()}) WHERE contains(key, '/{ORIGINAL}/')"
        for table in tables
    )
    folders = quote(folders_of(kinds, key_prefix))
    with work.step("sorted out") as connection:
        connection.execute(
            f"""
            INSERT INTO stray
            WITH left_over AS (
                SELECT DISTINCT ON (key) key, size, modified, regexp_extract(key, '(?s)^(.*)/[^/]*$', 1) AS parent FROM objects
                ANTI JOIN ({expected}) e USING (key) WHERE NOT starts_with(key, {quote(below(key_prefix) + OURS)})
            ),
            living AS (SELECT DISTINCT home FROM ({living}))
            SELECT key, size, modified, CASE
                WHEN regexp_matches(key, {quote(TEMPORARY)}) AND regexp_matches(parent, {folders})
                THEN {quote(Stray.TEMPORARY)}
                WHEN size = 0 AND regexp_matches(key, {folders}) THEN {quote(Stray.DIRECTORY_MARKER)}
                WHEN NOT regexp_matches(key, {quote(keys_of(kinds, key_prefix))}) THEN {quote(Stray.UNRECOGNIZED)}
                WHEN living.home IS NOT NULL THEN {quote(Stray.STALE_DUPLICATE)}
                ELSE {quote(Stray.ORPHAN)} END AS why
            FROM left_over LEFT JOIN living ON living.home = {_home("key", key_prefix)}
            """
        )


def _home(key: str, key_prefix: str) -> str:
    """A record's directory, whether below `cache/` or not: kind and partition of the id."""
    before = re.escape(below(key_prefix)) + f"({CACHE})?"
    return f"regexp_extract({key}, {quote(f'(?s)^{before}(.*)/[^/]+/[^/]+$')}, 2)"


def number(work: Workspace, sorts: Sequence[Stray]) -> int:
    """How many strays of those sorts there are."""
    ((found,),) = work.connection.execute(
        "SELECT count(*) FROM stray WHERE list_contains(?, why)", [[sort.value for sort in sorts]]
    ).fetchall()
    return int(found)


# --- sightings ----------------------------------------------------------------------------------------------------------

_FILE = "strays.parquet"
_TOGETHER = 5_000


@dataclass(frozen=True, slots=True)
class Sighted:
    """Strays of one sort: all of them, those too young, those never seen before, and those that may be acted on; in files and
    bytes.
    """

    files: int = 0
    bytes: int = 0
    young: int = 0
    first: int = 0
    ready: int = 0
    ready_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Sightings:
    """The strays of a scan, and of the one before it of the same storage. A stray is *ready* if it was in that one, too, just
    as it is, and was last written before `before`, in microseconds since 1970 by the storage's own clock.
    """

    now: Path
    earlier: Path | None
    before: int

    def by_sort(self, budget: int) -> dict[Stray, Sighted]:
        """The numbers for each sort."""
        with scratch(self.now.parent, budget) as connection:
            rows = connection.execute(
                f"SELECT why, count(*), sum(size), count(*) FILTER (NOT old_enough), "
                f"count(*) FILTER (old_enough AND NOT seen), count(*) FILTER (old_enough AND seen), "
                f"coalesce(sum(size) FILTER (old_enough AND seen), 0) FROM ({self._judged()}) GROUP BY why"
            ).fetchall()
        return {Stray(why): Sighted(*(int(n) for n in numbers)) for why, *numbers in rows}

    def ready(self, sorts: Sequence[Stray], budget: int) -> Iterator[tuple[str, int, Stray]]:
        """Key, size and sort of those that are ready, some thousands in memory at a time."""
        with scratch(self.now.parent, budget) as connection:
            wanted = ", ".join(quote(sort) for sort in sorts)
            result = connection.execute(
                f"SELECT key, size, why FROM ({self._judged()}) WHERE old_enough AND seen AND why IN ({wanted})"
            )
            while rows := result.fetchmany(_TOGETHER):
                for key, size, why in rows:
                    yield key, size, Stray(why)

    def _judged(self) -> str:
        seen = "false"
        if self.earlier is not None:
            seen = (
                f"EXISTS (SELECT 1 FROM read_parquet({quote(str(self.earlier))}) e WHERE e.key = n.key AND e.size = n.size "
                "AND e.modified = n.modified AND e.why = n.why)"
            )
        old = f"coalesce(n.modified < {self.before}, false)"
        return f"SELECT n.*, {old} AS old_enough, {seen} AS seen FROM read_parquet({quote(str(self.now))}) n"


def save(work: Workspace, folder: Path, storage: str, kinds: Sequence[str]) -> Path:
    """The relation `stray` as Parquet in a scan's folder; `storage` tells that storage from any other, `kinds` what was looked
    for.
    """
    path = folder / _FILE
    rows = "SELECT key, size, modified, why FROM stray ORDER BY key"
    reports.save(work.connection, rows, path, {"storage": storage, "kinds": _said(kinds)})
    return path


def _said(kinds: Sequence[str]) -> str:
    return ",".join(sorted(kinds))


def earlier(scan: Path, storage: str, kinds: Sequence[str]) -> Path | None:
    """The strays of the newest scan of that storage and those kinds before this one; None if there is none."""
    older = sorted((path for path in scan.parent.glob(f"*/{_FILE}") if path.parent.name < scan.name), reverse=True)
    same = {"storage": storage, "kinds": _said(kinds)}.items()
    return next((path for path in older if same <= reports.about(path).items()), None)
