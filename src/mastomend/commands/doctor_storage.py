"""The storage's part of `doctor`: what may be done there, what is told, and how much room there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from mastomend.commands.doctor_disk import closed_folders, look_at_disk
from mastomend.commands.doctor_public import ABSENT, some_works
from mastomend.commands.doctor_report import DoctorReport, told
from mastomend.commands.instance import Instance
from mastomend.commands.public import current
from mastomend.database.reader import MastodonDatabase
from mastomend.errors import MastomendError, ObjectError
from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.keys import Key, below
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage
from mastomend.storage.abilities import try_out
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import MISSING, UNREADABLE, Clock, Store

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
        look_at_disk(instance, storage, store, report, now)
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
        if closed := closed_folders(instance, database):
            said = f"this user may not look into {' and '.join(map(str, closed[:_NAMED]))}"
            report.bad("storage", "reading", said, f"As their owner: chmod o+rx {closed[0]}. Or run as their owner.")
        else:
            report.good("storage", "reading", f"files can be read{rest}")
    except ObjectError as error:
        report.bad("storage", "reading", error.message, "Grant GetObject, or read rights.")
