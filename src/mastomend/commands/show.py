"""`show`: the findings of a scan or the outcomes of a run themselves, as people speak of them. Changes nothing.

Rows come from the report, names from the database, what is known besides from the ledger; all in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mastomend.actions.ledger import Entry, Ledger
from mastomend.commands.instance import Instance
from mastomend.commands.names import Called, names_of, read, refuse_unknown
from mastomend.commands.own_losses import OwnLosses, own_losses
from mastomend.commands.past import either, kept_ledger, of_other_runs
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_selected_ids
from mastomend.errors import ConfigurationError
from mastomend.inventory.browse import Wanted, browse, number_of
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.outcomes import Outcome
from mastomend.plans.orphans import SORTS
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.vocabulary import Stray


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding or outcome. `who` is `@user@host`, an emoji, a page, or kind and id where the database does not say;
    `address` is where it is seen. `word` is the state or the outcome, `said` the reason in words, `why` the reason it
    rests on (that of a run, or of the repair before), `advice` what can be done about that. `known` is what an earlier
    repair made of a finding; the sizes are those of a finding's file, in bytes; `source` is where what was mended came from.
    """

    kind: str
    id: int
    style: str
    key: str
    is_local: bool
    domain: str | None
    who: str
    address: str | None
    word: str
    reason: str
    said: str
    tried: str
    known: str
    last_tried: datetime | None
    next_try: datetime | None
    why: str = ""
    advice: str = ""
    expected_bytes: int | None = None
    actual_bytes: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown: the scan or run, whether it is a run, how many rows there are, and those that are asked for.

    `is_of_strays`: they are files no record expects. `own` is what this server's own users miss; `earlier` records are known to
    have come to what is asked for in other runs.
    """

    of: str
    is_run: bool
    number: int
    rows: Iterator[Shown]
    is_of_strays: bool = False
    own: OwnLosses = field(default_factory=OwnLosses)
    earlier: int = 0


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
    of, path, is_run = either(instance, name, is_run=False if new else _of_runs(wanted))
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
        rows = _rows(path, wanted, budget, names, ledger)
        is_of_strays, number = path.stem == "strays", number_of(path, wanted, budget)
        own = OwnLosses() if is_of_strays else own_losses(path, wanted, budget, names)
        earlier = of_other_runs(ledger, wanted, number) if is_run and selection == EVERYTHING else 0
        yield Showing(of, is_run, number, rows, is_of_strays, own, earlier)


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
            yield _stray(row) if "why" in row else _shown(row, called.get(record), entries.get(record))


def _stray(row: dict[str, Any]) -> Shown:
    """A file no record expects."""
    sort = Stray(row["word"])
    words = SORTS[sort].words if sort in SORTS else "not Mastodon's, or not understood: it is never touched"
    written = datetime.fromtimestamp(row["modified"] / 1_000_000, UTC) if row["modified"] else None
    said = f"{words}; {row['actual_bytes']:,} bytes" + (
        f", last written {written:%Y-%m-%d %H:%M} UTC" if written else ""
    )
    return Shown(
        row["kind"], 0, "", row["key"], False, None, row["key"], None, sort.value, "", said, "", "", None, None,
        actual_bytes=row["actual_bytes"],
    )  # fmt: skip


def _shown(row: dict[str, Any], called: Called | None, entry: Entry | None) -> Shown:
    is_object = not row["id"]  # its key stands in place of a kind
    who, address = called or (row["kind"] if is_object else f"{row['kind']} {row['id']}", None)
    is_finding = "state" in row
    reason = "" if is_finding else row["reason"]
    why = reason or (entry.reason if entry else "")
    known = f"{entry.outcome}: {_words(entry.detail, entry.reason)}" if entry and is_finding else ""
    return Shown(
        row["kind"],
        row["id"],
        row.get("style", ""),
        row.get("key", ""),
        row["is_local"],
        row["domain"],
        who,
        address if address and address.startswith(("https://", "http://")) else None,
        row["word"] or ("would be tried" if row["source"] else "would be left"),
        reason,
        _words(row["detail"], reason),
        row.get("tried", ""),
        known,
        entry.last_tried if entry else None,
        entry.next_try if entry else None,
        why,
        _advice(why),
        row.get("expected_bytes"),
        row.get("actual_bytes"),
        row.get("source") or "",
    )


def _advice(reason: str) -> str:
    return Reason(reason).advice if reason in {one.value for one in Reason} else ""


def _words(detail: str, reason: str) -> str:
    """The sentence of the report; a mere status of HTTP is none."""
    return Reason(reason).words if reason and (not detail or detail.startswith("HTTP ")) else detail
