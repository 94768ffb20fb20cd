"""`guard`: from a timer. Looks at the disk or the bill, and lets the least valuable go when a mark is passed; warns before.

What it saw of the disk each time is kept in the state directory, so that the next time tells how fast it fills.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mastomend.commands.bill_watch import look_at_bill
from mastomend.commands.disk_watch import forecast, on_disk, refuse_empty_folder
from mastomend.commands.guard_report import MARGIN, GuardOptions, GuardReport
from mastomend.commands.instance import Instance
from mastomend.commands.policy import Wishes
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions, PruneReport
from mastomend.commands.prune_rights import cannot
from mastomend.database.reader import MastodonDatabase
from mastomend.database.retention import read_overdue, read_retention
from mastomend.errors import StorageError
from mastomend.inventory.keeping import FOREVER
from mastomend.mastodon.retention import fights, looks_dead
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.progress import Progress, Silent

#: What share of the room that is needed is worth that anything goes, where nobody has named what.
_WORTH = 0.1
#: What else is on a disk is told from this share of it on.
_WORTH_TELLING = 0.01


def guard(
    instance: Instance,
    options: GuardOptions,
    progress: Progress = Silent(),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> GuardReport:
    """Look, warn, and with `apply` let go what has to.

    Raises:
        SafetyStop: what is missing looks like an unmounted disk, or another changing run is under way.
        ConfigurationError, DatabaseError, StorageError: it cannot be looked at.
    """
    clock = time.monotonic()
    report = GuardReport(options.apply)
    wishes = options.wishes
    if isinstance(instance.configuration.storage, FilesystemStorage):
        keep_free = _look_at_disk(instance, options, report, now())
        if keep_free is not None:
            wishes = replace(wishes, keep_free=max(keep_free, wishes.keep_free or 0))
    else:
        wishes = look_at_bill(instance, options, report, wishes, now())
    _look_at_mastodon(instance, wishes, report)
    if report.passed or options.wishes.policy.has_budget or options.wishes.keep_free is not None:
        report.pruned = _pruned(instance, options, wishes, report, (progress, now))
        if report.pruned is not None and report.pruned.over:
            why = (
                "what is kept does not fit in. Shorten terms (prune --keep WHAT=TERM), or make room otherwise"
                if report.pruned.stays.bytes >= report.pruned.over
                else "that is more than all that is kept. Something else fills it: see usage"
            )
            report.warnings.append(f"{_size(report.pruned.over)} more would have to go: {why}.")
    if options.apply and report.pruned is None and (why := cannot(instance)):
        report.warnings.append(
            f"Past its mark nothing could go: {why.rstrip('.')}. What it takes says: mastomend doctor"
        )
    if report.pruned is not None and report.total is not None and report.free is not None:
        others = report.total - report.free - on_disk(instance, report.pruned)
        report.others = others if others > _WORTH_TELLING * report.total else None
    report.duration_s = time.monotonic() - clock
    return report


def _size(n: int) -> str:
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


def _pruned(
    instance: Instance,
    options: GuardOptions,
    wishes: Wishes,
    report: GuardReport,
    watched: tuple[Progress, Callable[[], datetime]],
) -> PruneReport | None:
    """What may go, goes. For a mark that all of it would not meet, only what Mastodon fetches again when somebody looks; and
    nothing (None) where it would be for nothing.
    """
    progress, now = watched
    wanted = PruneOptions(
        wishes.policy, keep_free=wishes.keep_free, access_logs=wishes.access_logs,
        list_concurrency=options.list_concurrency, max_missing_percent=options.max_missing_percent, resume=False,
    )  # fmt: skip
    if not wanted.chosen:
        return None
    if report.passed or wanted.keep_free is not None:
        found = prune(instance, wanted, progress, now=now)
        if wishes.keep_free is not None and options.wishes.keep_free is not None and report.free is not None:
            report.needed = max(report.needed, options.wishes.keep_free - report.free)
        if found.stops:  # what is out of sight weighs nothing: with `apply` this stops
            return prune(instance, replace(wanted, apply=True), progress, now=now) if options.apply else found
        if found.goes.bytes < report.needed:
            reasonable = _within_reason(options, wanted, found, report)
            if reasonable is None:
                return None
            wanted = reasonable
        elif not options.apply:
            return found
    return prune(instance, replace(wanted, apply=options.apply), progress, now=now)


def _within_reason(
    options: GuardOptions, wanted: PruneOptions, found: PruneReport, report: GuardReport
) -> PruneOptions | None:
    """What a budget asks for, or else what comes back by itself if that helps at all: how much is free on a disk is not up to
    what is cached alone, whoever asks for it.
    """
    too_little = "All that is cached and not kept is not enough for that mark"
    asked = options.wishes
    if asked.policy.budget is not None:
        report.warnings.append(f"{too_little}: what the budget asks for goes, and no more.")
        return replace(wanted, policy=asked.policy, keep_free=None)
    named = {*asked.policy.ages, *asked.policy.budgets}
    if not (named or asked.policy.has_age) and found.goes.bytes < report.needed * _WORTH:
        report.warnings.append(
            f"All that may go is {_size(found.goes.bytes)}, and {_size(report.needed)} have to: nothing goes, as "
            "it would not help. Something else takes the room: see usage."
        )
        return None
    named.add("attachments")
    if not named.issuperset(found.units):
        report.warnings.append(
            f"{too_little}: avatars and headers stay, as Mastodon does not fetch them again when somebody looks."
        )
    return replace(wanted, units=tuple(unit for unit in found.units if unit in named))


def _look_at_disk(instance: Instance, options: GuardOptions, report: GuardReport, now: datetime) -> int | None:
    """How much is to be free on it where it is fuller than its mark; None where it is not."""
    storage = instance.configuration.storage
    assert isinstance(storage, FilesystemStorage)
    try:
        found = shutil.disk_usage(storage.root)
    except OSError as error:
        raise StorageError(
            f"The media directory {storage.root} cannot be looked at: {error.strerror}.", hint="Is the disk mounted?"
        ) from None
    refuse_empty_folder(instance, storage)
    total = found.used + found.free  # as `df` has it: what is reserved for root is nobody's
    report.total, report.free = total, found.free
    forecast(instance, report, found.used, now)
    marks = options.marks
    if report.full_on is not None and report.full_on <= (now + timedelta(days=marks.warn_days)).date():
        report.warnings.append(f"If it goes on like that, the disk is full on {report.full_on}.")
    used = report.used_percent
    if used is None or used <= marks.disk_percent:
        return None
    report.passed.append(f"The disk is {used:.0f} % full, and the mark is {marks.disk_percent:g} %.")
    report.needed = round(total * (100 - marks.disk_percent) / 100) - found.free
    return round(total * (100 - max(marks.disk_percent - MARGIN, 0)) / 100)


def _look_at_mastodon(instance: Instance, wishes: Wishes, report: GuardReport) -> None:
    """Whether Mastodon's own settings fight what is kept, or do nothing."""
    with MastodonDatabase(instance.configuration.database, "mastomend guard") as database:
        retention = read_retention(database)
        overdue = read_overdue(database, retention)
    keeps = any(term >= FOREVER or term > 0 for term in wishes.policy.keep.values())
    said: Sequence[str | None] = (*fights(retention, keeps=keeps), looks_dead(retention, overdue))
    report.warnings += [one for one in said if one is not None]
