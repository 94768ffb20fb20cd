"""What `doctor` sees of media on a disk: whether folders can be entered, and written, and how full it is."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from mastomend.commands.doctor_report import DoctorReport
from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of
from mastomend.mastodon.keys import CACHE, below
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.storage.ports import Mounts, Store


def closed_folders(instance: Instance, database: MastodonDatabase) -> list[Path]:
    """Folders of kinds on a disk which this user may not look into."""
    storage = instance.configuration.storage
    if not isinstance(storage, FilesystemStorage):
        return []
    base = Path(storage.root, below(instance.key_prefix))
    folders: dict[Path, None] = {}
    for kind in kinds_of(database):
        for tree in (base, base / CACHE.rstrip("/")):
            folders |= dict.fromkeys((tree, tree / kind.table, tree / kind.name))
    return [folder for folder in folders if os.access(folder, os.F_OK) and not os.access(folder, os.R_OK | os.X_OK)]


def look_at_disk(
    instance: Instance, storage: FilesystemStorage, store: Store, report: DoctorReport, now: Callable[[], datetime]
) -> None:
    root = Path(storage.root)
    used = shutil.disk_usage(root)
    percent = 100 * used.used / max(used.used + used.free, 1)
    said = f"{used.free / 1e9:.1f} GB free, {percent:.0f} % used"
    full = _full_on(instance, used.free, now())
    if percent > 90 or (full is not None and full < 14):
        report.bad(
            "storage", "room", f"{said}{'' if full is None else f'; full in {full:.0f} days'}", "mastomend prune"
        )
    else:
        report.good("storage", "room", said if full is None or full > 3650 else f"{said}; full in {full:.0f} days")
    if isinstance(store, Mounts) and (why := store.unwritable("")):
        if os.geteuid() == root.stat().st_uid:
            report.bad("storage", "writing", why, "ls -ld tells who may.")
        else:  # who only checks needs no more
            report.advised("storage", "writing", f"{why}: enough to check, not to repair")
        return
    status = root.stat()
    owner = _name(status.st_uid)
    if os.geteuid() not in (0, status.st_uid):
        report.advised(
            "storage", "owner", f"{root} belongs to {owner}, not to this user", f"sudo -u {owner} mastomend …"
        )
    elif not status.st_mode & stat.S_IXOTH:
        report.advised(
            "storage",
            "mode",
            f"others may not enter {root}: a web server of another user serves nothing",
            f"chmod o+x {root}",
        )
    else:
        report.good("storage", "owner", f"{root} belongs to {owner}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _full_on(instance: Instance, free: int, now: datetime) -> float | None:
    """In how many days, by what `guard` saw of that disk; None: nobody knows, or it does not fill."""
    try:
        kept = json.loads((instance.state / "guard.json").read_text(encoding="utf-8"))
        looks = [(datetime.fromisoformat(at), int(used)) for at, used in kept["looks"]]
        (first, then), (last, used) = looks[0], looks[-1]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    days = (last - first).total_seconds() / 86_400
    rate = (used - then) / days if days > 0.8 else 0
    return free / rate if rate > 0 and (now - last).days < 7 else None
