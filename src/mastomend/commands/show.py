"""`show`: the findings of a scan or the outcomes of a run themselves, as people speak of them. Changes nothing.

Rows come from the report, names from the database, what is known besides from the ledger; all in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mastomend.commands.chosen_rows import Chosen, chosen_rows
from mastomend.commands.instance import Instance
from mastomend.commands.names import names_of, read
from mastomend.commands.own_losses import OwnLosses, own_losses
from mastomend.commands.past import of_other_runs, taken_back
from mastomend.commands.shown import Shown, shown, stray
from mastomend.database.reader import MastodonDatabase
from mastomend.inventory.browse import Group, Wanted, browse, groups
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown: the scan or run, whether it is a run, how many rows there are, and those that are asked for.

    `is_of_strays`: they are files no record expects. `own` is what this server's own users miss; `earlier` records are known to
    have come to what is asked for in other runs; `records` is how many records the rows are of. `taken_back` is the undo of
    that run, if there is one. `part` says in words what a scan looked at, '' if that was everything; None: it is not known.
    `newer` is a check after the run, which `latest` has passed over, as only runs have what is asked for.
    """

    of: str
    is_run: bool
    number: int
    rows: Iterator[Shown]
    is_of_strays: bool = False
    own: OwnLosses = field(default_factory=OwnLosses)
    earlier: int = 0
    taken_back: str = ""
    records: int = 0
    part: str | None = None
    newer: str = ""


@dataclass(frozen=True, slots=True)
class Sums:
    """How many there are of each sort: the scan or run, whether it is a run or a look for files nobody expects, what is
    counted by, all of them together, and the groups, the largest first. The rest is as in `Showing`.
    """

    of: str
    is_run: bool
    is_of_strays: bool
    by: Sequence[str]
    all: Group
    groups: Sequence[Group]
    part: str | None
    taken_back: str = ""
    newer: str = ""


def sums(
    instance: Instance,
    name: str,
    wanted: Wanted,
    by: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    new: bool = False,
) -> Sums:
    """The rows that `show` would show, counted by some of `COUNTED_BY`.

    Raises:
        ConfigurationError: as `show` does, or they are counted by the reasons of a check.
        DatabaseError: as `show` does.
    """
    with chosen_rows(instance, name, wanted, selection, by=by, new=new) as found:
        budget = instance.settings.memory_bytes // 4
        counted = groups(found.path, found.wanted, by, budget)
        (all_,) = groups(found.path, found.wanted, (), budget)
        back = taken_back(instance, found.of) if found.is_run else ""
    return Sums(found.of, found.is_run, found.is_of_strays, by, all_, counted, found.part, back, found.newer)


@contextlib.contextmanager
def show(
    instance: Instance,
    name: str,
    wanted: Wanted,
    selection: Selection = EVERYTHING,
    progress: Progress = Silent(),
    *,
    new: bool = False,
) -> Iterator[Showing]:
    """The rows of that scan or run. Accounts and posts of the selection are looked up in the database as it is now. `new`
    leaves out what a repair has tried.

    Raises:
        ConfigurationError: there is none of that name.
        DatabaseError: accounts or posts are selected, and the database cannot be asked.
    """
    budget = instance.settings.memory_bytes // 4
    with (
        chosen_rows(instance, name, wanted, selection, new=new) as found,
        names_of(instance, progress) as names,
    ):
        rows = _rows(found, budget, names)
        (all_,) = groups(found.path, found.wanted, (), budget)
        number = all_.files
        own = OwnLosses() if found.is_of_strays else own_losses(found.path, found.wanted, budget, names)
        asked_for_all = found.is_run and selection == EVERYTHING
        earlier = of_other_runs(found.ledger, found.wanted, number) if asked_for_all else 0
        back = taken_back(instance, found.of) if found.is_run else ""
        yield Showing(
            found.of,
            found.is_run,
            number,
            rows,
            found.is_of_strays,
            own,
            earlier,
            back,
            all_.records,
            found.part,
            found.newer,
        )


def _rows(found: Chosen, budget: int, names: MastodonDatabase | None) -> Iterator[Shown]:
    for batch in browse(found.path, found.wanted, budget):
        called = {} if names is None else read(names, ((row["kind"], row["id"]) for row in batch))
        entries = {} if found.ledger is None else found.ledger.entries((row["kind"], row["id"]) for row in batch)
        for row in batch:
            record = (row["kind"], row["id"])
            entry = entries.get(record)
            of_it = entry if entry is not None and entry.is_about(row.get("file_name")) else None
            yield stray(row) if "why" in row else shown(row, called.get(record), of_it)
