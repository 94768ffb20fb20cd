"""`show`: the findings of a scan or the outcomes of a run themselves, as people speak of them. Changes nothing.

Rows come from the report, names from the database, what is known besides from the ledger; all in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mastomend.actions.ledger import Ledger
from mastomend.commands.instance import Instance
from mastomend.commands.names import names_of, read, refuse_unknown
from mastomend.commands.own_losses import OwnLosses, own_losses
from mastomend.commands.past import either, kept_ledger, of_other_runs, taken_back
from mastomend.commands.shown import Shown, shown, stray
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_selected_ids
from mastomend.errors import ConfigurationError
from mastomend.inventory.browse import Wanted, browse, number_of
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.outcomes import Outcome
from mastomend.progress import Progress, Silent

#: Outcomes that are remembered of a record, and told beside what a check finds of it.
_KEPT = {one.value for one in (Outcome.GONE, Outcome.REFUSED, Outcome.LOST, Outcome.DEFERRED)}


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown: the scan or run, whether it is a run, how many rows there are, and those that are asked for.

    `is_of_strays`: they are files no record expects. `own` is what this server's own users miss; `earlier` records are known to
    have come to what is asked for in other runs. `taken_back` is the undo of that run, if there is one.
    """

    of: str
    is_run: bool
    number: int
    rows: Iterator[Shown]
    is_of_strays: bool = False
    own: OwnLosses = field(default_factory=OwnLosses)
    earlier: int = 0
    taken_back: str = ""


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
    of_records = not (new or wanted.reasons) and bool(wanted.words) and _KEPT.issuperset(wanted.words)
    is_run = False if new else _of_runs(wanted)
    whole = replace(selection, without_domains=()) == EVERYTHING
    of, path, is_run = either(instance, name, is_run=is_run, of_records=of_records, of_files=whole)
    if wanted.reasons and not is_run:
        raise ConfigurationError(f"{of} is a check: reasons are those of a run.", hint="Use --outcome, or name a run.")
    if new and is_run:
        raise ConfigurationError(f"{of} is a run: what it did is not new.", hint="Name a scan, or none.")
    budget = instance.settings.memory_bytes // 4
    with contextlib.ExitStack() as stack:
        wanted = replace(
            wanted, domains=selection.domains, without_domains=selection.without_domains, local=selection.local
        )
        if selection.accounts or selection.statuses:
            wanted = replace(wanted, records=_records(instance, replace(selection, domains=(), without_domains=())))
        names = stack.enter_context(names_of(instance, progress))
        ledger = stack.enter_context(kept_ledger(instance))
        if new and ledger is not None:
            wanted = replace(wanted, tried=ledger.tables)
        if not is_run and (outcomes := [word for word in wanted.words if word in _KEPT]):
            wanted = _by_outcome(wanted, outcomes, ledger)
        rows = _rows(path, wanted, budget, names, ledger)
        is_of_strays, number = path.stem == "strays", number_of(path, wanted, budget)
        own = OwnLosses() if is_of_strays else own_losses(path, wanted, budget, names)
        earlier = of_other_runs(ledger, wanted, number) if is_run and selection == EVERYTHING else 0
        back = taken_back(instance, of) if is_run else ""
        yield Showing(of, is_run, number, rows, is_of_strays, own, earlier, back)


def _by_outcome(wanted: Wanted, outcomes: Sequence[str], ledger: Ledger | None) -> Wanted:
    """Findings of a check, by what repairs have made of them."""
    if len(outcomes) < len(wanted.words):
        raise ConfigurationError(f"{', '.join(wanted.words)}: states and outcomes of a check cannot be mixed.")
    return replace(wanted, words=(), known=(lambda: ()) if ledger is None else partial(ledger.tables, outcomes))


def _records(instance: Instance, selection: Selection) -> list[tuple[str, int]]:
    with MastodonDatabase(instance.configuration.database, "mastomend show") as database:
        refuse_unknown(database, selection)
        kinds = kinds_of(database)
        database.require(must_see(kinds, selection))
        return [(kind.name, one) for kind in kinds for one in read_selected_ids(database, kind, selection)]


def _of_runs(wanted: Wanted) -> bool | None:
    """Whether what is wanted is to be had of runs only, or of scans only; None if of both."""
    if wanted.reasons or set(wanted.words) & {outcome.value for outcome in Outcome}:
        return True
    return False if wanted.words else None


def _rows(
    path: Path, wanted: Wanted, budget: int, names: MastodonDatabase | None, ledger: Ledger | None
) -> Iterator[Shown]:
    for batch in browse(path, wanted, budget):
        called = {} if names is None else read(names, ((row["kind"], row["id"]) for row in batch))
        entries = {} if ledger is None else ledger.entries((row["kind"], row["id"]) for row in batch)
        for row in batch:
            record = (row["kind"], row["id"])
            yield stray(row) if "why" in row else shown(row, called.get(record), entries.get(record))
