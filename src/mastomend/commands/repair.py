"""`repair`: restore what is broken, record by record, from the kindest source that has it.

A run is a fresh check, then every broken record on its way through its sources (`restoring`), politely (`fetching`),
each change journaled. A run that was cut off is gone on with.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mastomend import __version__
from mastomend.actions.executor import Executor
from mastomend.actions.journal import Journal, Run
from mastomend.actions.ledger import Ledger
from mastomend.actions.lock import application_name, changing_run
from mastomend.commands.check import CheckOptions, CheckReport, check, choose_kinds, new_id
from mastomend.commands.fetching import Fetching, workers_for
from mastomend.commands.handing_over import HandingOver, HandOverLimits, resettable
from mastomend.commands.instance import Instance
from mastomend.commands.mending import Case, Mender, Tools
from mastomend.commands.parts import Parts, changing_parts, find_ffmpeg, named_storage
from mastomend.commands.progress import Progress, Silent
from mastomend.commands.restoring import Broken, Restorer
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.images.elsewhere import decoders
from mastomend.inventory.database import MastodonDatabase, connect, is_pooled
from mastomend.inventory.instance_actor import signer
from mastomend.inventory.rows import kinds_of, read_emptied
from mastomend.inventory.tables import save_outcomes
from mastomend.inventory.work_list import WorkList, work_list
from mastomend.mastodon.configuration import http_proxy
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind
from mastomend.outcomes import Engine, Outcome, RecordOutcome, Source
from mastomend.plans.repair import undecided
from mastomend.remote.client import GuardedClient
from mastomend.sources.copies import Backup, CopySource, Elsewhere
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store

_BATCH = 250
_MAX_AGE_TO_RESUME_S = 24 * 3600
_NO_REDIS = (
    "Mastodon's Redis cannot be reached: where a name changes, Mastodon may show the old one from its cache for a while "
    "(posts for ten minutes, emoji for seven days)."
)


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What to repair. `scan` takes an earlier check's findings instead of making a new check.

    `backups` are other storages to copy from: directories, or files with Mastodon's storage variables. `engine` says
    who fetches. `deferred` takes up only what was deferred before and is due.
    """

    kinds: tuple[str, ...] = ()
    apply: bool = False
    scan: str | None = None
    max_missing_percent: float | None = None
    backups: tuple[Path, ...] = ()
    engine: Engine = Engine.DIRECT
    deferred: bool = False
    hand_over: HandOverLimits = field(default_factory=HandOverLimits)

    @property
    def scope(self) -> str:
        """What makes two runs the same work: an interrupted one is continued by the next of the same scope."""
        kinds = ",".join(sorted(self.kinds)) or "all"
        kinds = f"deferred of {kinds}" if self.deferred else kinds
        return kinds if self.engine is Engine.DIRECT else f"{kinds} by {self.engine.value}"


@dataclass(slots=True)
class RepairReport:
    """The result. `plan` counts records per source, without `--apply` only."""

    run: str
    applied: bool
    scan: str
    records: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    sources: Counter[Source] = field(default_factory=Counter)
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    plan: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    duration_s: float = 0.0
    report: Path = Path()
    resumed: bool = False
    recovered: int = 0
    mass_loss: list[str] = field(default_factory=list)

    def count(self, outcome: RecordOutcome) -> None:
        """Add one record."""
        self.records += 1
        if outcome.outcome is None:
            self.plan[outcome.source.value if outcome.source else "none"] += 1
            return
        self.outcomes[outcome.outcome] += 1
        self.reasons[outcome.outcome, outcome.reason] += 1
        if outcome.outcome in (Outcome.RESTORED, Outcome.REFRESHED) and outcome.source:
            self.sources[outcome.source] += 1
        self.bytes += outcome.bytes

    @property
    def undone(self) -> int:
        """Records that are still broken."""
        return self.records - self.outcomes[Outcome.RESTORED] - self.outcomes[Outcome.REFRESHED]


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
        run = new_id(datetime.now(UTC))
        connection = connect(instance.configuration.database, application_name(run), read_only=False)
        with (
            contextlib.closing(connection),
            changing_run(
                connection, instance.state, run, pooled=is_pooled(instance.configuration.database, connection)
            ),
        ):
            report = _applied(instance, options, progress, run, client, now)
    report.duration_s = time.monotonic() - clock
    return report


def _dry_run(
    instance: Instance, options: RepairOptions, progress: Progress, now: Callable[[], datetime]
) -> RepairReport:
    scan, findings, mass_loss = _findings(instance, options, progress)
    report = RepairReport(new_id(datetime.now(UTC)), False, scan, mass_loss=mass_loss)
    report.report = instance.state / "runs" / report.run / "outcomes.parquet"
    budget = memory_for_records(instance.settings.memory_bytes) // 2  # list and report are there together
    with (
        _work(instance, options, report.run, None, progress) as work,
        work_list(report.report.parent, budget, findings, [kind.name for kind in work.kinds]) as records,
    ):
        if options.deferred:
            with contextlib.closing(Journal(instance.state)) as journal:
                records.keep(Ledger(journal, instance.settings.deferral).due(now()))

        def outcomes() -> Iterator[RecordOutcome]:
            for batch in _batches(records, work.kinds):
                for item in work.restorer.look(batch):
                    # nothing is decided before it is tried
                    is_refused = options.engine is Engine.RESET and not resettable(item)
                    outcome = (
                        replace(undecided(item.target), source=None if is_refused else item.source)
                        if isinstance(item, Case)
                        else replace(item, outcome=None)
                    )
                    report.count(outcome)
                    yield outcome

        save_outcomes(report.report, outcomes(), budget)
    return report


def _applied(
    instance: Instance,
    options: RepairOptions,
    progress: Progress,
    run: str,
    client: GuardedClient | None,
    now: Callable[[], datetime],
) -> RepairReport:
    journal = Journal(instance.state)
    ledger = Ledger(journal, instance.settings.deferral)
    try:
        recovered = _recover(instance, journal, progress)
        # also a run that goes on is checked first: what was true when it was cut off need not be true now
        scan, findings, _ = _findings(instance, options, progress)
        cut_off = _continues(journal, options)
        if cut_off is not None:
            progress.note(f"Going on with run {cut_off.id}, which was cut off.")
            report = RepairReport(cut_off.id, True, scan, resumed=True)
        else:
            report = RepairReport(run, True, scan)
            journal.begin(run, "repair", options.scope, scan=scan)
        report.recovered = recovered
        report.report = instance.state / "runs" / report.run / "outcomes.parquet"
        budget = memory_for_records(instance.settings.memory_bytes)
        with (
            _work(instance, options, report.run, journal, progress) as work,
            work_list(report.report.parent, budget, findings, [kind.name for kind in work.kinds]) as records,
        ):
            if options.scan is None:
                _forget_whole(records, ledger, work.parts.database)
            if options.deferred:
                records.keep(ledger.due(now()))
            records.leave_out(journal.decided(report.run))
            progress.start("repair", len(records))

            def close(outcome: RecordOutcome | None) -> None:
                if outcome is not None:
                    journal.outcome(report.run, ledger.settle(outcome, now()))
                progress.advance(1)

            handed = [k for k in work.kinds if HandingOver.takes(options.engine, k)]
            returned = _hand_over(work, options, report.run, _batches(records, handed), close) if handed else []
            rest = _batches(records, [k for k in work.kinds if k not in handed])
            direct = itertools.chain(rest, _batched(returned))
            own = client or _client(instance, work.parts.database, progress)
            workers = workers_for(work.parts.store)
            asyncio.run(Fetching(work.restorer, own, instance.settings.politeness, direct, close, workers).run())
        for outcome in journal.outcomes(report.run):
            report.count(outcome)
        save_outcomes(report.report, journal.outcomes(report.run), budget)
        journal.finish(
            report.run, {"outcomes": {o.value: n for o, n in report.outcomes.items()}, "bytes": report.bytes}
        )
    finally:
        journal.close()
    return report


def _hand_over(
    work: _Work,
    options: RepairOptions,
    run: str,
    batches: Iterator[list[Broken]],
    close: Callable[[RecordOutcome | None], None],
) -> list[Broken]:
    """What the storage or a backup has is restored here; for the rest Mastodon is asked to fetch.

    Returns the records that are better repaired directly.
    """
    assert work.executor is not None
    returned: list[Broken] = []

    def hand(case: Case) -> None:
        taken = work.restorer.attempt(case, lambda: handing.take(case))
        if isinstance(taken, RecordOutcome):
            close(taken)
        elif not taken:
            returned.append(Broken(case.target.kind, case.target.row.record.id, case.corrupt))

    def restore_stored(case: Case) -> RecordOutcome | bool | None:
        """The outcome; False if what was stored turned out to be useless."""
        way = work.restorer.restore(case)
        try:
            next(way)
        except StopIteration as end:
            outcome: RecordOutcome | None = end.value
            return outcome
        way.close()
        return False

    handing = HandingOver(options.engine, run, work.parts, work.mender, work.executor, options.hand_over, close)
    for batch in batches:
        items = work.restorer.look(batch)
        for _ in range(len(batch) - len(items)):
            close(None)
        for item in items:
            if isinstance(item, RecordOutcome):
                close(item)
            elif item.source in (Source.ORIGIN, Source.PAGE):
                hand(item)
            else:
                outcome = work.restorer.attempt(item, partial(restore_stored, item))
                if isinstance(outcome, bool):
                    hand(replace(item, source=Source.ORIGIN, copies={}))
                else:
                    close(outcome)
    handing.watch()
    return returned


def _batched(records: list[Broken]) -> Iterator[list[Broken]]:
    for start in range(0, len(records), _BATCH):
        yield records[start : start + _BATCH]


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run works with."""

    parts: Parts
    mender: Mender
    restorer: Restorer
    executor: Executor | None
    kinds: tuple[Kind, ...]


@contextlib.contextmanager
def _work(
    instance: Instance, options: RepairOptions, run: str, journal: Journal | None, progress: Progress
) -> Iterator[_Work]:
    """The edge of this command: builds what restores records. Without a journal nothing can be changed."""
    with changing_parts(instance) as parts, contextlib.ExitStack() as stack:
        kinds = choose_kinds(options.kinds, kinds_of(parts.database))
        executor = None if journal is None else parts.executor(run, journal)
        caches = executor is not None and parts.caches.reachable()
        if executor is not None and not caches:
            progress.note(_NO_REDIS)
            if options.engine is Engine.SIDEKIQ:
                parts.sidekiq.waiting()  # says what is wrong
        ffmpeg = find_ffmpeg(instance.variables)
        tools = Tools(
            _copy_sources(instance, options, parts.store, stack, progress),
            ffmpeg,
            decoders(None if ffmpeg is None else ffmpeg.program),
            others_convert=options.engine is not Engine.DIRECT,
            caches=caches,
        )
        mender = Mender(run, parts, kinds, tools, executor)
        stack.callback(mender.close)
        yield _Work(parts, mender, Restorer(mender, parts, tools), executor, kinds)


def _copy_sources(
    instance: Instance, options: RepairOptions, store: Store, stack: contextlib.ExitStack, progress: Progress
) -> list[CopySource]:
    elsewhere = Elsewhere(store, instance.key_prefix)
    if elsewhere.hidden:
        progress.note(elsewhere.hidden)
    sources: list[CopySource] = [elsewhere]
    for path in options.backups:
        settings = named_storage(path)
        if str(settings) == str(instance.configuration.storage):
            raise ConfigurationError(f"{path} is this server's own storage, not a backup of it.")
        backup = build_store(settings)
        stack.callback(backup.close)
        if not backup.probe():
            raise ConfigurationError(f"{settings}, named by {path}, is empty.", hint="Is the backup mounted?")
        sources.append(Backup(backup, settings.key_prefix, instance.key_prefix))
    return sources


def _client(instance: Instance, database: MastodonDatabase, progress: Progress) -> GuardedClient:
    configuration = instance.configuration
    actor, why_not = signer(database, configuration.web_domain, instance.variables)
    if actor is None:
        progress.note(
            f"Requests are not signed: {why_not}. Servers in secure mode will not show their posts and actors."
        )
    return GuardedClient(
        f"Mastomend/{__version__} (+https://{configuration.web_domain}/)",
        configuration.limits.allowed_private_addresses,
        proxy=http_proxy(instance.variables),
        signer=actor,
    )


def _findings(instance: Instance, options: RepairOptions, progress: Progress) -> tuple[str, Path, list[str]]:
    """The findings to work on: an earlier scan's, or those of a check made now; and why with `--apply` this would stop.

    With an earlier scan, too, all is looked at now: what is said of `--apply` shall be what it does.

    Raises:
        SafetyStop: the check looks like mass loss.
    """
    if options.scan is not None:
        path = instance.state / "scans" / options.scan / "findings.parquet"
        if not path.is_file() or "/" in options.scan:
            raise ConfigurationError(
                f"There is no scan {options.scan!r}.", hint="See the scans in the state directory."
            )
    report = check(instance, _check_options(options), progress)
    if options.apply:
        _stop_on_mass_loss(report)
    if options.scan is not None:
        return options.scan, path, report.mass_loss
    return report.scan, report.findings, report.mass_loss


def _check_options(options: RepairOptions) -> CheckOptions:
    """What is about to be changed is looked at now: what an older check saw is no safety."""
    return CheckOptions(kinds=options.kinds, max_missing_percent=options.max_missing_percent, resume=False)


def _stop_on_mass_loss(report: CheckReport) -> None:
    if report.mass_loss:
        raise SafetyStop(
            " ".join(report.mass_loss) + " This looks like a disk that is not mounted or a wrong bucket. "
            "Nothing was changed.",
            hint="Mount what is missing. If the files really are gone, run the same command with --max-missing 100%.",
        )


def _continues(journal: Journal, options: RepairOptions) -> Run | None:
    """The newest repair of the same scope that was cut off less than a day ago; older ones are closed."""
    runs = journal.runs()
    taken_back = {run.undoes for run in runs}
    for run in runs:
        if run.command != "repair" or run.finished_at is not None or run.id in taken_back:
            continue
        age = (datetime.now(UTC) - datetime.fromisoformat(run.started_at)).total_seconds()
        if run.scope == options.scope and age < _MAX_AGE_TO_RESUME_S:
            return run
        if run.scope == options.scope:
            journal.finish(run.id, {"cut_off": True})
    return None


def _recover(instance: Instance, journal: Journal, progress: Progress) -> int:
    """Finish or abandon what any cut-off run left half done. How many records there were."""
    open_runs = [(run, plans) for run in journal.runs() if (plans := journal.open_plans(run.id))]
    if not open_runs:
        return 0
    recovered = 0
    with changing_parts(instance) as parts:
        for run, plans in open_runs:
            executor = parts.executor(run.id, journal)
            for plan in plans:
                outcome = executor.recover(plan)
                if outcome is not None:
                    executor.close(outcome)
                if outcome is not None and outcome.outcome is Outcome.REFUSED:
                    progress.note(f"{outcome.kind} {outcome.id}: {outcome.detail}")
                recovered += 1
    progress.note(f"{recovered} half-done record(s) of a run that was cut off have been settled.")
    return recovered


def memory_for_records(budget: int) -> int:
    """What part of the memory budget the list of broken records, and later the report, may have: pictures need the rest."""
    return budget // 4


def _forget_whole(records: WorkList, ledger: Ledger, database: MastodonDatabase) -> None:
    """After a check: what it no longer found broken is whole, or gone from the database, and leaves the ledger.

    But for records that were handed to Mastodon and that it has not filled: a check cannot see them.
    """
    ledger.forget(records.sound(ledger.records(handed_over=False)))
    for kind, group in itertools.groupby(records.sound(ledger.records(handed_over=True)), key=lambda record: record[0]):
        while ids := [record_id for _, record_id in itertools.islice(group, _BATCH)]:
            filled = set(ids).difference(read_emptied(database, KIND_BY_NAME[kind], ids))
            ledger.forget((kind, record_id) for record_id in filled)


def _batches(records: WorkList, kinds: Sequence[Kind]) -> Iterator[list[Broken]]:
    for batch in records.batches([kind.name for kind in kinds]):
        yield [Broken(KIND_BY_NAME[kind], record_id, corrupt) for kind, record_id, corrupt in batch]
