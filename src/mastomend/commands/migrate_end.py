"""The end of a move: `finish` switches Mastodon over and proves it, `rollback` goes back. Nobody's settings are edited: both
say which lines change, wait until they have, and do the rest.

The last pass copies only what the new storage lacks: from the switch on what is there is Mastodon's newest.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.actions import Place, QuarantineFile
from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.run import run
from mastomend.commands.instance import Instance
from mastomend.commands.migrate_check import lacking, prove
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport, Step
from mastomend.commands.migration import Ends, compared, ends
from mastomend.commands.parts import changing_parts, ground
from mastomend.commands.public import current as as_rows_are
from mastomend.commands.switching import not_restarted, origin_variables, tell_lines, waited
from mastomend.commands.transferring import Move, scope, transfer
from mastomend.database.reader import MastodonDatabase
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.ids import new_id
from mastomend.inventory import crossing
from mastomend.inventory.crossing import Tally, batches
from mastomend.mastodon.keys import Key, below
from mastomend.mastodon.storage_settings import FilesystemStorage
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
    move = Move(instance, options, both, progress, (sleep, now))
    report = move.begun(new_id(now()))
    tell_lines(move, report)
    if not both.is_switched or not options.apply:
        with move.compared(both.source, both.target.storage, report):
            pass
    else:
        _refuse_nothing(move)
        doubts = [] if options.restarted else not_restarted(instance, now)
        report.uncertain += doubts
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "migrate", scope(move), new) as current:
            transfer(move, current, here.journal, report, (both.source, both.target.storage), only_missing=True)
        with move.compared(both.source, both.target.storage, replace(report)) as found:
            prove(instance, both, options, found, report, progress)
            report.still_missing = lacking(both, found)
        report.blocked = options.set_aside and bool(report.wrong or report.still_missing or report.failed or doubts)
        if options.set_aside and not report.blocked:
            _set_aside(move, report)
    report.duration_s = time.monotonic() - clock
    return report


def _refuse_nothing(move: Move) -> None:
    """An old storage that shows nothing is not mounted, or the wrong one: what came in late would be left there.

    Raises:
        SafetyStop: it is so, and nobody has set its files aside.
    """
    with move.compared(move.both.source, move.both.target.storage, move.begun("")) as found:
        sides = found.all
    here = sides.alike.files + sides.to_copy.files
    if not here and sides.only_there and not _set_aside_before(move.instance, move.both):
        raise SafetyStop(
            f"{move.both.source} holds none of the {sides.only_there:,} files {move.both.target.storage} has.",
            hint="Is it mounted? Was it somewhere else: --from DIR?",
        )


def _set_aside(move: Move, report: MigrateReport) -> None:
    """Old files that the new storage has, each looked at again right before it is moved."""
    source, target = move.both.source, move.both.target.storage
    if not isinstance(source, FilesystemStorage):
        raise ConfigurationError(
            f"Only files of a disk are set aside; {source} is a bucket.", hint="Empty it yourself once all is verified."
        )
    instance, new = move.instance, new_id(datetime.now(UTC))
    sides = (instance, source, target, move.options.connections, 100.0, move.progress, move.clocks)
    with (
        ground(instance, new, move.progress.note) as here,
        run(here, "migrate", f"set aside {source}", new) as current,
        changing_parts(instance) as parts,
        compared(*sides) as found,
    ):
        path = found.scan.folder / "crossing.parquet"
        crossing.save_alike(found.scan.inventory.work, path, 1.0)
        place = Place(str(source))
        current.begin(parts.world(), scan=found.scan.begun.scan)
        move.progress.start("setting aside", found.all.alike.files)
        for done in current.execute(_aside(move, found.scan.database, path, place, current.id)):
            move.progress.advance(1)
            if isinstance(done.verdict, SetAside):
                report.quarantined += Tally(done.verdict.files, done.verdict.bytes)
        current.summary = {"quarantined": report.quarantined.files, "bytes": report.quarantined.bytes}
        report.run = current.id


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
        with move.compared(*way, report):
            pass
    else:
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "migrate", scope(move), new) as current:
            transfer(move, current, here.journal, report, way, only_missing=True)
    report.duration_s = time.monotonic() - clock
    return report


def _set_aside_before(instance: Instance, both: Ends) -> str:
    """The run that moved old files to the quarantine of their disk, if they may still wait there: an undo brings them back."""
    if not journal_path(instance.state).exists():
        return ""
    with contextlib.closing(Journal(instance.state)) as journal:
        runs = journal.runs()
    taken_back = {one.undoes for one in runs}
    scope = f"set aside {both.source}"
    found = (
        one.id for one in runs if one.scope == scope and one.summary.get("quarantined") and one.id not in taken_back
    )
    return next(found, "")
