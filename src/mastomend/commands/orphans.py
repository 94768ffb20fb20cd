"""`orphans`: files no record expects. Seen in two scans, old enough by the storage's own clock, asked for again right before
they are moved, and set aside rather than deleted: an upload in flight, a row of the last second, are never touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan
from mastomend.actions.quarantine import quarantine_prefix
from mastomend.actions.run import Run, run
from mastomend.commands.instance import Instance
from mastomend.commands.losses import losses
from mastomend.commands.orphans_report import OrphansOptions, OrphansReport
from mastomend.commands.parts import Parts, changing_parts, ground
from mastomend.commands.past import kept_ledger
from mastomend.commands.repair_report import OUTCOMES
from mastomend.commands.scanning import Look, Scan, scanning
from mastomend.errors import SafetyStop
from mastomend.ids import new_id
from mastomend.inventory import known, strays
from mastomend.inventory.strays import Sightings
from mastomend.inventory.taking_up import identity
from mastomend.plans.cleanup import Kept, no_longer_needed, purge
from mastomend.plans.orphans import SORTS, delete, set_aside, too_many
from mastomend.progress import Progress, Silent
from mastomend.storage.ports import Clock, held
from mastomend.vocabulary import Stray

#: How one waits, and what time it is.
_Clocks = tuple[Callable[[float], None], Callable[[], datetime]]


def orphans(
    instance: Instance,
    options: OrphansOptions = OrphansOptions(),
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> OrphansReport:
    """Find them, and with `apply` move them away.

    Raises:
        SafetyStop: the numbers look like a wrong database or an unmounted disk, or another changing run is under way.
        ConfigurationError, DatabaseError, StorageError: nothing could be compared.
    """
    clock = time.monotonic()
    if not options.apply:
        report, _ = _scanned(instance, options, progress, (sleep, now), new_id(now()))
    else:
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "orphans", _scope(options), new) as current:
            report = _apply(instance, options, progress, here.journal, current, (sleep, now))
    report.duration_s = time.monotonic() - clock
    return report


def _scope(options: OrphansOptions) -> str:
    kinds = ",".join(sorted(options.kinds)) or "all"
    return kinds if options.quarantine else f"{kinds} for good"


def _scanned(
    instance: Instance,
    options: OrphansOptions,
    progress: Progress,
    clocks: _Clocks,
    new: str,
) -> tuple[OrphansReport, Sightings]:
    """A scan of all there is, its strays kept, and what the one before it knew of them."""
    sleep, now = clocks
    look = Look("orphans", options.kinds, connections=options.list_concurrency, everything=True, resume=options.resume)
    budget = instance.settings.memory_bytes // 4
    storage = identity(instance.configuration.storage)
    with scanning(instance, look, progress, sleep, now) as made:
        kinds = [kind.name for kind in made.chosen]
        path = strays.save(made.inventory.work, made.folder, storage, kinds)
        ahead = made.store.behind_s() if isinstance(made.store, Clock) else 0.0
        now_there = now() - timedelta(seconds=max(ahead, 0.0))
        limit = options.max_missing_percent
        limit = instance.settings.max_missing_percent if limit is None else limit
        stops = _stops(instance, options, made, limit)
    before = int((now_there - options.min_age).timestamp() * 1_000_000)
    sightings = Sightings(path, strays.earlier(made.folder, storage, kinds), before)
    report = OrphansReport(new, options.apply, made.begun.scan, path, sightings.earlier is None)
    report.report = path
    report.sorts = sightings.by_sort(budget)
    report.stops = stops
    return report, sightings


def _stops(instance: Instance, options: OrphansOptions, made: Scan, missing_percent: float) -> list[str]:
    """Why nothing may be moved."""
    inventory, prefix = made.inventory, instance.key_prefix
    with kept_ledger(instance) as ledger:  # what a repair has tried is known to be damage
        known.join_ledger(inventory, () if ledger is None else ledger.tables())
    storage = str(instance.configuration.storage)
    stops = losses(inventory, made.store, storage, prefix, missing_percent, holds_anything=made.holds_anything)
    nobody_s = strays.number(inventory.work, (Stray.ORPHAN, Stray.STALE_DUPLICATE))
    expected = sum(tree.expected - tree.missing for tree in known.missing(inventory, prefix))
    why = too_many(nobody_s, expected, options.max_percent)
    return [*stops, *([why] if why else [])]


def _apply(
    instance: Instance,
    options: OrphansOptions,
    progress: Progress,
    journal: Journal,
    current: Run,
    clocks: _Clocks,
) -> OrphansReport:
    budget = instance.settings.memory_bytes // 4
    with ExitStack() as stack:
        parts = stack.enter_context(changing_parts(instance))
        report, sightings = _scanned(instance, options, progress, clocks, current.id)
        if report.stops:
            raise SafetyStop(
                f"{' '.join(report.stops)} Nothing was moved.",
                hint="Is it the right database, is everything mounted? If so: --max-orphans 100% --max-missing 100%.",
            )
        current.begin(parts.world(), scan=report.scan)
        report.run = current.id
        ready = sightings.ready(tuple(SORTS), budget)
        prefix = instance.key_prefix
        plans = set_aside(ready, current.id, prefix) if options.quarantine else delete(ready)
        progress.start("orphans", report.ready)
        for _ in current.execute(plans):
            progress.advance(1)
        if options.purge_after is not None:
            for _ in current.execute(_expired(parts, journal, clocks[1]() - options.purge_after, prefix)):
                pass
        for done in journal.outcomes(current.id):
            report.count(done)
        report.report = instance.state / "runs" / current.id / "outcomes.parquet"
        OUTCOMES.write(report.report, (done.row() for done in journal.outcomes(current.id)), budget)
        current.summary = {"quarantined": report.quarantined, "purged": report.purged, "expired": report.expired}
    return report


def _expired(parts: Parts, journal: Journal, before: datetime, key_prefix: str) -> Iterator[Plan]:
    """What runs of this command have set aside long enough ago."""
    runs = journal.runs()
    ours = {one.id for one in runs if one.command == "orphans"}
    old = ours & no_longer_needed([(one.id, one.undoes, one.finished_at) for one in runs], before)
    for name in sorted(old):
        prefix = f"{quarantine_prefix(key_prefix)}{name}/"
        objects = ((one.key, one.size) for some in parts.store.list(prefix) for one in held(some))
        yield from purge(objects, old, ours, Kept(), key_prefix)
