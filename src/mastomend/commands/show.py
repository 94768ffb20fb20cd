"""`show`: the findings of a scan or the outcomes of a run themselves, as people speak of them. Changes nothing.

Rows come from the report, names from the database, what is known besides from the ledger; all in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mastomend.actions.ledger import Entry, Ledger
from mastomend.commands.instance import Instance
from mastomend.commands.past import either, kept_ledger
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_names
from mastomend.errors import DatabaseError
from mastomend.inventory.browse import Wanted, browse, number_of
from mastomend.mastodon.kinds import KIND_BY_NAME
from mastomend.outcomes import Outcome
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding or outcome. `who` is `@user@host`, an emoji, a page, or kind and id where the database does not say;
    `address` is where it is seen. `word` is the state or the outcome, `said` the reason in words. `known` is what an
    earlier repair made of a finding.
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


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown: the scan or run, whether it is a run, how many rows there are, and those that are asked for."""

    of: str
    is_run: bool
    number: int
    rows: Iterator[Shown]


@contextlib.contextmanager
def show(instance: Instance, name: str, wanted: Wanted, progress: Progress = Silent()) -> Iterator[Showing]:
    """The rows of that scan or run.

    Raises:
        ConfigurationError: there is none of that name.
    """
    of, path, is_run = either(instance, name, is_run=_of_runs(wanted))
    budget = instance.settings.memory_bytes // 4
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(_names(instance, progress))
        ledger = stack.enter_context(kept_ledger(instance))
        rows = _rows(path, wanted, budget, names, ledger)
        yield Showing(of, is_run, number_of(path, wanted, budget), rows)


def _of_runs(wanted: Wanted) -> bool | None:
    """Whether what is wanted is to be had of runs only, or of scans only; None if of both."""
    if wanted.reasons or set(wanted.words) & {outcome.value for outcome in Outcome}:
        return True
    return False if wanted.words else None


def _rows(
    path: Path, wanted: Wanted, budget: int, names: MastodonDatabase | None, ledger: Ledger | None
) -> Iterator[Shown]:
    for batch in browse(path, wanted, budget):
        called = _called(names, batch)
        entries = {} if ledger is None else ledger.entries((row["kind"], row["id"]) for row in batch)
        for row in batch:
            record = (row["kind"], row["id"])
            yield _shown(row, called.get(record), entries.get(record))


def _shown(row: dict[str, Any], called: tuple[str, str | None] | None, entry: Entry | None) -> Shown:
    who, address = called or (f"{row['kind']} {row['id']}", None)
    is_finding = "state" in row
    reason = "" if is_finding else row["reason"]
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
        row["word"] or "would be tried",
        reason,
        _words(row["detail"], reason),
        row.get("tried", ""),
        known,
        entry.last_tried if entry else None,
        entry.next_try if entry else None,
    )


def _words(detail: str, reason: str) -> str:
    """The sentence of the report; a mere status of HTTP is none."""
    return Reason(reason).words if reason and (not detail or detail.startswith("HTTP ")) else detail


def _called(
    database: MastodonDatabase | None, rows: Sequence[dict[str, Any]]
) -> dict[tuple[str, int], tuple[str, str | None]]:
    if database is None:
        return {}
    ids: dict[str, list[int]] = {}
    for row in rows:
        ids.setdefault(row["kind"], []).append(row["id"])
    return {
        (kind, record_id): called
        for kind, some in ids.items()
        for record_id, called in read_names(database, KIND_BY_NAME[kind], some).items()
    }


@contextlib.contextmanager
def _names(instance: Instance, progress: Progress) -> Iterator[MastodonDatabase | None]:
    """The database, if it can be asked for names: what was found is shown without it, too."""
    needs = {
        "accounts": {"id", "username", "domain", "url"},
        "statuses": {"id", "url", "uri"},
        "media_attachments": {"id", "account_id", "status_id"},
        "custom_emojis": {"id", "shortcode", "domain"},
        "preview_cards": {"id", "url"},
    }
    with contextlib.ExitStack() as stack:
        try:
            database = stack.enter_context(MastodonDatabase(instance.configuration.database, "mastomend show"))
            database.require(needs)
        except DatabaseError as error:
            progress.note(f"Without names, by number: {error.message}")
            database = None
        yield database
