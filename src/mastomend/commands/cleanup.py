"""`cleanup`: what earlier scans and runs have left behind, once it is old: the quarantine, scans, reports.

The quarantine is in the instance's storage: it is purged by a journaled run, and that nothing takes back. Scans and reports
are Mastomend's own files. The journal itself stays: `history` shows all there ever was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from mastomend.actions.actions import MEDIA, Delete
from mastomend.actions.perform import missed_by_a_record, missed_of
from mastomend.actions.plan import Plan
from mastomend.actions.quarantine import quarantine_prefix, quarantined_by
from mastomend.actions.run import BATCH, Ground, preview, run
from mastomend.actions.trouble import trouble
from mastomend.commands.instance import Instance
from mastomend.commands.moves import directories_before
from mastomend.commands.parts import Parts, changing_parts, ground
from mastomend.errors import JournalError
from mastomend.ids import moment_of, new_id
from mastomend.inventory.workspace import is_under_way
from mastomend.outcomes import Purged
from mastomend.plans.cleanup import Kept, no_longer_needed, purge
from mastomend.progress import Progress, Silent
from mastomend.storage.ports import held
from mastomend.vocabulary import Done, ObjectAt


@dataclass(slots=True)
class CleanupReport:
    """The result, or with `applied` False what it would be. `scans` and `runs` count folders, `archives` those of
    them that hold deleted posts; `left` says what stayed; `missed` of the files that would go an undo took
    away, and a record misses them.
    """

    run: str
    applied: bool
    files: int = 0
    bytes: int = 0
    scans: int = 0
    runs: int = 0
    archives: int = 0
    kept: Kept = field(default_factory=Kept)
    missed: int = 0
    left: list[str] = field(default_factory=list)

    def count(self, done: Done) -> None:
        """Add one file of the quarantine."""
        if isinstance(done.verdict, Purged):
            self.files += done.verdict.files
            self.bytes += done.verdict.bytes
        else:
            self.left.append(f"{done.subject}: {done.verdict.detail}")


def cleanup(
    instance: Instance,
    older_than: timedelta,
    *,
    apply: bool,
    progress: Progress = Silent(),
    now: datetime | None = None,
) -> CleanupReport:
    """Remove what is older than that, or say what would be removed.

    Raises:
        SafetyStop: another changing run is under way.
    """
    before = (now or datetime.now(UTC)) - older_than
    report = CleanupReport(new_id(datetime.now(UTC)), apply)
    report.scans = _remove(_old(instance.state / "scans", before), report)  # first: the journal may lack the room
    with ExitStack() as stack:
        try:
            here = stack.enter_context(ground(instance, report.run, progress.note))
        except JournalError as error:
            if apply and report.scans:
                error.message += f" {report.scans:,} old scans were removed before."
                error.hint = f"There may be room now: the same command once more. {error.hint}"
            raise
        progress.start("quarantine", 0)
        if apply:
            current = stack.enter_context(run(here, "cleanup", "all", report.run))
            parts = stack.enter_context(changing_parts(instance))
            current.begin(parts.world(), resumed_within_s=0.0)
            results = current.execute(_plans(instance, parts, here, before, report.kept))
        else:
            parts = stack.enter_context(changing_parts(instance))
            results = _foreseen(instance, parts, _plans(instance, parts, here, before, report.kept), report)
        purged = set()
        for done in results:
            report.count(done)
            progress.advance(1)
            if isinstance(done.verdict, Purged) and isinstance(done.subject, ObjectAt):
                purged.add(
                    quarantined_by(done.subject.key, instance.key_prefix) or quarantined_by(done.subject.key, "")
                )
        old = _old(instance.state / "runs", before)
        report.archives = sum(any(folder.glob("statuses-*.parquet*")) for folder in old)
        report.runs = _remove(old, report)
        if apply:
            current.summary = {
                "purged": report.files, "bytes": report.bytes, "of": sorted(filter(None, purged)),
                "reports": report.scans + report.runs,
            }  # fmt: skip
    return report


def _foreseen(instance: Instance, parts: Parts, plans: Iterator[Plan], report: CleanupReport) -> Iterator[Done]:
    """What `apply` would do: it asks of each file in Mastodon's storage whether a record misses it, and so does this."""
    world = parts.world()
    while some := list(islice(plans, BATCH)):
        deletes = {one.key: one for plan in some for one in plan.actions if isinstance(one, Delete)}
        waiting = [key for key in deletes if key.startswith(quarantine_prefix(instance.key_prefix))]
        missed = missed_of(world, waiting, instance.key_prefix)
        report.missed += sum(deletes[key].even_if_missed for key in missed)
        for plan in some:
            staying = [one.key for one in plan.actions if isinstance(one, Delete) and not one.even_if_missed]
            why = next((missed[key] for key in staying if key in missed), None)
            if why is None:
                yield from preview([plan])
            else:
                yield Done(plan.subject, trouble(missed_by_a_record(why)))


def _plans(instance: Instance, parts: Parts, here: Ground, before: datetime, kept: Kept) -> Iterator[Plan]:
    runs = here.journal.runs()
    old = no_longer_needed([(one.id, one.undoes, one.finished_at) for one in runs], before)
    undos = {one.id for one in runs if one.undoes}
    for place, key_prefix in [(MEDIA, instance.key_prefix), *((place, "") for place in directories_before(instance))]:
        if place not in parts.places:
            continue
        listed = parts.places[place].list(quarantine_prefix(key_prefix))
        objects = ((one.key, one.size) for some in listed for one in held(some))
        yield from purge(objects, old, {one.id for one in runs}, kept, key_prefix, undos, place)


def _old(folder: Path, before: datetime) -> list[Path]:
    """Scans or reports of runs that began before that, but for what is under way."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    moments = ((path, moment_of(path.name)) for path in found if path.is_dir() and not path.is_symlink())
    return sorted(path for path, moment in moments if moment and moment < before and not is_under_way(path))


def _remove(folders: list[Path], report: CleanupReport) -> int:
    """How many of them are removed, or would be."""
    removed = 0
    for folder in folders:
        try:
            if report.applied:
                shutil.rmtree(folder)
            removed += 1
        except OSError as error:
            report.left.append(f"{folder}: {error.strerror or error}")
    return removed
