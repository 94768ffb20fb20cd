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
from mastomend.commands.costs import announce
from mastomend.commands.instance import Instance, refuse_ignored_prefix
from mastomend.commands.losses import losses, sampled
from mastomend.commands.names import FEW, refuse_unknown, who
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of
from mastomend.errors import ConfigurationError
from mastomend.images.ffmpeg_paths import find_ffprobe
from mastomend.inventory import known
from mastomend.inventory.sample import Sample
from mastomend.inventory.scan import Inventory, Scanned, Want, Watch, scan
from mastomend.inventory.taking_up import Begun, Terms, take_up
from mastomend.inventory.workspace import workspace
from mastomend.mastodon.kinds import Kind, choose_kinds
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.selection import EVERYTHING, Selection, may_match
from mastomend.progress import Progress, Silent
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check. `kinds` empty means all, `but_kinds` are left out; `deep` None means sizes only.

    `list_concurrency` is how many connections list a bucket at once; `listing` names files that say what is held.
    `resume` allows to go on with a check that was cut off: what it saw then is not looked at again. `command` is the one this
    check belongs to: what was cut off is gone on with by that one only.
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
    configuration, settings = instance.configuration, instance.settings
    if journal_path(instance.state).exists():  # hours later would be late to say that it cannot be read
        Journal(instance.state).close()
    begun = _begin(instance, options, progress, now())
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(_database(instance, begun, progress))
        if database.version.note:
            progress.note(f"The database's schema is {database.version.note}")
        store = build_store(configuration.storage)
        stack.callback(store.close)
        holds_anything = store.probe()
        available = kinds_of(database)
        chosen = choose_kinds(options.kinds, available, but=options.but_kinds)
        chosen = tuple(kind for kind in chosen if may_match(kind, options.selection))
        if not chosen:
            raise ConfigurationError(
                "That leaves no kind to look at.", hint="Leave out an --exclude, or name fewer kinds or servers."
            )
        database.require(must_see(chosen, options.selection))
        refuse_unknown(database, options.selection)
        refuse_ignored_prefix(instance, database.version)
        report = _report(instance, begun, database, available, store)
        watch = Watch(progress, lambda requests: announce(report, instance, requests, progress), sleep)
        want = Want(
            chosen,
            options.selection,
            begun.deep,
            options.listing,
            connections=options.list_concurrency,
            settle_s=settings.settle_s,
        )
        of = Scanned(database, store, configuration.storage, find_ffprobe(instance.variables))
        work = stack.enter_context(
            workspace(report.findings.parent, settings.memory_bytes, begun.scope, begun.started_at)
        )
        with scan(of, want, work, watch) as inventory:
            inventory.save_findings(report.findings)
            _sum_up(report, inventory, instance)
            report.own, report.fresh = known.own(inventory, FEW), known.fresh(inventory, FEW if report.known else 0)
            report.names, report.fresh_names = who(database, report.own), who(database, report.fresh)
            limit = options.max_missing_percent
            report.mass_loss = losses(
                inventory,
                store,
                report.storage,
                instance.key_prefix,
                settings.max_missing_percent if limit is None else limit,
                holds_anything=holds_anything,
            )
            if options.selection != EVERYTHING and not report.mass_loss:
                share = settings.max_missing_percent if limit is None else limit
                report.mass_loss = sampled(database, store, chosen, instance.key_prefix, share)
    if options.selection != EVERYTHING and not any(kind.records for kind in report.kinds):
        report.findings.unlink(missing_ok=True)  # else it would be the latest, and look sound
        raise ConfigurationError(f"No record with a file is selected by {options.selection}: nothing was looked at.")
    report.duration_s = time.monotonic() - clock
    return report


def _begin(instance: Instance, options: CheckOptions, progress: Progress, now: datetime) -> Begun:
    configuration = instance.configuration
    terms = Terms(
        options.command,
        (*options.kinds, *(f"-{kind}" for kind in options.but_kinds)),
        configuration.storage,
        configuration.database,
        options.deep,
        options.listing,
        options.selection,
    )
    begun = take_up(instance.state / "scans", terms, now, resume=options.resume)
    if begun.resumed:
        progress.note(
            f"Going on with check {begun.scan}, which was cut off; what it has seen since {begun.started_at:%H:%M} UTC is "
            "not looked at again (--fresh begins anew)."
        )
    return begun


def _database(instance: Instance, begun: Begun, progress: Progress) -> MastodonDatabase:
    return MastodonDatabase(
        instance.configuration.database,
        f"mastomend check {begun.scan}",
        replica=instance.configuration.replica,
        timeout_s=instance.settings.statement_timeout_s,
        note=progress.note,
    )


def _report(
    instance: Instance, begun: Begun, database: MastodonDatabase, kinds: tuple[Kind, ...], store: Store
) -> CheckReport:
    return CheckReport(
        begun.scan,
        begun.started_at,
        instance.configuration.local_domain,
        database.version,
        str(instance.configuration.storage),
        [KindReport(kind.name) for kind in kinds],
        store.requests,
        instance.state / "scans" / begun.scan / "findings.parquet",
        resumed=begun.resumed,
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
        report.next_try = ledger.next_try([kind.kind for kind in report.kinds if kind.expected])
        report.known = known.join_ledger(inventory, ledger.tables())
