"""Two storages side by side: of every file records expect, what the one holds and what the other does.

`weighed` is the storage the files come from, `arrived` the one they go to (`weigh`). What differs is the work; both listings
are the record of what is done, so a copy that was cut off needs no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mastomend.inventory.expected import Expected
from mastomend.inventory.reports import Report
from mastomend.inventory.weigh import names
from mastomend.inventory.workspace import Workspace

#: What the storage the files go to holds, as a relation of `weigh`.
ARRIVED = "arrived"
_BATCH = 500
_SIZES = "SELECT kind, id, style, w.size AS here, a.size AS there FROM weighed w JOIN arrived a USING (kind, id, style)"
#: What is in both with another size.
_DIFFERS = "here >= 0 AND there >= 0 AND here <> there"


@dataclass(frozen=True, slots=True)
class Tally:
    """So many files with so many bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Sides:
    """Of one kind: all that is expected, what both hold alike, what goes over (only the first holds it, or holds it
    otherwise), what both hold with another size (`differing`), what neither shows (`missing`: not there; `unseen`: may not be
    looked at).

    `only_there` is missing where the files come from, and is where they go to: it was created, or moved, since. `empty` files
    have no bytes where they come from: they were broken before.
    """

    expected: int = 0
    alike: Tally = Tally()
    to_copy: Tally = Tally()
    differing: int = 0
    missing: int = 0
    unseen: int = 0
    only_there: int = 0
    empty: int = 0

    def __add__(self, other: Sides) -> Sides:
        return Sides(
            self.expected + other.expected,
            self.alike + other.alike,
            self.to_copy + other.to_copy,
            self.differing + other.differing,
            self.missing + other.missing,
            self.unseen + other.unseen,
            self.only_there + other.only_there,
            self.empty + other.empty,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """One file to be looked at: its size where it comes from, and its key without the prefix ('': whatever it is now)."""

    kind: str
    id: int
    style: str
    size: int
    key: str = ""


WORK = Report(Work, ("kind", "id", "style"))


def name(work: Workspace, tables: Sequence[Expected]) -> None:
    """What is compared has keys, as the relation `named`: a row that names another file by now is told by them."""
    some = (
        f"SELECT v.kind, f.id, v.style, f.key FROM ({replace(table, key_prefix='').files()}) f JOIN {names(table)} USING (n)"
        for table in tables
    )
    work.connection.execute(f"CREATE OR REPLACE TEMP VIEW named AS {' UNION ALL '.join(some)}")


def _goes(*, only_missing: bool) -> str:
    """What only the first holds; with what it holds otherwise, unless that stays as it is."""
    return "here >= 0 AND there = -1" if only_missing else "here >= 0 AND there <> here AND there <> -2"


def sides(work: Workspace, *, only_missing: bool = False) -> dict[str, Sides]:
    """The comparison, by kind. `only_missing`: as in `save`."""
    goes = _goes(only_missing=only_missing)
    rows = work.connection.execute(
        f"""
        SELECT kind, count(*), count(*) FILTER (here >= 0 AND here = there),
            coalesce(sum(here) FILTER (here >= 0 AND here = there), 0), count(*) FILTER ({goes}),
            coalesce(sum(here) FILTER ({goes}), 0), count(*) FILTER ({_DIFFERS}),
            count(*) FILTER (here = -1 AND there = -1), count(*) FILTER (here = -2 OR there = -2),
            count(*) FILTER (here = -1 AND there >= 0), count(*) FILTER (here = 0)
        FROM ({_SIZES}) GROUP BY kind ORDER BY kind
        """
    ).fetchall()
    return {
        kind: Sides(n[0], Tally(n[1], n[2]), Tally(n[3], n[4]), *n[5:])
        for kind, n in ((kind, [int(one) for one in numbers]) for kind, *numbers in rows)
    }


def save(work: Workspace, path: Path, *, only_missing: bool) -> None:
    """What is to be copied, as Parquet (`Work`). `only_missing`: what is there with another size stays as it is."""
    _save(work, path, _goes(only_missing=only_missing))


def save_differing(work: Workspace, path: Path) -> None:
    """What both hold, with another size on each side; as Parquet (`Work`)."""
    _save(work, path, _DIFFERS)


def save_alike(work: Workspace, path: Path, share: float, most: int | None = None, *, arrived: bool = False) -> None:
    """That share (0 to 1) of what both hold alike and is not empty, by chance, at most so many; as Parquet (`Work`).

    `arrived`: of all that is where the files go to, whether it is still where they came from or not; with its size there.
    """
    chosen = "there > 0" if arrived else "here > 0 AND here = there"
    if share < 1:
        chosen += f" AND random() < {float(share)}"
    rest = "" if most is None else f" ORDER BY random() LIMIT {int(most)}"
    _save(work, path, chosen, rest, "there" if arrived else "here")


def _save(work: Workspace, path: Path, condition: str, rest: str = "", size: str = "here") -> None:
    WORK.create(work.connection, "crossing")
    work.connection.execute(
        f"INSERT INTO crossing SELECT kind, id, style, size, key FROM "
        f"(SELECT kind, id, style, {size} AS size FROM ({_SIZES}) WHERE {condition}{rest}) JOIN named USING (kind, id, style)"
    )
    WORK.save(work.connection, "crossing", path)


def batches(path: Path) -> Iterator[list[Work]]:
    """What such a file names, some hundreds at a time."""
    some: list[Work] = []
    for one in WORK.load(path):
        some.append(one)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some
