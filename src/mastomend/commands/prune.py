"""`prune`: lets cached remote media go, by policy or to a byte budget, and keeps what people here touched.

First everything is weighed and judged (`inventory.keeping`); that is the preview. With `--apply` the same happens, and then
each record is looked at again right before it goes, with everything that ties it to somebody here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from mastomend.actions.journal import Journal
from mastomend.actions.run import Run, run
from mastomend.commands.instance import Instance
from mastomend.commands.letting_go import Letting, batches
from mastomend.commands.losses import losses, sampled
from mastomend.commands.nothing import refuse_nothing
from mastomend.commands.parts import changing_parts, ground
from mastomend.commands.past import kept_ledger
from mastomend.commands.prune_report import PruneOptions, PruneReport, over_by
from mastomend.commands.prune_rights import refuse_blind, refuse_unwritable
from mastomend.commands.repair_report import OUTCOMES
from mastomend.commands.scanning import Look, Scan, scanning
from mastomend.database.rows import has_accounts_of
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.ids import new_id
from mastomend.inventory import access_log, cached, evictions, keeping, known
from mastomend.inventory.cached import UNITS
from mastomend.inventory.keeping import Policy
from mastomend.mastodon.selection import EVERYTHING
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.progress import Progress, Silent

_Clocks = tuple[Callable[[float], None], Callable[[], datetime]]


def prune(
    instance: Instance,
    options: PruneOptions,
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PruneReport:
    """Say what would go, or with `apply` let it go.

    Raises:
        SafetyStop: what is missing looks like an unmounted disk, or another changing run is under way.
        ConfigurationError, DatabaseError, StorageError: nothing could be judged.
    """
    clock = time.monotonic()
    if not options.chosen:
        raise ConfigurationError(
            "The policy says neither an age nor a budget.",
            hint="Say one, as in: mastomend prune --attachments 30d, or mastomend prune --budget 20GB.",
        )
    access_log.refuse_unreadable(options.access_logs)
    barred = refuse_blind(instance, options.chosen, progress, apply=options.apply)
    if not options.apply:
        report = _planned(instance, options, progress, (sleep, now), new_id(now()))
    else:
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "prune", _scope(options), new) as current:
            report = _apply(instance, options, progress, here.journal, current, (sleep, now))
    report.is_barred |= barred
    report.duration_s = time.monotonic() - clock
    return report


def _scope(options: PruneOptions) -> str:
    return f"{','.join(options.chosen)} of {options.selection}"


def _planned(instance: Instance, options: PruneOptions, progress: Progress, clocks: _Clocks, new: str) -> PruneReport:
    sleep, now = clocks
    units = options.chosen
    kinds = tuple(kind.name for unit in units for kind in UNITS[unit])
    remote = replace(options.selection, local=False)
    look = Look(
        "prune", kinds, selection=remote, connections=options.list_concurrency, described=True, weighed=True,
        resume=options.resume,
    )  # fmt: skip
    with scanning(instance, look, progress, sleep, now) as made:
        barred = refuse_unwritable(made.store, made.chosen, instance.key_prefix, progress, apply=options.apply)
        if not made.inventory.records and not has_accounts_of(made.database, options.selection.domains):
            refuse_nothing(0, options.selection)  # of a server one knows all may be gone already
        work, moment = made.inventory.work, int(now().timestamp())
        progress.start("who cares for what", 0)
        cached.read_ties(work, made.database, units)
        cached.read_unreachable(work, made.database)
        looks = access_log.read(work, options.access_logs)
        report = PruneReport(new, options.apply, made.begun.scan, _asking(instance, options), units)
        report.looks = looks if options.access_logs else None
        report.to_free, report.is_barred = report.policy.to_free, barred
        progress.start("judging", 0)
        cached.join(work, made.inventory.expected, units, moment)
        keeping.judge(work, report.policy, moment)
        report.stops = _stops(instance, options, made)
        report.by_unit, report.kept = evictions.by_unit(work), evictions.kept(work)
        report.groups, report.ages = evictions.groups(work), evictions.by_days(work, units, moment)
        report.over = over_by(report)
        report.report = made.folder / "evictions.parquet"
        report.limited = evictions.save(work, report.report, options.limit)
    return report


def _asking(instance: Instance, options: PruneOptions) -> Policy:
    """The policy, with what the disk itself asks for."""
    storage = instance.configuration.storage
    if options.keep_free is None:
        return options.policy
    if not isinstance(storage, FilesystemStorage):
        raise ConfigurationError("--keep-free is for a disk; a bucket has no end.", hint="Use --budget.")
    try:
        disk = shutil.disk_usage(storage.root)
    except OSError as error:
        raise ConfigurationError(f"{storage.root} cannot be looked at: {error.strerror}.") from None
    if options.keep_free > disk.used + disk.free:
        raise ConfigurationError(
            f"The disk has {(disk.used + disk.free) / 1e9:.2f} GB: {options.keep_free / 1e9:.2f} GB of it cannot be kept free.",
            hint="A tenth of the disk is a usual figure.",
        )
    return replace(options.policy, to_free=max(0, options.keep_free - disk.free))


def _stops(instance: Instance, options: PruneOptions, made: Scan) -> list[str]:
    """Why nothing may go: rows would be emptied whose files are only out of sight."""
    with kept_ledger(instance) as ledger:
        known.join_ledger(made.inventory, () if ledger is None else ledger.tables())
    percent = options.max_missing_percent
    percent = instance.settings.max_missing_percent if percent is None else percent
    storage = str(instance.configuration.storage)
    prefix = instance.key_prefix
    stops = losses(made.inventory, made.store, storage, prefix, percent, holds_anything=made.holds_anything)
    if stops or options.selection == EVERYTHING:
        return stops
    return sampled(
        made.database, made.store, made.chosen, prefix, percent
    )  # what is left out tells of a wrong bucket, too


def _apply(
    instance: Instance,
    options: PruneOptions,
    progress: Progress,
    journal: Journal,
    current: Run,
    clocks: _Clocks,
) -> PruneReport:
    with changing_parts(instance) as parts:
        report = _planned(instance, options, progress, clocks, current.id)
        if report.stops:
            raise SafetyStop(
                f"{' '.join(report.stops)} This looks like a disk that is not mounted or a wrong bucket. Nothing was changed.",
                hint="Mount what is missing. If the files really are gone: --max-missing 100%.",
            )
        current.begin(parts.world(), scan=report.scan, resumed_within_s=0.0)
        report.run = current.id
        caches_answer = parts.caches.reachable()
        progress.start("prune", report.taken.records)
        fresh = Letting(parts, report.policy, instance.key_prefix, clocks[1], forgets=caches_answer)
        for plans in fresh.ahead(batches(report.report)):
            for _ in current.execute(plans):
                progress.advance(1)
        for done in journal.outcomes(current.id):
            report.count(done)
        if report.policy.has_budget:  # what stayed after all, or was left by the limit
            report.over += max(0, report.goes.bytes - report.evicted.bytes)
        budget = instance.settings.memory_bytes // 4
        report.report = instance.state / "runs" / current.id / "outcomes.parquet"
        OUTCOMES.write(report.report, (done.row() for done in journal.outcomes(current.id)), budget)
        current.summary = {"evicted": report.evicted.records, "bytes": report.evicted.bytes}
    return report
