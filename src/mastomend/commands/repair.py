"""`repair`: restore what is broken, record by record, from the kindest source that has it.

A run is a fresh check, then every broken record on its way through its sources (`restore.chain`), politely
(`restore.desk`), each change journaled. A run that was cut off is gone on with.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.actions.run import Run, run
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.handing_out import handed_out
from mastomend.commands.instance import Instance
from mastomend.commands.losses import refuse
from mastomend.commands.names import who
from mastomend.commands.parts import changing_parts, ground
from mastomend.commands.past import kept_findings, kept_ledger, refuse_empty
from mastomend.commands.repair_report import (
    NO_REDIS,
    OUTCOMES,
    RepairOptions,
    RepairReport,
    intended,
    memory_for_records,
    take_up,
)
from mastomend.commands.restoration import client_of, resting, restoration
from mastomend.errors import ConfigurationError
from mastomend.ids import new_id
from mastomend.inventory.work_list import WorkList, work_list
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind
from mastomend.mastodon.selection import EVERYTHING
from mastomend.outcomes import Outcome, OutcomeRow
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.remote.client import GuardedClient
from mastomend.restore.case import Broken
from mastomend.restore.closing import Closing, forget_whole
from mastomend.restore.desk import Desk, workers_for
from mastomend.restore.driving import drive
from mastomend.vocabulary import Done


def repair(
    instance: Instance,
    options: RepairOptions = RepairOptions(),
    progress: Progress = Silent(),
    client: GuardedClient | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RepairReport:
    """Repair the instance, or say what would be done.

    Raises:
        SafetyStop: mass loss, or another changing run holds the lock.
        ConfigurationError, DatabaseError, StorageError, JournalError: the run stopped; running it again goes on.
    """
    clock = time.monotonic()
    if not options.apply:
        report = _dry_run(instance, options, progress, now)
    else:
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "repair", options.scope, new) as current:
            report = _apply(instance, options, progress, here.journal, current, client, now)
    report.duration_s = time.monotonic() - clock
    return report


def _dry_run(
    instance: Instance, options: RepairOptions, progress: Progress, now: Callable[[], datetime]
) -> RepairReport:
    budget = memory_for_records(instance.settings.memory_bytes) // 2  # list and report are there together
    with contextlib.ExitStack() as stack:  # what would keep it from working is said before hours of looking
        ledger = stack.enter_context(kept_ledger(instance))
        parts = stack.enter_context(changing_parts(instance))
        rests = resting(options, ledger, now)
        work = stack.enter_context(restoration(instance, options, parts, None, progress, rests))
        scan, findings, mass_loss = _findings(instance, options, progress)
        report = RepairReport(new_id(datetime.now(UTC)), False, scan, mass_loss=mass_loss, barred=work.barred)
        report.report = instance.state / "runs" / report.run / "outcomes.parquet"
        kinds = [kind.name for kind in work.kinds]
        records = stack.enter_context(work_list(report.report.parent, budget, findings, kinds))
        take_up(records, options, ledger, report, now(), decided=0)

        def rows() -> Iterator[OutcomeRow]:
            for batch in _batches(records, work.kinds):
                for item in work.chain.look(batch):
                    if (row := intended(item, work.chain)) is not None:
                        report.count(row)
                        yield row
            for plan in handed_out(findings, parts, kinds, options.public):
                row = replace(Done(plan.subject, plan.verdict).row(), outcome=None)
                report.count(row)
                yield row

        OUTCOMES.write(report.report, rows(), budget)
        report.resting = work.chain.rested
    return report


def _apply(
    instance: Instance,
    options: RepairOptions,
    progress: Progress,
    journal: Journal,
    current: Run,
    client: GuardedClient | None,
    now: Callable[[], datetime],
) -> RepairReport:
    ledger = Ledger(journal, instance.settings.deferral)
    closing = Closing(current, ledger, now, progress.advance)
    rests = resting(options, ledger, now)
    with changing_parts(instance) as parts, restoration(instance, options, parts, closing, progress, rests) as work:
        # also a run that goes on is checked first: what was true when it was cut off need not be true now
        scan, findings, _ = _findings(instance, options, progress)
        current.begin(parts.world(), scan=scan)
        if current.resumed:
            progress.note(f"Going on with run {current.id}, which was cut off.")
        report = RepairReport(current.id, True, scan, resumed=current.resumed, recovered=current.settled)
        report.report = instance.state / "runs" / report.run / "outcomes.parquet"
        budget = memory_for_records(instance.settings.memory_bytes)
        with work_list(report.report.parent, budget, findings, [kind.name for kind in work.kinds]) as records:
            if options.scan is None and options.selection == EVERYTHING:  # of the others nothing was looked at
                forget_whole(records, ledger, parts.database)
            number = len(records)
            records.leave_out(journal.decided(report.run))
            take_up(records, options, ledger, report, now(), decided=number - len(records))
            progress.start("repair", len(records))
            own = client or client_of(instance, parts.database, progress)
            desk = Desk(own, instance.settings.politeness, workers_for(parts.store))
            if work.mastodon is not None:
                closing.take_up(
                    done for done in journal.outcomes(report.run) if done.verdict.reason is Reason.HANDED_OVER
                )
            ways = (work.chain.ways(batch, closing) for batch in _batches(records, work.kinds))
            drive(desk, instance.settings.politeness.rate, ways, progress)
            if work.mastodon is not None:
                work.mastodon.watch()
            report.resting = work.chain.rested
            for _ in current.execute(handed_out(findings, parts, [kind.name for kind in work.kinds], options.public)):
                progress.advance(1)
        for done in journal.outcomes(report.run):
            report.count(done.row())
        if report.outcomes[Outcome.REFRESHED] and not work.caches_answer:
            progress.note(NO_REDIS)
        report.names = who(parts.database, report.own)
        OUTCOMES.write(report.report, (done.row() for done in journal.outcomes(report.run)), budget)
    current.summary = {
        "outcomes": {o.value: n for o, n in report.outcomes.items()},
        "bytes": report.bytes,
        "reversible": report.reversible,
    }
    return report


def _findings(instance: Instance, options: RepairOptions, progress: Progress) -> tuple[str, Path, list[str]]:
    """The findings to work on: an earlier scan's, or those of a check made now; and why with `--apply` this would stop.

    With an earlier scan, too, all is looked at now: what is said of `--apply` shall be what it does.

    Raises:
        SafetyStop: the check looks like mass loss.
    """
    if options.scan is not None:
        if options.selection != EVERYTHING:
            hint = "Leave out --scan, or what selects records."
            raise ConfigurationError("--scan takes the findings of that check as they are.", hint=hint)
        scan, path = kept_findings(instance, options.scan)
    report = check(instance, _check_options(options), progress)
    if options.apply:
        refuse(report.mass_loss)
    if options.scan is not None:
        refuse_empty(scan, path, report.broken, instance.settings.memory_bytes // 4)
        return scan, path, report.mass_loss
    return report.scan, report.findings, report.mass_loss


def _check_options(options: RepairOptions) -> CheckOptions:
    """What is about to be changed is looked at now: what an older check saw is no safety."""
    return CheckOptions(
        kinds=options.kinds,
        but_kinds=options.but_kinds,
        selection=options.selection,
        max_missing_percent=options.max_missing_percent,
        resume=False,
        command="repair",
        public=options.public,
    )


def _batches(records: WorkList, kinds: Sequence[Kind]) -> Iterator[list[Broken]]:
    for batch in records.batches([kind.name for kind in kinds]):
        yield [Broken(KIND_BY_NAME[kind], record_id, corrupt) for kind, record_id, corrupt in batch]
