"""`check`: compare what the database expects with what the storage holds. Changes nothing outside the state directory.

One scan (`inventory.scan`), its numbers, what the ledger knows of them, and whether they look like mass loss.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.actions.ledger import Ledger
from mastomend.commands.check_report import CheckReport, KindReport
from mastomend.commands.instance import Instance
from mastomend.commands.losses import losses, sampled
from mastomend.commands.names import FEW, who
from mastomend.commands.nothing import refuse_nothing
from mastomend.commands.scanning import Look, Scan, scanning
from mastomend.inventory import known
from mastomend.inventory.sample import Sample
from mastomend.inventory.scan import Inventory
from mastomend.inventory.whole import PublicLook
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check. `kinds` empty means all, `but_kinds` are left out; `deep` None means sizes only.

    `list_concurrency` is how many connections list a bucket at once; `listing` names files that say what is held.
    `resume` allows to go on with a check that was cut off: what it saw then is not looked at again. `command` is the one this
    check belongs to: what was cut off is gone on with by that one only. `public`: also ask for files as the public would.
    """

    kinds: tuple[str, ...] = ()
    deep: Sample | None = None
    max_missing_percent: float | None = None
    list_concurrency: int = 32
    listing: tuple[Path, ...] = ()
    resume: bool = True
    command: str = "check"
    selection: Selection = EVERYTHING
    but_kinds: tuple[str, ...] = ()
    public: PublicLook | None = None


def check(
    instance: Instance,
    options: CheckOptions = CheckOptions(),
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CheckReport:
    """Scan the instance.

    Raises:
        ConfigurationError, DatabaseError, StorageError: nothing could be compared; there is no report then.
    """
    clock = time.monotonic()
    if journal_path(instance.state).exists():  # hours later would be late to say that it cannot be read
        Journal(instance.state).close()
    seen = Look(
        options.command,
        options.kinds,
        options.but_kinds,
        options.selection,
        options.deep,
        options.listing,
        options.list_concurrency,
        resume=options.resume,
    )
    with scanning(instance, seen, progress, sleep, now) as made:
        inventory, report = made.inventory, _report(instance, made)
        refuse_nothing(inventory.records, options.selection, options.kinds, options.but_kinds)
        inventory.save_findings(report.findings, seen.part)
        _sum_up(report, inventory, instance)
        report.own, report.fresh = known.own(inventory, FEW), known.fresh(inventory, FEW)
        report.names, report.fresh_names = who(made.database, report.own), who(made.database, report.fresh)
        limit = options.max_missing_percent
        share = instance.settings.max_missing_percent if limit is None else limit
        prefix, store = instance.key_prefix, made.store
        report.mass_loss = losses(inventory, store, report.storage, prefix, share, holds_anything=made.holds_anything)
        if options.selection != EVERYTHING and not report.mass_loss:
            report.mass_loss = sampled(made.database, store, made.chosen, prefix, share)
        if options.public is not None:
            from mastomend.commands.unservable import look  # noqa: PLC0415 - half of a check's start, and seldom wanted

            report.take_public(look(instance, made, options.public, progress))
            inventory.save_findings(report.findings, seen.part)
    only_accounts = bool(options.selection.accounts) and not options.selection.statuses
    report.of_accounts = only_accounts and not (options.kinds or options.but_kinds)
    report.duration_s = time.monotonic() - clock
    return report


def _report(instance: Instance, made: Scan) -> CheckReport:
    return CheckReport(
        made.begun.scan,
        made.begun.started_at,
        instance.configuration.local_domain,
        made.database.version,
        str(instance.configuration.storage),
        [KindReport(kind.name) for kind in made.available],
        made.store.requests,
        made.folder / "findings.parquet",
        resumed=made.begun.resumed,
        looked_since=made.begun.started_at,
        cost=made.cost,
    )


def _sum_up(report: CheckReport, inventory: Inventory, instance: Instance) -> None:
    for kind in inventory.counts:
        report.count(inventory, kind)
    report.unsettled, report.deep_read = inventory.unsettled, inventory.read
    report.top_domains, report.obstacles = known.top_domains(inventory), known.obstacles(inventory)
    if not journal_path(instance.state).exists():
        known.join_ledger(inventory, ())
        return
    with contextlib.closing(Journal(instance.state)) as journal:
        ledger = Ledger(journal, instance.settings.deferral)
        tried = known.join_ledger(inventory, ledger.tables())
    report.known, report.last_tried, report.next_try = tried.outcomes, tried.last_tried, tried.next_try
    for kind_report in report.kinds:
        kind_report.known = tried.by_kind.get(kind_report.kind, kind_report.known)
