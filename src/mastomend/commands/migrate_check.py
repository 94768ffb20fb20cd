"""Proving a move: everything is there with its size; a part of it, or all, holds the same bytes and reaches the public."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mastomend.commands.instance import Instance
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport
from mastomend.commands.migration import Compared, Ends, shown_by
from mastomend.commands.public import Window, current
from mastomend.database.reader import MastodonDatabase
from mastomend.errors import ObjectError
from mastomend.inventory import crossing
from mastomend.inventory.crossing import batches
from mastomend.mastodon.keys import Key, below
from mastomend.plans.public import Cause
from mastomend.progress import Progress
from mastomend.storage.ports import Store

#: So many files are read on both sides, and looked at from outside, where no share is named.
_READ, _SEEN = 200, 100
_THREADS = 16


def prove(
    instance: Instance, both: Ends, options: MigrateOptions, found: Compared, report: MigrateReport, progress: Progress
) -> None:
    """Fill in what was verified.

    Raises:
        StorageError, DatabaseError: it cannot be looked at.
    """
    sides = found.all
    report.verified = sides.alike.files + (sides.only_there if both.is_switched else 0)
    if sides.unseen:
        report.uncertain.append(f"{sides.unseen:,} files may not be looked at on one side")
    folder = found.scan.folder
    work = found.scan.inventory.work
    database = found.scan.database
    prefixes = (both.source.key_prefix, both.target.storage.key_prefix)

    read = folder / "crossing.parquet"
    crossing.save_alike(work, read, *_sample(options.deep_share, sides.alike.files, _READ))
    progress.start("reading on both sides", _number(options.deep_share, sides.alike.files, _READ))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as threads:
        for works in batches(read):
            keys = [file.key for _, _, file, _ in current(database, works, prefixes[0])]
            told = threads.map(lambda key: _same(found.source, found.target, key, prefixes), keys)
            for key, why in zip(keys, told, strict=True):
                progress.advance(1)
                if why:
                    report.tell(key, why)
                elif why == "":
                    report.read_back += 1

    if both.is_switched:  # before, a copy sends it again
        _tell_differing(found, read, prefixes, report)
    crossing.save_alike(work, read, *_sample(options.public_share, report.verified, _SEEN), arrived=both.is_switched)
    progress.start("as the public sees it", _number(options.public_share, report.verified, _SEEN))
    _look(instance, both, database, read, report, progress)


def _tell_differing(found: Compared, path: Path, prefixes: tuple[str, str], report: MigrateReport) -> None:
    """What the new storage has with another size than the old one: nobody overwrites it, and somebody must look."""
    crossing.save_differing(found.scan.inventory.work, path)
    for works in batches(path):
        files = list(current(found.scan.database, works, prefixes[0]))
        here = found.source.sizes([file.key for _, _, file, _ in files])
        there = found.target.sizes(
            [below(prefixes[1]) + file.key.removeprefix(below(prefixes[0])) for _, _, file, _ in files]
        )
        for (_, _, file, _), old, new in zip(files, here, there, strict=True):
            if old >= 0 and new >= 0 and old != new:
                report.tell(file.key, f"another size than in the old storage: {new:,} bytes, {old:,} there")


def lacking(both: Ends, found: Compared) -> int:
    """How many files the target lacks and the source has, looked at once more: people go on deleting and replacing."""
    path = found.scan.folder / "crossing.parquet"
    crossing.save(found.scan.inventory.work, path, only_missing=True)
    number = 0
    here, there = below(both.source.key_prefix), below(both.target.storage.key_prefix)
    for works in batches(path):
        keys = [file.key for _, _, file, _ in current(found.scan.database, works, both.source.key_prefix)]
        held = found.source.sizes(keys)
        arrived = found.target.sizes([there + key.removeprefix(here) for key in keys])
        number += sum(size >= 0 > other for size, other in zip(held, arrived, strict=True))
    return number


def _sample(share: float | None, files: int, most: int) -> tuple[float, int | None]:
    """The share of the files that is taken, and at most how many."""
    if share is not None:
        return share, None
    return min(1.0, 3 * most / max(files, 1)), most


def _number(share: float | None, files: int, most: int) -> int:
    return min(files, most) if share is None else round(files * share)


def _same(source: Store, target: Store, key: Key, prefixes: tuple[str, str]) -> str | None:
    """Why the copy is not the same; '' where it is, None where it is gone by now on the side it comes from."""
    there = Key(below(prefixes[1]) + key.removeprefix(below(prefixes[0])))
    try:
        one, other = source.digest(key), target.digest(there)
    except ObjectError as error:
        return error.message
    if one is None:
        return None
    if one == other:
        return ""
    return "its copy is gone again" if other is None else "its copy holds other bytes"


def _look(
    instance: Instance, both: Ends, database: MastodonDatabase, path: Path, report: MigrateReport, progress: Progress
) -> None:
    """From outside, as Mastodon's settings will show it."""
    at_target, variables = shown_by(instance, both)
    unreachable = 0
    for seen in Window(at_target, variables, database).look(batches(path)):
        progress.advance(1)
        report.asked += 1
        if seen.cause in (Cause.DNS, Cause.UNREACHABLE, Cause.TLS) and not both.is_switched:
            unreachable += 1  # an address that is not set up before the switch
        elif seen.cause is None:
            report.seen += 1
        else:
            report.tell(seen.file.key, seen.said)
    if unreachable:
        report.uncertain.append(
            f"{unreachable:,} public addresses do not answer yet: set up the name that the new settings show, then verify again"
        )
