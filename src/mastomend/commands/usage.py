"""`usage`: where the bytes are, by what the storage holds. Changes nothing.

A scan of all there is, sums over it, and beside them what the database claims. Its total is kept with the scan, so that the
next one knows how fast it grows.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mastomend.commands.costs import named_price, price
from mastomend.commands.instance import Instance
from mastomend.commands.names import refuse_unknown, who
from mastomend.commands.nothing import refuse_nothing
from mastomend.commands.scanning import Look, Scan, scanning
from mastomend.commands.usage_report import Disk, Growth, UsageOptions, UsageReport
from mastomend.database.rows import read_selected_ids
from mastomend.errors import ConfigurationError
from mastomend.inventory import strays, usage
from mastomend.inventory.taking_up import identity
from mastomend.inventory.usage import Amount
from mastomend.mastodon.kinds import AVATARS, choose_kinds
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.progress import Progress, Silent
from mastomend.state_files import replace_text
from mastomend.storage.ports import Billed

_FILE = "usage.json"
#: Growth is told from so long a time on, and of the last weeks only.
_SOONEST, _OLDEST = timedelta(hours=20), timedelta(days=60)


def count_usage(
    instance: Instance,
    options: UsageOptions = UsageOptions(),
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> UsageReport:
    """Count everything.

    Raises:
        ConfigurationError, DatabaseError, StorageError: it could not be counted.
    """
    clock = time.monotonic()
    named = None if options.price is None else named_price(instance, options.price)
    storage = instance.configuration.storage
    look = Look(
        "usage", connections=options.list_concurrency, everything=True, described=True, resume=options.resume
    )  # all of it, whatever is selected: what is left out would look like nobody's
    with scanning(instance, look, progress, sleep, now) as made:
        progress.start("adding up", 0)
        refuse_unknown(made.database, options.selection)
        chosen = [kind.name for kind in choose_kinds(options.kinds, made.available, but=options.but_kinds)]
        if not chosen:
            raise ConfigurationError("That leaves no kind to count.", hint="Leave out an --exclude.")
        records = _records(made, options.selection)
        usage.join(made.inventory, options.selection, chosen, records)
        strays.save(made.inventory.work, made.folder, identity(storage), [kind.name for kind in made.chosen])
        report = _report(instance, options, made, chosen)
        refuse_nothing(report.used.files + report.claimed, options.selection, options.kinds, options.but_kinds)
        if isinstance(made.store, Billed):
            progress.start("old versions, unfinished uploads", 0)
            report.versions = _amount(made.store.old_versions())
            report.uploads = _amount(made.store.unfinished_uploads())
        report.ages = usage.by_age(made.inventory, now().timestamp())
    report.price = named or price(instance)
    report.growth = _growth(instance, report, now())
    if isinstance(storage, FilesystemStorage):
        report.disk = _disk(storage.root, report.growth, now())
        report.versions = report.uploads = Amount()  # there are none on a disk
    kept = {"at": now().isoformat(), "storage": identity(storage), "bytes": report.total.bytes}
    replace_text(report.report, json.dumps(kept), 0o600)
    report.duration_s = time.monotonic() - clock
    return report


def _amount(told: tuple[int, int] | None) -> Amount | None:
    return None if told is None else Amount(*told)


def _records(made: Scan, selection: Selection) -> list[tuple[str, int]] | None:
    """What accounts and posts that are selected have; None: none is selected."""
    if not (selection.accounts or selection.statuses):
        return None
    narrow = replace(selection, domains=(), without_domains=(), local=None)
    return [(k.name, one) for k in made.available for one in read_selected_ids(made.database, k, narrow)]


def _report(instance: Instance, options: UsageOptions, made: Scan, chosen: list[str]) -> UsageReport:
    inventory, prefix = made.inventory, instance.key_prefix
    is_selected = options.selection != EVERYTHING or bool(options.kinds or options.but_kinds)
    accounts = usage.by_account(inventory, options.top)
    names = who(made.database, [(AVATARS.name, account) for account, _ in accounts])
    return UsageReport(
        made.begun.scan,
        made.begun.started_at,
        instance.configuration.local_domain,
        str(instance.configuration.storage),
        usage.total(inventory),
        usage.by_kind(inventory, chosen, prefix, with_orphans=options.selection == EVERYTHING),
        usage.by_domain(inventory, options.top),
        [(name, account, amount) for name, (account, amount) in zip(names, accounts, strict=True)],
        styles=usage.by_style(inventory),
        apart=usage.apart(inventory, prefix),
        difference=usage.difference(inventory),
        is_selected=is_selected,
        report=made.folder / _FILE,
    )


def _growth(instance: Instance, report: UsageReport, now: datetime) -> Growth | None:
    """Since the oldest count of the last weeks; None if there is none that is old enough."""
    counts = []
    for path in (instance.state / "scans").glob(f"*/{_FILE}"):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            at, size = datetime.fromisoformat(kept["at"]), int(kept["bytes"])
            if kept.get("storage") == identity(instance.configuration.storage) and _SOONEST <= now - at <= _OLDEST:
                counts.append((at, size))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it was cut off, or is not ours
            continue
    if not counts:
        return None
    at, size = min(counts)
    return Growth(at, (report.total.bytes - size) / ((now - at) / timedelta(days=1)))


def _disk(root: str, growth: Growth | None, now: datetime) -> Disk | None:
    try:
        found = shutil.disk_usage(Path(root))
    except OSError:
        return None
    full_on = None
    if growth is not None and growth.bytes_per_day > 0:
        days = found.free / growth.bytes_per_day
        full_on = (now + timedelta(days=days)).date() if days < 36_500 else None
    return Disk(found.used + found.free, found.free, full_on)  # as `df` has it: what is reserved for root is nobody's
