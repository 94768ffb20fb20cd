"""The storage's part of `doctor`: what may be done there, what is told, and how much room there is."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from mastomend.commands.doctor_public import ABSENT, some_works
from mastomend.commands.doctor_report import DoctorReport, told
from mastomend.commands.instance import Instance
from mastomend.commands.public import current
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of
from mastomend.errors import MastomendError, ObjectError
from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.keys import CACHE, Key, below
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage
from mastomend.storage.abilities import try_out
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import MISSING, UNREADABLE, Clock, Mounts, Store

_SKEWED_S = 300.0
#: So many folders are named that are closed.
_NAMED = 3


def look_at_storage(
    instance: Instance,
    database: MastodonDatabase | None,
    report: DoctorReport,
    now: Callable[[], datetime],
    *,
    write_test: bool,
) -> Store | None:
    """The storage, if it answers; close it."""
    storage = instance.configuration.storage
    if isinstance(storage, S3Storage):
        _look_at_address(storage, instance, report)
    store = build_store(storage)
    try:
        holds_anything = store.probe()
    except MastomendError as error:
        report.troubled("storage", "connection", error)
        store.close()
        return None
    if holds_anything:
        report.good("storage", "listing", f"{storage} answers, and may be listed")
    else:
        report.bad("storage", "listing", f"{storage} is empty", "Is it the right one, and is it mounted?")
    if isinstance(store, Clock) and abs(store.behind_s()) > _SKEWED_S:
        report.bad(
            "storage", "clock", f"it differs by {abs(store.behind_s()):.0f} s from this machine's", "Set it by NTP."
        )
    with told(report, "storage", "reading"):
        _look_at_reading(instance, database, store, report)
    if isinstance(storage, FilesystemStorage):
        _look_at_disk(instance, storage, store, report, now)
    if write_test:
        with told(report, "storage", "writing"):
            for one in try_out(store, storage.key_prefix).abilities:
                if one.works:
                    report.good("storage", one.name, one.said)
                elif one.works is None:
                    report.unknown("storage", one.name, one.said, one.advice)
                elif one.is_needed:
                    report.bad("storage", one.name, one.said, one.advice)
                else:
                    report.advised("storage", one.name, one.said, one.advice)
    elif not isinstance(storage, FilesystemStorage):
        report.unknown("storage", "writing", "writing, deleting and permissions were not tried", "doctor --write-test")
    return store


def _look_at_address(storage: S3Storage, instance: Instance, report: DoctorReport) -> None:
    address = bucket_address(storage)
    style = "in the host's name" if address.host.startswith(f"{storage.bucket}.") else "in the path"
    if storage.endpoint is not None:
        parts = urlsplit(storage.endpoint)
        named = (parts.hostname or "").startswith(f"{storage.bucket}.") or parts.path.strip("/") == storage.bucket
        if named:
            report.bad(
                "storage", "address", f"S3_ENDPOINT already has the bucket in it: {address.url()} is asked",
                f"Set S3_ENDPOINT to {parts.scheme}://{parts.netloc.removeprefix(f'{storage.bucket}.')}.",
            )  # fmt: skip
            return
    report.good("storage", "address", f"{address.url()} (the bucket is {style})")
    if instance.variables.get("S3_PERMISSION") == "":
        report.good("storage", "S3_PERMISSION", "empty: no permission is sent with what is written")
    if storage.endpoint is not None and "amazonaws.com" not in storage.endpoint:
        checksums = instance.variables.get("AWS_REQUEST_CHECKSUM_CALCULATION", "")
        if checksums != "when_required":
            report.advised(
                "storage", "checksums", "Mastodon 4.6 and newer send checksums that some providers refuse",
                "If uploads fail there, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required for Mastodon.",
            )  # fmt: skip


def _look_at_reading(instance: Instance, database: MastodonDatabase | None, store: Store, report: DoctorReport) -> None:
    absent = Key(f"{below(instance.key_prefix)}{ABSENT}")
    (size,) = store.sizes([absent])
    if size == UNREADABLE:
        report.bad(
            "storage", "what is not there", f"it is refused, not missing: {store.obstacle(absent)}",
            "Grant ListBucket: without it nobody can tell a missing file from a forbidden one.",
        )  # fmt: skip
    else:
        report.good("storage", "what is not there", "it says so (404)")
    if database is None:
        return
    files = [file for _, _, file, _ in current(database, some_works(database), instance.key_prefix)]
    sizes = store.sizes([file.key for file in files])
    there = [file for file, size in zip(files, sizes, strict=True) if size >= 0]
    if not files:
        report.unknown("storage", "reading", "no record names a file yet")
        return
    if not there:
        hidden = sum(size == UNREADABLE for size in sizes)
        why = f"{hidden} may not be looked at" if hidden else "none of them is there"
        report.bad("storage", "reading", f"of {len(files)} files of records {why}", "See mastomend check.")
        return
    try:
        store.digest(there[0].key)
        missing = sum(size == MISSING for size in sizes)
        rest = f", {missing} of {len(files)} are missing: see mastomend check" if missing else ""
        if closed := _closed(instance, database):
            said = f"this user may not look into {' and '.join(map(str, closed[:_NAMED]))}"
            report.bad("storage", "reading", said, f"As their owner: chmod o+rx {closed[0]}. Or run as their owner.")
        else:
            report.good("storage", "reading", f"files can be read{rest}")
    except ObjectError as error:
        report.bad("storage", "reading", error.message, "Grant GetObject, or read rights.")


def _closed(instance: Instance, database: MastodonDatabase) -> list[Path]:
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


def _look_at_disk(
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
