"""The end of a move: `finish` switches Mastodon over and proves it, `rollback` goes back. Nobody's settings are edited: both
say which lines change, wait until they have, and do the rest.

The last pass copies only what the new storage lacks: from the switch on what is there is Mastodon's newest.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.actions import Place, QuarantineFile
from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.commands.instance import Instance
from mastomend.commands.migrate_check import lacking, prove
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport, Step
from mastomend.commands.migration import Compared, Ends, ends
from mastomend.commands.public import current as as_rows_are
from mastomend.commands.switching import not_restarted, origin_variables, tell_lines, waited
from mastomend.commands.transferring import Move, changing, transfer
from mastomend.database.reader import MastodonDatabase
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.ids import new_id
from mastomend.inventory import crossing
from mastomend.inventory.crossing import Sides, Tally, batches
from mastomend.mastodon.keys import Key, below
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage
from mastomend.outcomes import SetAside
from mastomend.plans.migrate import env_lines
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf

_POLL_S = 5.0


def finish(
    reopen: Callable[[], Instance],
    options: MigrateOptions,
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> MigrateReport:
    """Say what to change; once it is changed, with `apply`: the last pass, the proof, and what may be set aside.

    `reopen` reads the instance's settings anew. Raises as `migrate`.
    """
    clock = time.monotonic()
    instance = reopen()
    both = ends(instance, options.to, options.origin)
    if not both.is_switched and options.apply and options.wait_s:
        instance = waited(reopen, options, progress, sleep)
        both = ends(instance, options.to, options.origin)
    if options.set_aside and not isinstance(both.source, FilesystemStorage):
        raise ConfigurationError(
            f"Only files of a disk are set aside; {both.source} is a bucket.",
            hint="Leave --set-aside out. Empty it yourself once all is verified.",
        )
    move = Move(instance, options, both, progress, (sleep, now))
    report = move.begun(new_id(now()))
    tell_lines(move, report)
    way = (both.source, both.target.storage)
    if not both.is_switched or not options.apply:
        with move.compared(*way, report, only_missing=both.is_switched):
            pass
    else:
        with ExitStack() as stack:
            with changing(move, new_id(datetime.now(UTC)), way[1]) as (parts, current):
                report.uncertain += [] if options.restarted else not_restarted(instance, now)
                found = stack.enter_context(move.compared(*way, report, only_missing=True))
                _refuse_nothing(move, found.all)
                transfer(move, parts, current, report, found, way)
            if report.copied.files or report.failed:  # else what was compared is what there is
                stack.close()
                found = stack.enter_context(move.compared(*way, replace(report), only_missing=True))
            _prove(move, found, report)
    report.duration_s = time.monotonic() - clock
    return report


def _refuse_nothing(move: Move, sides: Sides) -> None:
    """An old storage that shows nothing is not mounted, or the wrong one: what came in late would be left there.

    Raises:
        SafetyStop: it is so, and nobody has set its files aside.
    """
    here = sides.alike.files + sides.to_copy.files + sides.differing
    if not here and sides.only_there and not _set_aside_before(move.instance, move.both):
        raise SafetyStop(
            f"{move.both.source} holds none of the {sides.only_there:,} files {move.both.target.storage} has.",
            hint="Is it mounted? Was it somewhere else: --from DIR?",
        )


def _prove(move: Move, found: Compared, report: MigrateReport) -> None:
    """Prove it, and set old files aside if all is proven and that is wanted."""
    doubts = bool(report.uncertain)
    prove(move.instance, move.both, move.options, found, report, move.progress)
    report.still_missing = lacking(move.both, found)
    wanted = move.options.set_aside
    report.blocked = wanted and bool(report.wrong or report.still_missing or report.failed or doubts)
    if wanted and not report.blocked:
        _set_aside(move, found, report)


def _set_aside(move: Move, found: Compared, report: MigrateReport) -> None:
    """Old files that the new storage has, each looked at again right before it is moved."""
    source = move.both.source
    path = found.scan.folder / "crossing.parquet"
    crossing.save_alike(found.scan.inventory.work, path, 1.0)
    with changing(move, new_id(datetime.now(UTC)), source, _aside_scope(source)) as (parts, current):
        current.begin(parts.world(), scan=found.scan.begun.scan)
        report.run = current.id
        move.progress.start("setting aside", found.all.alike.files)
        for done in current.execute(_aside(move, found.scan.database, path, Place(str(source)), current.id)):
            move.progress.advance(1)
            if isinstance(done.verdict, SetAside):
                report.quarantined += Tally(done.verdict.files, done.verdict.bytes)
        current.summary = {"quarantined": report.quarantined.files, "bytes": report.quarantined.bytes}


def _aside_scope(source: Storage) -> str:
    return f"set aside {source}"


def _aside(move: Move, database: MastodonDatabase, path: Path, place: Place, new: str) -> Iterator[Plan]:
    source, target = move.both.source.key_prefix, move.both.target.storage.key_prefix
    for works in batches(path):
        rows = as_rows_are(database, works, source)
        for (_, _), some in itertools.groupby(rows, key=lambda one: (one[0], one[1].record.id)):
            files = list(some)
            kind, row, _, _ = files[0]
            actions = tuple(
                QuarantineFile(
                    file.key, quarantine_key(new, file.key, source), place=place, size=work.size,
                    proven=Key(below(target) + file.key.removeprefix(below(source))),
                )
                for _, _, file, work in files
            )  # fmt: skip
            subject = RowOf(kind.name, row.record.id, row.record.is_local, row.domain, row.remote_url)
            size = sum(work.size for _, _, _, work in files)
            yield Plan(subject, SetAside(Reason.MOVED, files=len(files), bytes=size), actions, Rule.SET_ASIDE)


def rollback(
    instance: Instance,
    options: MigrateOptions,
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> MigrateReport:
    """Copy back what was created since, and say which lines to change back. Raises as `migrate`."""
    clock = time.monotonic()
    both = ends(instance, options.to, options.origin)
    move = Move(instance, options, both, progress, (sleep, now))
    report = move.begun(new_id(now()))
    assert options.step is Step.ROLLBACK
    before = origin_variables(instance, both, options.origin)
    report.waiting = _set_aside_before(instance, both)
    if both.is_switched:
        report.lines = env_lines(instance.variables, before)
    way = (both.target.storage, both.source)
    if not options.apply:
        with move.compared(*way, report, only_missing=True):
            pass
    else:
        with (
            changing(move, new_id(datetime.now(UTC)), way[1]) as (parts, current),
            move.compared(*way, report, only_missing=True) as found,
        ):
            transfer(move, parts, current, report, found, way)
    report.duration_s = time.monotonic() - clock
    return report


def _set_aside_before(instance: Instance, both: Ends) -> str:
    """The run that moved old files to the quarantine of their disk, if they may still wait there: an undo brings them back."""
    if not journal_path(instance.state).exists():
        return ""
    with contextlib.closing(Journal(instance.state)) as journal:
        runs = journal.runs()
        taken_back = {one.undoes for one in runs}
        some = (one for one in runs if one.scope == _aside_scope(both.source) and one.id not in taken_back)
        return next((one.id for one in some if journal.actions_done(one.id)["quarantine"]), "")
