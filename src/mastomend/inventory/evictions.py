"""What a pruning would free and what stays, in sums over what `keeping` has judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mastomend.inventory.keeping import DAY, ORDER
from mastomend.inventory.reports import Report
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote


@dataclass(frozen=True, slots=True)
class Eviction:
    """One unit that goes, in their order. `used` in seconds since 1970; `why` is `age` or `budget`."""

    number: int
    unit: str
    id: int
    files: int
    bytes: int
    used: int
    why: str
    score: int
    domain: str | None
    post: int | None


EVICTIONS = Report(Eviction, ("number",))


def save(work: Workspace, path: Path, limit: int | None) -> Sum | None:
    """What goes, in its order, as Parquet (`Eviction`); at most so many. How much that is, if there is a limit."""
    EVICTIONS.create(work.connection, "evictions")
    work.connection.execute(
        f"""
        INSERT INTO evictions SELECT row_number() OVER (ORDER BY goes, {ORDER}), unit, id, files, bytes, used, goes, score,
            domain, post FROM judged WHERE goes IS NOT NULL ORDER BY goes, {ORDER} {"" if limit is None else f"LIMIT {limit}"}
        """
    )
    EVICTIONS.save(work.connection, "evictions", path)
    if limit is None:
        return None
    return _sum(work.connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM evictions").fetchall()[0])


@dataclass(frozen=True, slots=True)
class Sum:
    """So many records with so many bytes."""

    records: int = 0
    bytes: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.records + other.records, self.bytes + other.bytes)


def by_unit(work: Workspace) -> dict[str, tuple[Sum, Sum, Sum]]:
    """Of each unit all there is, what is kept, and what goes."""
    rows = work.connection.execute(
        "SELECT unit, count(*), sum(bytes), count(*) FILTER (kept IS NOT NULL), "
        "coalesce(sum(bytes) FILTER (kept IS NOT NULL), 0), count(*) FILTER (goes IS NOT NULL), "
        "coalesce(sum(bytes) FILTER (goes IS NOT NULL), 0) FROM judged GROUP BY unit ORDER BY unit"
    ).fetchall()
    return {unit: (_sum(numbers[0:2]), _sum(numbers[2:4]), _sum(numbers[4:6])) for unit, *numbers in rows}


def _sum(numbers: Sequence[Any]) -> Sum:
    return Sum(int(numbers[0]), int(numbers[1]))


def kept(work: Workspace) -> dict[str, Sum]:
    """What stays because of what: each unit counts under the relationship that keeps it longest."""
    rows = work.connection.execute(
        "SELECT kept, count(*), sum(bytes) FROM judged WHERE kept IS NOT NULL GROUP BY kept ORDER BY sum(bytes) DESC, kept"
    ).fetchall()
    return {why: _sum(numbers) for why, *numbers in rows}


@dataclass(frozen=True, slots=True)
class Group:
    """What has much the same value: `standing` (`touched`, `followed`, `stranger`), the least and the highest score."""

    unit: str
    standing: str
    lowest: int
    highest: int
    all: Sum
    goes: Sum


def groups(work: Workspace) -> list[Group]:
    """What no relationship keeps, by unit and standing, in bands of 20 points; the least valuable first."""
    rows = work.connection.execute(
        "SELECT unit, CASE WHEN was_tied THEN 'touched' WHEN follows THEN 'followed' ELSE 'stranger' END AS standing, "
        "min(score), max(score), count(*), sum(bytes), count(*) FILTER (goes IS NOT NULL), "
        "coalesce(sum(bytes) FILTER (goes IS NOT NULL), 0) FROM judged WHERE kept IS NULL "
        "GROUP BY unit, standing, score // 20 ORDER BY 3, 1, 2"
    ).fetchall()
    return [
        Group(unit, standing, lowest, highest, _sum(numbers[0:2]), _sum(numbers[2:4]))
        for unit, standing, lowest, highest, *numbers in rows
    ]


@dataclass(frozen=True, slots=True)
class Kept:
    """What keeping the last `days` days would free, and what it would if nothing were kept for anybody's sake."""

    days: int
    frees: Sum
    frees_all: Sum


#: The ages a preview shows.
DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)


def by_days(work: Workspace, units: Iterable[str], now: int) -> list[Kept]:
    """The preview over those units."""
    named = ", ".join(map(quote, units)) or "''"
    columns = [
        f"count(*) FILTER ({which}), coalesce(sum(bytes) FILTER ({which}), 0)"
        for days in DAYS
        for old in [f"used < {now - days * DAY}"]
        for which in (f"{old} AND kept IS NULL", old)
    ]
    (row,) = work.connection.execute(f"SELECT {', '.join(columns)} FROM judged WHERE unit IN ({named})").fetchall()
    return [Kept(days, _sum(row[4 * i : 4 * i + 2]), _sum(row[4 * i + 2 : 4 * i + 4])) for i, days in enumerate(DAYS)]
