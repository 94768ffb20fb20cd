"""`doctor`: one page of what works and what does not, each red line with what to do. It never writes, except one set of probe
objects with `write_test`, which it removes again. One thing that fails does not keep the others from being looked at.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from mastomend.commands.doctor_jobs import look_at_redis
from mastomend.commands.doctor_public import look_at_public
from mastomend.commands.doctor_report import DoctorReport, told
from mastomend.commands.doctor_storage import look_at_storage
from mastomend.commands.instance import Instance
from mastomend.commands.names import naming_needs
from mastomend.commands.prune_rights import emptied_columns
from mastomend.database.posts import barred_from_posts
from mastomend.database.reader import MastodonDatabase
from mastomend.database.retention import read_overdue, read_retention
from mastomend.database.rows import barred_from, changes_anything, kinds_of, read_clock, require_to_repair, unchangeable
from mastomend.errors import DatabaseError, MastomendError
from mastomend.images.ffmpeg_paths import find_ffmpeg, find_ffprobe
from mastomend.inventory.cached import UNITS, require
from mastomend.mastodon.kinds import Kind
from mastomend.mastodon.retention import fights, looks_dead
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.progress import Progress, Silent

#: Seconds clocks may differ before it is worth a word.
_SKEWED_S = 60.0
_LITTLE = 500_000_000
_NEEDED_BY = {"prune": "prune and guard need", "usage": "usage and show need"}


def doctor(
    instance: Instance,
    *,
    write_test: bool = False,
    progress: Progress = Silent(),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> DoctorReport:
    """Look at everything."""
    clock = time.monotonic()
    report = DoctorReport(instance.configuration.local_domain)
    _look_at_settings(instance, report)
    progress.start("database", 0)
    stack = ExitStack()
    database = _look_at_database(instance, report, now, stack)
    try:
        progress.start("storage", 0)
        store = look_at_storage(instance, database, report, now, write_test=write_test)
        if database is not None:
            if store is not None:
                progress.start("as the public sees it", 0)
                with told(report, "public", "a file"):
                    look_at_public(instance, database, store, report)
            progress.start("retention", 0)
            try:
                _look_at_retention(database, report)
            except MastomendError as error:  # guard alone needs it
                report.advised("retention", "Mastodon's settings", error.message, error.hint, error.statements)
        if store is not None:
            store.close()
        progress.start("Redis", 0)
        look_at_redis(instance, database, report, now)
    finally:
        stack.close()
    _look_at_machine(instance, report)
    report.duration_s = time.monotonic() - clock
    return report


def _look_at_settings(instance: Instance, report: DoctorReport) -> None:
    if instance.env is None:
        report.good("settings", "variables", "taken from this process's environment; there is no file")
        return
    mode = instance.env.stat().st_mode if instance.env.exists() else 0
    if mode & stat.S_IROTH:
        said = f"{instance.env} holds passwords, and everybody here may read it"
        report.advised("settings", "file", said, f"chmod o= {instance.env}")
    else:
        report.good("settings", "file", str(instance.env))


def _look_at_database(
    instance: Instance, report: DoctorReport, now: Callable[[], datetime], stack: ExitStack
) -> MastodonDatabase | None:
    settings = instance.configuration.database
    try:
        timeout_s = instance.settings.statement_timeout_s
        database = stack.enter_context(MastodonDatabase(settings, "mastomend doctor", timeout_s=timeout_s))
    except MastomendError as error:
        report.troubled("database", "connection", error)
        return None
    version = database.version
    said = f"Mastodon {version.name}, schema {version.schema}"
    if version.note:
        report.advised("database", "version", f"{said} ({version.note})")
    else:
        report.good("database", "version", said)
    kinds = kinds_of(database)
    limited = instance.configuration.limits.limited_federation
    rights: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("check", "read what check reads", lambda: database.require(must_see(kinds))),
        ("usage", "read what usage and show read besides", lambda: _require_described(database, kinds)),
        ("repair", "read what repair reads", lambda: require_to_repair(database, kinds, limited=limited)),
        ("repair --apply", "change what repair changes", lambda: _raised(unchangeable(database, kinds))),
        ("prune", "read who cares for what", lambda: require(database, tuple(UNITS))),
        ("guard", "read Mastodon's own retention", lambda: read_retention(database)),
        ("prune --apply", "change what prune changes", lambda: _raised(barred_from(database, emptied_columns()))),
    )
    is_reader = not changes_anything(database, kinds)  # a role that only checks is a way to work, no trouble
    for name, what, need in rights:
        try:
            need()
            report.good("database", f"rights of {name}", f"this user may {what}")
        except MastomendError as error:
            is_wanted = name == "check" or (name.startswith("repair") and not is_reader)
            if is_wanted or not error.statements:
                report.troubled("database", f"rights of {name}", error)
            else:
                whose = _NEEDED_BY.get(name.removesuffix(" --apply"), f"{name.removesuffix(' --apply')} needs")
                said = f"{error.message} Only {whose} that."
                report.advised("database", f"rights of {name}", said, error.hint, error.statements)
    if (barred := barred_from_posts(database)) is None:
        report.good("database", "rights of prune --statuses", "this user may delete posts, and bring them back")
    else:
        said = f"{barred.message} Only prune --statuses needs that; asked for, it prints the GRANTs."
        report.advised("database", "rights of prune --statuses", said)
    ahead = read_clock(database) - now().timestamp()
    if abs(ahead) > _SKEWED_S:
        report.bad(
            "database", "clock", f"it is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}", "Set both by NTP."
        )
    if instance.configuration.replica is not None:
        with told(report, "database", "replica"), MastodonDatabase(instance.configuration.replica, "mastomend doctor"):
            report.good("database", "replica", "it answers")
    return database


def _require_described(database: MastodonDatabase, kinds: Sequence[Kind]) -> None:
    needs = naming_needs()
    for table, columns in must_see(kinds, described=True).items():
        needs.setdefault(table, set()).update(columns)
    database.require(needs)


def _raised(error: DatabaseError | None) -> None:
    if error is not None:
        raise error


def _look_at_retention(database: MastodonDatabase, report: DoctorReport) -> None:
    retention = read_retention(database)
    said = [*fights(retention, keeps=True), *filter(None, [looks_dead(retention, read_overdue(database, retention))])]
    for one in said:
        report.advised("retention", "Mastodon's settings", one)
    if not said:
        days = f"{retention.media} days for media" if retention.media else "off"
        report.good("retention", "Mastodon's settings", days)


def _look_at_machine(instance: Instance, report: DoctorReport) -> None:
    ffmpeg, ffprobe = find_ffmpeg(instance.variables), find_ffprobe(instance.variables)
    if ffmpeg and ffprobe:
        report.good("machine", "ffmpeg", str(ffmpeg))
    else:
        report.advised(
            "machine", "ffmpeg", "it was not found: films and sounds cannot be made anew", "apt install ffmpeg"
        )
    state = instance.state
    there = next((path for path in (state, *state.parents) if path.is_dir()), None)
    storage = instance.configuration.storage
    if isinstance(storage, FilesystemStorage) and state.is_relative_to(storage.root):
        said = f"{state} is in the folder the web server shows, on the disk of the media"
        report.advised("machine", "state directory", said, "Move it away, and name its new place with --state DIR.")
    if there is None or not os.access(there, os.W_OK):
        report.bad(
            "machine", "state directory", f"this user may not write {state}", "Name another one with --state DIR."
        )
        return
    status = there.stat()
    if there == state and status.st_mode & 0o077:
        report.advised("machine", "state directory", f"others may look into {state}", f"chmod 700 {state}")
    elif there == state and os.geteuid() not in (0, status.st_uid):
        report.advised(
            "machine", "state directory", f"{state} belongs to another user", "Run all commands as one user."
        )
    else:
        report.good("machine", "state directory", str(state))
    free = shutil.disk_usage(there).free
    if free < _LITTLE:
        report.bad("machine", "room", f"{free / 1e6:.0f} MB free where {state} is", "Free some, or use --state DIR.")
