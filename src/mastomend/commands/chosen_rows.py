"""Which report `show` reads, and which of its rows: as the ledger and the database, as they are now, choose them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mastomend.actions.ledger import Ledger
from mastomend.commands.instance import Instance
from mastomend.commands.names import refuse_unknown
from mastomend.commands.past import either, kept_ledger, newer_check
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_selected_ids
from mastomend.errors import ConfigurationError
from mastomend.inventory.browse import Wanted
from mastomend.inventory.reports import about
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.outcomes import Outcome
from mastomend.vocabulary import Stray

#: Outcomes that are remembered of a record, and told beside what a check finds of it.
_KEPT = {one.value for one in (Outcome.GONE, Outcome.REFUSED, Outcome.LOST, Outcome.DEFERRED)}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A report, and which of its rows are asked for."""

    of: str
    path: Path
    is_run: bool
    wanted: Wanted
    ledger: Ledger | None
    newer: str = ""

    @property
    def is_of_strays(self) -> bool:
        return self.path.stem == "strays"

    @property
    def part(self) -> str | None:
        """What a scan looked at, in words; '' if that was everything, None if it is not known."""
        return about(self.path).get("part")


@contextlib.contextmanager
def chosen_rows(
    instance: Instance, name: str, wanted: Wanted, selection: Selection, *, by: Sequence[str] = (), new: bool = False
) -> Iterator[Chosen]:
    """That report, and its rows as the ledger and the database as it is now choose them.

    Raises:
        ConfigurationError: there is none of that name, or it has not what is asked for.
        DatabaseError: accounts or posts are selected, and the database cannot be asked.
    """
    of_reasons = bool(wanted.reasons) or "reason" in by
    of_records = not (new or of_reasons) and bool(wanted.words) and _KEPT.issuperset(wanted.words)
    is_run = False if new or "known" in by else _of_runs(wanted, of_reasons)
    whole = replace(selection, without_domains=()) == EVERYTHING
    of, path, is_run = either(instance, name, is_run=is_run, of_records=of_records, of_files=_of_files(wanted, whole))
    if of_reasons and not is_run:
        raise ConfigurationError(f"{of} is a check: reasons are those of a run.", hint="Use --outcome, or name a run.")
    if "known" in by and is_run:
        raise ConfigurationError(
            f"{of} is a run: what is known is of a check.", hint="Use --by outcome, or name a scan."
        )
    if new and is_run:
        raise ConfigurationError(f"{of} is a run: what it did is not new.", hint="Name a scan, or none.")
    wanted = replace(
        wanted, domains=selection.domains, without_domains=selection.without_domains, local=selection.local
    )
    if selection.accounts or selection.statuses:
        wanted = replace(wanted, records=_records(instance, replace(selection, domains=(), without_domains=())))
    with kept_ledger(instance) as ledger:
        if ledger is not None:
            wanted = replace(wanted, tried=ledger.tables if new else None, entries=ledger.tables)
        if not is_run and (outcomes := [word for word in wanted.words if word in _KEPT]):
            wanted = _by_outcome(wanted, outcomes, ledger)
        yield Chosen(
            of, path, is_run, wanted, ledger, newer_check(instance, path) if is_run and name == "latest" else ""
        )


def _of_files(wanted: Wanted, whole: bool) -> bool | None:
    """Whether files nobody expects are meant as well, or (None) nothing else."""
    only = {one.value for one in Stray}
    return None if wanted.words and only.issuperset(wanted.words) else whole


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


def _of_runs(wanted: Wanted, of_reasons: bool) -> bool | None:
    """Whether what is wanted is to be had of runs only, or of scans only; None if of both."""
    if of_reasons or set(wanted.words) & {outcome.value for outcome in Outcome}:
        return True
    return False if wanted.words else None
