"""What `guard` sees of a disk: whether it is there at all, and how fast it fills, by what earlier looks saw."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from mastomend.commands.guard_report import GuardReport
from mastomend.commands.instance import Instance
from mastomend.commands.prune_report import PruneReport
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_some_ids
from mastomend.errors import SafetyStop
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.state_files import private_folder, replace_text
from mastomend.storage.build import build as build_store

_SEEN = "guard.json"
#: Files a record of a unit has, where it is more than one: the picture and its small copy.
_FILES = {"attachments": 2}
#: Growth is told from so long a time on; looks older than the last are forgotten.
_SOONEST, _OLDEST = timedelta(hours=20), timedelta(days=30)


def refuse_empty_folder(instance: Instance, storage: FilesystemStorage) -> None:
    """A media directory that holds nothing while rows name files is not mounted: the disk that is full is another one.

    Raises:
        SafetyStop: it is so.
    """
    store = build_store(storage)
    try:
        if store.probe():
            return
    finally:
        store.close()
    with MastodonDatabase(instance.configuration.database, "mastomend guard") as database:
        if any(read_some_ids(database, kind, 1) for kind in kinds_of(database)):
            raise SafetyStop(
                f"{storage.root} is empty, and records name files in it. Nothing was changed.",
                hint="Is its disk mounted (`findmnt`, `mount -a`)?",
            )


def forecast(instance: Instance, report: GuardReport, used: int, now: datetime) -> None:
    """From what earlier looks saw of the same disk; this one is added to them."""
    path = instance.state / _SEEN
    looks = [(at, bytes_) for at, bytes_ in _seen(path, str(instance.configuration.storage)) if now - at <= _OLDEST]
    old = [look for look in looks if now - look[0] >= _SOONEST]
    if old and report.free is not None:
        at, then = min(old)
        report.bytes_per_day = (used - then) / ((now - at) / timedelta(days=1))
        if report.bytes_per_day > 0 and (days := report.free / report.bytes_per_day) < 3650:
            report.full_on = (now + timedelta(days=days)).date()
    kept = [[at.isoformat(), bytes_] for at, bytes_ in [*looks, (now, used)]]
    try:
        private_folder(instance.state)
        replace_text(path, json.dumps({"storage": str(instance.configuration.storage), "looks": kept}), 0o600)
    except OSError as error:  # a full disk is what it is here for
        path.with_name(f"{path.name}.tmp").unlink(missing_ok=True)
        report.warnings.append(f"What was seen cannot be kept in {instance.state}: {error.strerror}.")


def _seen(path: Path, storage: str) -> list[tuple[datetime, int]]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["storage"] != storage:
            return []
        return [(datetime.fromisoformat(at), int(used)) for at, used in kept["looks"]]
    except (OSError, ValueError, KeyError, TypeError):  # there is none yet, or it is not ours
        return []


def on_disk(instance: Instance, pruned: PruneReport) -> int:
    """About so many bytes of the disk the cached files take: the last block of each is half empty."""
    storage = instance.configuration.storage
    assert isinstance(storage, FilesystemStorage)
    files = sum(whole.records * _FILES.get(unit, 1) for unit, (whole, _, _) in pruned.by_unit.items())
    return pruned.cached.bytes + files * os.statvfs(storage.root).f_frsize // 2
