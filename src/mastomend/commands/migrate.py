"""`migrate`: moves the media to another storage while the server runs, and back. `plan` says what there is to do, `copy` does
it as often as one likes, `verify` proves it; `finish` switches, `rollback` takes the switch back (`migrate_end`).

No step changes anything where the files come from. What the target holds is the record of what is done: each compares anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from mastomend.commands.costs import price
from mastomend.commands.instance import Instance
from mastomend.commands.losses import refuse
from mastomend.commands.migrate_check import prove
from mastomend.commands.migrate_report import Estimate, MigrateOptions, MigrateReport, Step
from mastomend.commands.migration import Compared, at, ends
from mastomend.commands.moves import remember
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions
from mastomend.commands.transferring import Move, changing, transfer
from mastomend.errors import ConfigurationError, StorageError
from mastomend.ids import new_id
from mastomend.inventory.crossing import Tally
from mastomend.inventory.keeping import Policy
from mastomend.plans.migrate import puts
from mastomend.progress import Progress, Silent
from mastomend.storage.abilities import Tried, try_out
from mastomend.storage.build import build as build_store


def migrate(
    instance: Instance,
    options: MigrateOptions,
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> MigrateReport:
    """`plan`, `copy` or `verify`.

    Raises:
        SafetyStop: what is missing looks like an unmounted disk, or another changing run is under way.
        ConfigurationError, DatabaseError, StorageError: it cannot be compared, or the target cannot be used.
    """
    clock = time.monotonic()
    move = Move(instance, options, ends(instance, options.to, options.origin), progress, (sleep, now))
    if options.step is Step.VERIFY:
        report = _verify(move)
    elif options.apply and options.step is Step.COPY:
        report = _copy(move)
    else:
        report = _plan(move)
    report.duration_s = time.monotonic() - clock
    return report


def _plan(move: Move) -> MigrateReport:
    report = move.begun(new_id(move.clocks[1]()))
    tried = _tried(move, report) if move.options.write_test else None
    if move.options.skip_cache_older is not None:
        report.evictable = _evicted(move, apply=False)[1]
    with move.compared(move.both.source, move.both.target.storage, report) as found:
        report.estimate = _estimate(move, found, report.evictable, tried)
    return report


def _tried(move: Move, report: MigrateReport) -> Tried:
    """What the target can do; objects are written there and removed again."""
    target = move.both.target.storage
    move.progress.start("trying the target", 0)
    store = build_store(target)
    try:
        store.probe()
        tried = try_out(store, target.key_prefix, measured=move.options.step is Step.PLAN)
    finally:
        store.close()
    report.abilities = list(tried.abilities)
    return tried


def _estimate(move: Move, found: Compared, evictable: Tally, tried: Tried | None) -> Estimate:
    target = move.both.target.storage
    goes, alike = found.all.to_copy, found.all.alike
    files, size = max(goes.files - evictable.files, 0), max(goes.bytes - evictable.bytes, 0)
    rate = price(at(move.instance, target))
    requests = puts(files, size, target)
    lists = -(-found.all.expected // 1_000)
    seconds = None if tried is None else tried.seconds_for(files, size)
    if move.options.bytes_per_s is not None:
        seconds = max(seconds or 0.0, size / move.options.bytes_per_s)
    return Estimate(
        requests + lists,
        None if rate is None else rate.of(lists=lists, puts=requests),
        None if rate is None else rate.month(alike.bytes + size),
        seconds,
        rate,
    )


def _evicted(move: Move, *, apply: bool) -> tuple[str, Tally]:
    """Cached attachments that are older go by prune's rules: what people here touched stays, and is moved. The run it was."""
    older = move.options.skip_cache_older
    if older is None:
        return "", Tally()
    policy = Policy(ages={"attachments": int(older.total_seconds())})
    limit = move.options.max_missing_percent
    options = PruneOptions(
        policy, apply=apply, max_missing_percent=limit,
        list_concurrency=move.options.connections,
    )  # fmt: skip
    found = prune(at(move.instance, move.both.source), options, move.progress, *move.clocks)
    went = found.evicted if apply else found.goes
    return found.run if apply and went.records else "", Tally(went.records, went.bytes)


def _copy(move: Move) -> MigrateReport:
    if move.both.is_switched:
        raise ConfigurationError(
            f"Mastodon uses {move.both.target.storage} already.",
            hint=f"Go on with: mastomend migrate finish --to {move.options.to} --apply",
        )
    pruned_by, evicted = "", Tally()
    if move.options.skip_cache_older is not None:  # nothing goes before it is certain that the rest can be moved
        before = move.begun(new_id(move.clocks[1]()))
        _usable(move, _tried(move, before))
        with move.compared(move.both.source, move.both.target.storage, before):
            refuse(before.stops)
        pruned_by, evicted = _evicted(move, apply=True)
    new = new_id(datetime.now(UTC))
    way = (move.both.source, move.both.target.storage)
    with changing(move, new, way[1]) as (parts, current):
        report = move.begun(current.id)
        report.evicted, report.pruned_by = evicted, pruned_by
        tried = _tried(move, report)
        _usable(move, tried)
        began = time.monotonic()
        with move.compared(*way, report) as found:
            transfer(move, parts, current, report, found, way)
        remember(move.instance, move.both.source, move.both.target.storage, report.copied, time.monotonic() - began)
    return report


def _usable(move: Move, tried: Tried) -> None:
    """Raises StorageError: the target lacks what is needed."""
    if tried.lacking:
        raise StorageError(
            f"{move.both.target.storage} cannot be used: {'; '.join(one.said for one in tried.lacking)}.",
            hint=" ".join(dict.fromkeys(one.advice for one in tried.lacking if one.advice)) or "See migrate plan.",
        )


def _verify(move: Move) -> MigrateReport:
    report = move.begun(new_id(move.clocks[1]()))
    both = move.both
    with move.compared(both.source, both.target.storage, report, only_missing=both.is_switched) as found:
        prove(move.instance, move.both, move.options, found, report, move.progress)
    return report
