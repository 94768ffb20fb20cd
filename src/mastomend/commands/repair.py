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
from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.actions.run import Run, run
from mastomend.commands.check import CheckOptions, check
from mastomend.commands.instance import Instance
from mastomend.commands.losses import refuse
from mastomend.commands.parts import Parts, changing_parts, ground, named_storage
from mastomend.database.instance_actor import actor_keys
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_emptied
from mastomend.errors import ConfigurationError
from mastomend.ids import new_id
from mastomend.inventory.reports import Report
from mastomend.inventory.work_list import WorkList, work_list
from mastomend.mastodon.configuration import http_proxy
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind, choose_kinds
from mastomend.outcomes import Engine, Outcome, OutcomeRow, Source, Verdict
from mastomend.plans.repair import subject
from mastomend.progress import Progress, Silent
from mastomend.remote.client import GuardedClient
from mastomend.remote.signatures import Signer
from mastomend.restore.case import Broken, Case, Means, intention
from mastomend.restore.chain import Chain
from mastomend.restore.change import Changes
from mastomend.restore.desk import Desk, workers_for
from mastomend.restore.handing_over import HandingOver, HandOverLimits, resettable
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import Backup, CopySource, Elsewhere
from mastomend.restore.workshop import Workshop
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store
from mastomend.vocabulary import Done, RowOf

_BATCH = 250
OUTCOMES = Report(OutcomeRow, ("kind", "id"))
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

    def count(self, outcome: OutcomeRow) -> None:
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
        new = new_id(datetime.now(UTC))
        with ground(instance, new, progress.note) as here, run(here, "repair", options.scope, new) as current:
            report = _applied(instance, options, progress, here.journal, current, client, now)
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
        changing_parts(instance) as parts,
        _restoring(instance, options, parts, None, progress) as work,
        work_list(report.report.parent, budget, findings, [kind.name for kind in work.kinds]) as records,
    ):
        if options.deferred:
            with contextlib.closing(Journal(instance.state)) as journal:
                records.keep(Ledger(journal, instance.settings.deferral).due(now()))

        def rows() -> Iterator[OutcomeRow]:
            for batch in _batches(records, work.kinds):
                for item in work.chain.look(batch):
                    row = _intended(item, options.engine)
                    report.count(row)
                    yield row

        OUTCOMES.write(report.report, rows(), budget)
    return report


def _intended(item: Done | Case, engine: Engine) -> OutcomeRow:
    """A dry run's row: where the record would be restored from. Nothing is decided before it is tried."""
    if isinstance(item, Done):
        return replace(item.row(), outcome=None)
    about = subject(item.target)
    source = None if engine is Engine.RESET and not resettable(item) else item.source
    said = intention(item)
    return OutcomeRow(about.kind, about.id, about.is_local, about.domain, about.remote_url, None, source, "", said)


def _applied(
    instance: Instance,
    options: RepairOptions,
    progress: Progress,
    journal: Journal,
    current: Run,
    client: GuardedClient | None,
    now: Callable[[], datetime],
) -> RepairReport:
    ledger = Ledger(journal, instance.settings.deferral)
    # also a run that goes on is checked first: what was true when it was cut off need not be true now
    scan, findings, _ = _findings(instance, options, progress)
    with changing_parts(instance) as parts, _restoring(instance, options, parts, current, progress) as work:
        current.begin(parts.world(), scan=scan)
        if current.resumed:
            progress.note(f"Going on with run {current.id}, which was cut off.")
        report = RepairReport(current.id, True, scan, resumed=current.resumed, recovered=current.settled)
        report.report = instance.state / "runs" / report.run / "outcomes.parquet"
        budget = memory_for_records(instance.settings.memory_bytes)
        with work_list(report.report.parent, budget, findings, [kind.name for kind in work.kinds]) as records:
            if options.scan is None:
                _forget_whole(records, ledger, parts.database)
            if options.deferred:
                records.keep(ledger.due(now()))
            records.leave_out(journal.decided(report.run))
            progress.start("repair", len(records))

            def close(done: Done | None) -> None:
                if done is not None:
                    assert isinstance(done.subject, RowOf)
                    current.close(replace(done, verdict=ledger.settle(done.subject, done.verdict, now())))
                progress.advance(1)

            handed = [k for k in work.kinds if HandingOver.takes(options.engine, k)]
            returned = _hand_over(work, options, current, _batches(records, handed), close) if handed else []
            rest = _batches(records, [k for k in work.kinds if k not in handed])
            direct = itertools.chain(rest, _batched(returned))
            own = client or _client(instance, parts.database, progress)
            workers = workers_for(parts.store)
            asyncio.run(Desk(work.chain, own, instance.settings.politeness, direct, close, workers).run())
        for done in journal.outcomes(report.run):
            report.count(done.row())
        OUTCOMES.write(report.report, (done.row() for done in journal.outcomes(report.run)), budget)
    current.summary = {"outcomes": {o.value: n for o, n in report.outcomes.items()}, "bytes": report.bytes}
    return report


def _hand_over(
    work: _Restoring,
    options: RepairOptions,
    current: Run,
    batches: Iterator[list[Broken]],
    close: Callable[[Done | None], None],
) -> list[Broken]:
    """What the storage or a backup has is restored here; for the rest Mastodon is asked to fetch.

    Returns the records that are better repaired directly.
    """
    returned: list[Broken] = []

    def hand(case: Case) -> None:
        taken = work.chain.attempt(case, lambda: handing.take(case))
        if not isinstance(taken, bool):
            close(Done(subject(case.target), taken))
        elif not taken:
            returned.append(Broken(case.target.kind, case.target.row.record.id, case.corrupt))

    def restore_stored(case: Case) -> Verdict | bool | None:
        """The verdict; False if what was stored turned out to be useless."""
        way = work.chain.restore(case)
        try:
            next(way)
        except StopIteration as end:
            verdict: Verdict | None = end.value
            return verdict
        way.close()
        return False

    handing = HandingOver(options.engine, current, work.means, work.changes, options.hand_over, close)
    for batch in batches:
        items = work.chain.look(batch)
        for _ in range(len(batch) - len(items)):
            close(None)
        for item in items:
            if isinstance(item, Done):
                close(item)
            elif item.source in (Source.ORIGIN, Source.PAGE):
                hand(item)
            else:
                verdict = work.chain.attempt(item, partial(restore_stored, item))
                if isinstance(verdict, bool):
                    hand(replace(item, source=Source.ORIGIN, copies={}))
                else:
                    close(None if verdict is None else Done(subject(item.target), verdict))
    handing.watch()
    return returned


def _batched(records: list[Broken]) -> Iterator[list[Broken]]:
    for start in range(0, len(records), _BATCH):
        yield records[start : start + _BATCH]


@dataclass(frozen=True, slots=True)
class _Restoring:
    """What restores records in one run; without a run nothing can be changed."""

    means: Means
    changes: Changes
    chain: Chain
    kinds: tuple[Kind, ...]


@contextlib.contextmanager
def _restoring(
    instance: Instance, options: RepairOptions, parts: Parts, current: Run | None, progress: Progress
) -> Iterator[_Restoring]:
    with contextlib.ExitStack() as stack:
        kinds = choose_kinds(options.kinds, kinds_of(parts.database))
        caches_answer = current is not None and parts.caches.reachable()
        if current is not None and not caches_answer:
            progress.note(_NO_REDIS)
            if options.engine is Engine.SIDEKIQ:
                parts.sidekiq.waiting()  # says what is wrong
        means = parts.means(caches_answer=caches_answer)
        policy = Policy(parts.database, instance.configuration, kinds)
        changes = Changes(current, means, policy, Workshop(means, policy))
        stack.callback(changes.close)
        sources = _copy_sources(instance, options, parts.store, stack, progress)
        chain = Chain(means, policy, changes, sources, others_convert=options.engine is not Engine.DIRECT)
        yield _Restoring(means, changes, chain, kinds)


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
    keys, why_not = actor_keys(database, configuration.web_domain, instance.variables)
    actor = next((made for made in (Signer.from_pem(*key) for key in keys) if made is not None), None)
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
        refuse(report.mass_loss)
    if options.scan is not None:
        return options.scan, path, report.mass_loss
    return report.scan, report.findings, report.mass_loss


def _check_options(options: RepairOptions) -> CheckOptions:
    """What is about to be changed is looked at now: what an older check saw is no safety."""
    return CheckOptions(
        kinds=options.kinds, max_missing_percent=options.max_missing_percent, resume=False, command="repair"
    )


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
