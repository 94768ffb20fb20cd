"""`repair`: restore what is broken, record by record, from the origin.

A scan's findings are only a hint. Each record is looked at again before it is fetched for and once more before it is
changed; its plan is journaled, executed, and verified by looking at it like a check would. Fetching is asynchronous
and polite (`remote.admission`), making pictures and changing things happens in a few threads; the two meet in
`_Fetching`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from mastomend import __version__
from mastomend.actions.executor import ROW_CHANGED, Conflict, Executor, Pool, changed
from mastomend.actions.journal import Journal, Run
from mastomend.actions.lock import application_name, changing_run
from mastomend.commands.check import CheckOptions, CheckReport, check, choose_kinds, new_id
from mastomend.commands.instance import Instance
from mastomend.commands.progress import Progress, Silent
from mastomend.errors import ConfigurationError, DatabaseError, SafetyStop
from mastomend.images.decode import UnusableImage
from mastomend.images.styles import produce
from mastomend.inventory.database import MastodonDatabase, connect, conninfo
from mastomend.inventory.deep import DeepReader
from mastomend.inventory.expectations import DatabaseExpectations
from mastomend.inventory.inspect import broken_files, target
from mastomend.inventory.rows import kinds_of, read_rows
from mastomend.inventory.sample import Sample
from mastomend.inventory.tables import save_outcomes
from mastomend.mastodon.configuration import origin_host
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import image_rules
from mastomend.outcomes import Outcome, RecordOutcome, Source
from mastomend.plans.repair import NewFiles, RecordPlan, derivable, plan_derived, plan_record, refusal, undecided
from mastomend.remote.admission import Admission, Host
from mastomend.remote.client import Failure, Fetched, GuardedClient, NotFetched
from mastomend.sources.origin import outcome_of_failure, outcome_of_image
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store
from mastomend.vocabulary import Finding, State, Target

_BROKEN_SQL = Path(__file__).parent.parent.joinpath("inventory", "broken.sql").read_text(encoding="utf-8")
_BATCH = 250
_QUEUED = 20_000
_WORKERS = 4
_BACKLOG = 24
_MAX_AGE_TO_RESUME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What to repair. `scan` takes an earlier check's findings instead of making a new check."""

    kinds: tuple[str, ...] = ()
    apply: bool = False
    scan: str | None = None
    max_missing_percent: float | None = None

    @property
    def scope(self) -> str:
        """What makes two runs the same work: an interrupted one is continued by the next of the same scope."""
        return ",".join(sorted(self.kinds)) or "all"


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


@dataclass(frozen=True, slots=True)
class _Broken:
    """One broken record of the scan: a hint."""

    kind: Kind
    id: int
    corrupt: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Job:
    """A record that is to be fetched for, as it was when it was looked at."""

    target: Target
    corrupt: frozenset[str]
    tries: int = 0
    source: Source = Source.ORIGIN

    @property
    def url(self) -> str:
        return self.target.row.remote_url or ""


def repair(
    instance: Instance,
    options: RepairOptions = RepairOptions(),
    progress: Progress = Silent(),
    client: GuardedClient | None = None,
) -> RepairReport:
    """Repair the instance, or say what would be done.

    Raises:
        SafetyStop: mass loss, or another changing run holds the lock.
        ConfigurationError, DatabaseError, StorageError, JournalError: the run stopped; running it again goes on.
    """
    clock = time.monotonic()
    if not options.apply:
        report = _dry_run(instance, options, progress)
    else:
        run = new_id(datetime.now(UTC))
        connection = connect(instance.configuration.database, application_name(run), read_only=False)
        with contextlib.closing(connection), changing_run(connection, instance.state, run, pooled=pooled(instance)):
            report = _applied(instance, options, progress, run, client)
    report.duration_s = time.monotonic() - clock
    return report


def pooled(instance: Instance) -> bool:
    """Whether the database is reached through a transaction pooler."""
    return not instance.configuration.database.prepared_statements


def _dry_run(instance: Instance, options: RepairOptions, progress: Progress) -> RepairReport:
    scan, findings = _findings(instance, options, progress)
    report = RepairReport(new_id(datetime.now(UTC)), False, scan)
    report.report = instance.state / "runs" / report.run / "outcomes.parquet"
    with _Work.open(instance, options, report, progress) as work:
        rows = []
        for batch in _batches(findings, work.kinds):
            for item in work.look(batch):
                outcome = (
                    item if isinstance(item, RecordOutcome) else replace(undecided(item.target), source=item.source)
                )
                if isinstance(item, RecordOutcome):  # nothing is decided before it is tried
                    outcome = replace(item, outcome=None)
                report.count(outcome)
                rows.append(outcome)
        save_outcomes(report.report, rows)
    return report


def _applied(
    instance: Instance, options: RepairOptions, progress: Progress, run: str, client: GuardedClient | None
) -> RepairReport:
    journal = Journal(instance.state)
    try:
        recovered = _recover(instance, journal, progress)
        # also a run that goes on is checked first: what was true when it was cut off need not be true now
        scan, findings = _findings(instance, options, progress)
        cut_off = _continues(journal, options)
        if cut_off is not None:
            progress.note(f"Going on with run {cut_off.id}, which was cut off.")
            report = RepairReport(cut_off.id, True, scan, resumed=True)
        else:
            report = RepairReport(run, True, scan)
            journal.begin(run, "repair", options.scope, scan=scan)
        report.recovered = recovered
        report.report = instance.state / "runs" / report.run / "outcomes.parquet"
        with _Work.open(instance, options, report, progress, journal) as work:
            work.repair(findings, client)
        for outcome in journal.outcomes(report.run):
            report.count(outcome)
        save_outcomes(report.report, journal.outcomes(report.run))
        journal.finish(
            report.run, {"outcomes": {o.value: n for o, n in report.outcomes.items()}, "bytes": report.bytes}
        )
    finally:
        journal.close()
    return report


def _findings(instance: Instance, options: RepairOptions, progress: Progress) -> tuple[str, Path]:
    """The findings to work on: an earlier scan's, or those of a check made now.

    Raises:
        SafetyStop: the check looks like mass loss.
    """
    if options.scan is not None:
        path = instance.state / "scans" / options.scan / "findings.parquet"
        if not path.is_file() or "/" in options.scan:
            raise ConfigurationError(
                f"There is no scan {options.scan!r}.", hint="See the scans in the state directory."
            )
        if options.apply:
            _stop_on_mass_loss(check(instance, _check_options(options), progress))
        return options.scan, path
    report = check(instance, _check_options(options), progress)
    if options.apply:
        _stop_on_mass_loss(report)
    return report.scan, report.findings


def _check_options(options: RepairOptions) -> CheckOptions:
    return CheckOptions(kinds=options.kinds, max_missing_percent=options.max_missing_percent)


def _stop_on_mass_loss(report: CheckReport) -> None:
    if report.mass_loss:
        raise SafetyStop(
            " ".join(report.mass_loss) + " This looks like a disk that is not mounted or a wrong bucket. "
            "Nothing was changed.",
            hint="If the files really are gone, run the same command with --max-missing 100%.",
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
    with changing_parts(instance) as (database, store, pool):
        for run, plans in open_runs:
            expectations = DatabaseExpectations(database, instance.key_prefix)
            executor = Executor(run.id, journal, store, pool, expectations, instance.key_prefix)
            for plan in plans:
                outcome = executor.recover(plan)
                if outcome is not None:
                    executor.close(outcome)
                recovered += 1
    progress.note(f"{recovered} half-done record(s) of a run that was cut off have been settled.")
    return recovered


@contextlib.contextmanager
def changing_parts(instance: Instance) -> Iterator[tuple[MastodonDatabase, Store, Pool]]:
    """A database to look at, a storage, and connections that may write."""
    settings = instance.configuration.database
    with MastodonDatabase(settings) as database:
        store = build_store(instance.configuration.storage)
        pool: Pool = ConnectionPool(
            conninfo(settings, "mastomend"),
            min_size=1,
            max_size=_WORKERS,
            timeout=15,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": 5 if settings.prepared_statements else None,
            },
            open=True,
        )
        try:
            store.probe()
            yield database, store, pool
        finally:
            pool.close()
            store.close()


def _batches(findings: Path, kinds: Sequence[Kind]) -> Iterator[list[_Broken]]:
    """The scan's broken records, hosts interleaved, in batches."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET enable_progress_bar = false")
        result = connection.execute(_BROKEN_SQL, [str(findings), [k.name for k in kinds]])
        while rows := result.fetchmany(_BATCH):
            yield [_Broken(KIND_BY_NAME[kind], id_, frozenset(corrupt or ())) for kind, id_, _, corrupt in rows]


def _records(findings: Path, kinds: Sequence[Kind]) -> int:
    with duckdb.connect(":memory:") as connection:
        row = connection.execute(
            "SELECT count(DISTINCT (kind, id)) FROM read_parquet(?) WHERE list_contains(?, kind)",
            [str(findings), [k.name for k in kinds]],
        ).fetchone()
    return int(row[0]) if row else 0


class _Work:
    """Everything one run needs, and what it does with one record."""

    def __init__(
        self,
        instance: Instance,
        report: RepairReport,
        progress: Progress,
        journal: Journal | None,
        database: MastodonDatabase,
        store: Store,
        pool: Pool,
        kinds: Sequence[Kind],
    ) -> None:
        self.instance = instance
        self.report = report
        self.progress = progress
        self.journal = journal
        self.database = database
        self.store = store
        self.pool = pool
        self.kinds = kinds
        limits = instance.configuration.limits
        self.rules = {k.name: image_rules(k, database.version, limits) for k in kinds}
        self.moderation: Moderation = database.moderation(limited_federation=limits.limited_federation)
        config = instance.configuration
        self.own_domains = frozenset(
            d.lower() for d in (config.local_domain, config.web_domain, *config.alternate_domains)
        )
        self.deep = DeepReader(store, Sample(), None, lambda: None)
        if journal is not None:
            expectations = DatabaseExpectations(database, instance.key_prefix)
            self.executor = Executor(report.run, journal, store, pool, expectations, instance.key_prefix)

    @staticmethod
    @contextlib.contextmanager
    def open(
        instance: Instance,
        options: RepairOptions,
        report: RepairReport,
        progress: Progress,
        journal: Journal | None = None,
    ) -> Iterator[_Work]:
        """Build the parts; the edge of this command."""
        with changing_parts(instance) as (database, store, pool):
            kinds = choose_kinds(options.kinds, kinds_of(database))
            work = _Work(instance, report, progress, journal, database, store, pool, kinds)
            try:
                yield work
            finally:
                work.deep.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self, batch: Sequence[_Broken]) -> list[RecordOutcome | _Job]:
        """What is still broken of a batch: jobs to fetch for, and records decided without fetching."""
        answer: list[RecordOutcome | _Job] = []
        for kind in {b.kind.name: b.kind for b in batch}.values():
            wanted = {b.id: b for b in batch if b.kind is kind}
            rows = read_rows(self.database, kind, list(wanted))
            targets = [target(kind, row, self.instance.key_prefix) for row in rows.values()]
            for t, found in zip(targets, self._broken(targets, wanted), strict=True):
                if found:
                    answer.append(self._decide(t, found, wanted[t.row.record.id].corrupt))
        return answer

    def _broken(self, targets: Sequence[Target], hints: dict[int, _Broken]) -> list[list[Finding]]:
        corrupt = {(id_, style) for id_, hint in hints.items() for style in hint.corrupt}
        return broken_files(targets, self.store, self.deep if corrupt else None, corrupt)

    def _decide(self, t: Target, found: Sequence[Finding], corrupt: frozenset[str]) -> RecordOutcome | _Job:
        if t.row.in_flight:
            return replace(
                undecided(t), outcome=Outcome.DEFERRED, reason="in_flight", detail="Mastodon is changing it right now"
            )
        rules = self.rules[t.kind.name]
        if derivable(t, found, rules):
            return _Job(t, corrupt, source=Source.ORIGINAL)
        return refusal(t, found, rules, self.moderation, self.own_domains) or _Job(t, corrupt)

    # --- changing ---------------------------------------------------------------------------------------------------

    def repair(self, findings: Path, client: GuardedClient | None) -> None:
        """Everything the findings name, fetched politely and changed safely."""
        assert self.journal is not None
        decided = self.journal.decided(self.report.run)
        self.progress.start("repair", _records(findings, self.kinds))
        own = client or GuardedClient(
            f"Mastomend/{__version__} (+https://{self.instance.configuration.web_domain}/)",
            self.instance.configuration.limits.allowed_private_addresses,
            proxy=self.instance.configuration.http_proxy,
        )
        asyncio.run(_Fetching(self, own, _batches(findings, self.kinds), decided).run())

    def close(self, outcome: RecordOutcome) -> None:
        """Record an outcome."""
        self.executor.close(outcome)
        self.progress.advance(1)

    def skip(self) -> None:
        """A record that turned out to be whole, or gone."""
        self.progress.advance(1)

    def derive(self, job: _Job) -> RecordOutcome | None:
        """Make missing derived styles from the original that is still there; nobody is asked."""
        data = self.store.read(job.target.files[0].key)
        return None if data is None else self.install(job, data)

    def install(self, job: _Job, data: bytes) -> RecordOutcome | None:
        """Make the files, look again, change, verify. None if the record is no longer broken."""
        kind, rules = job.target.kind, self.rules[job.target.kind.name]
        assert rules is not None
        base = replace(undecided(job.target), source=job.source)
        try:
            made = produce(kind, rules, data)
        except UnusableImage as error:
            return changed(base, outcome_of_image(error), error.reason, str(error))
        fresh = read_rows(self.database, kind, [job.target.row.record.id]).get(job.target.row.record.id)
        if fresh is None:
            return None
        t = target(kind, fresh, self.instance.key_prefix)
        if fresh.in_flight or fresh.record != job.target.row.record:
            return changed(base, Outcome.DEFERRED, ROW_CHANGED, "Mastodon changed the record meanwhile")
        (broken,) = broken_files([t], self.store, self.deep, {(fresh.record.id, s) for s in job.corrupt})
        if not broken:
            return None
        if any(f.state is State.UNSERVABLE for f in broken) or (
            job.source is Source.ORIGINAL and not derivable(t, broken, rules)
        ):
            return changed(base, Outcome.DEFERRED, ROW_CHANGED, "the files changed meanwhile")
        meta = {style: size.meta() for style, size in made.sizes.items()}
        files = NewFiles(made.content_type, made.files, meta, made.blurhash)
        if job.source is Source.ORIGINAL:
            plan = plan_derived(t, broken, files, self._present(t), self.report.run, self.instance.key_prefix)
        else:
            plan = self._plan(t, broken, files)
        return self._execute(plan, t, job)

    def _plan(self, t: Target, broken: Sequence[Finding], files: NewFiles) -> RecordPlan:
        now = datetime.now(UTC)
        return plan_record(
            t,
            broken,
            self._present(t),
            files,
            self._columns(t),
            secrets.token_hex(8),
            now,
            self.report.run,
            self.instance.key_prefix,
        )

    def _present(self, t: Target) -> dict[str, int]:
        """The record's keys that hold something, with their sizes."""
        sizes = self.store.sizes([f.key for f in t.files])
        return {str(f.key): n for f, n in zip(t.files, sizes, strict=True) if n >= 0}

    def _columns(self, t: Target) -> dict[str, str | None]:
        """The row's columns a repair may change, as text."""
        kind = t.kind
        wanted = [kind.column(s) for s in ("file_name", "content_type", "file_size", "updated_at")]
        wanted += [kind.version_column, "updated_at", "file_meta", "blurhash", "type"]
        names = [n for n in wanted if n in self.database.columns(kind.table)]
        selected = sql.SQL(", ").join(sql.SQL("{0}::text AS {0}").format(sql.Identifier(n)) for n in names)
        statement = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(selected, sql.Identifier(kind.table))
        try:
            with self.pool.connection() as connection:
                row: dict[str, Any] | None = connection.execute(statement, [t.row.record.id]).fetchone()
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {' '.join(str(error).split())[:300]}") from None
        return row or {}

    def _execute(self, plan: RecordPlan, t: Target, job: _Job) -> RecordOutcome:
        try:
            self.executor.apply(plan.outcome, plan.actions)
        except Conflict as conflict:
            return changed(plan.outcome, Outcome.DEFERRED, ROW_CHANGED, str(conflict))
        row = read_rows(self.database, t.kind, [t.row.record.id]).get(t.row.record.id)
        if row is not None:
            styles = {(row.record.id, style) for style in job.corrupt}
            (still,) = broken_files([target(t.kind, row, self.instance.key_prefix)], self.store, self.deep, styles)
            if still:
                return changed(plan.outcome, Outcome.DEFERRED, "verify_failed", f"{still[0].key} is {still[0].state}")
        return plan.outcome


class _Fetching:
    """The meeting place: admission decides, the client fetches, threads install."""

    def __init__(
        self,
        work: _Work,
        client: GuardedClient,
        batches: Iterator[list[_Broken]],
        decided: set[tuple[str, int]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._client = client
        self._batches: Iterator[list[_Broken]] | None = batches
        self._decided = decided
        self._now = now
        self._politeness = work.instance.settings.politeness
        self._admission: Admission[_Job] = Admission(self._politeness, random.Random())
        self._last_failure: dict[Host, NotFetched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._installing = 0

    async def run(self) -> None:
        """Until everything has an outcome; the first error that stops the run is raised after what is under way ends."""
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="install")
        loop.set_default_executor(threads)
        try:
            async with self._client:
                while await self._feed() or self._tasks or self._admission.queued:
                    await self._close_returned()
                    self._start()
                    await self._wait()
                await self._close_returned()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            threads.shutdown(wait=True)

    @property
    def _hungry(self) -> bool:
        """Whether another batch should be looked at now."""
        return self._batches is not None and self._admission.queued < _QUEUED

    @property
    def _full(self) -> bool:
        """Whether fetched bodies already wait for the threads: fetching more would only hold memory."""
        return self._installing + self._admission.in_flight >= _BACKLOG + self._politeness.concurrency

    async def _feed(self) -> bool:
        """Look at one more batch if there is room; False when there are none left."""
        if self._hungry and self._batches is not None:
            batch = await asyncio.to_thread(next, self._batches, None)
            if batch is None:
                self._batches = None
                return False
            fresh = [b for b in batch if (b.kind.name, b.id) not in self._decided]
            items = await asyncio.to_thread(self._work.look, fresh)
            for _ in range(len(batch) - len(items)):
                self._work.skip()
            for item in items:
                if isinstance(item, RecordOutcome):
                    await asyncio.to_thread(self._work.close, item)
                elif item.source is Source.ORIGINAL:
                    await asyncio.to_thread(self._finish, await asyncio.to_thread(self._work.derive, item))
                else:
                    self._admission.submit(Host(origin_host(item.url)), item)
        return self._batches is not None

    def _start(self) -> None:
        while not self._full:
            admitted = self._admission.admit(self._now())
            if admitted is None:
                return
            self._tasks.add(asyncio.create_task(self._fetch(*admitted)))

    async def _wait(self) -> None:
        """Until something ends, something may start, or at once if there is more to look at."""
        timeout = None
        if self._hungry:
            timeout = 0.0
        elif not self._full and (next_at := self._admission.next_at()) is not None:
            timeout = max(0.0, next_at - self._now())
        if not self._tasks:
            await asyncio.sleep(timeout or 0.0)
            return
        done, self._tasks = await asyncio.wait(self._tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _fetch(self, host: Host, job: _Job) -> None:
        rules = self._work.rules[job.target.kind.name]
        assert rules is not None
        answer = await self._client.get(job.url, rules.max_bytes)
        match answer:
            case Fetched():
                self._admission.succeeded(host)
                self._installing += 1
                try:
                    outcome = await asyncio.to_thread(self._work.install, job, answer.data)
                    await asyncio.to_thread(self._finish, outcome)
                finally:
                    self._installing -= 1
            case NotFetched():
                await self._not_fetched(host, job, answer)

    def _finish(self, outcome: RecordOutcome | None) -> None:
        if outcome is None:
            self._work.skip()
        else:
            self._work.close(outcome)

    async def _not_fetched(self, host: Host, job: _Job, answer: NotFetched) -> None:
        if not answer.failure.host_in_trouble:
            self._admission.succeeded(host)
            await self._conclude(job, answer)
            return
        self._last_failure[host] = answer
        self._admission.failed(host, self._now(), answer.retry_after_s)
        # a host that asks for a pause has said nothing about this file; how often it may ask is admission's business
        tries = job.tries + (answer.failure is not Failure.RATE_LIMITED)
        if tries < self._politeness.tries:
            self._admission.submit(host, replace(job, tries=tries), first=True)
        else:
            await self._conclude(job, answer)

    async def _conclude(self, job: _Job, answer: NotFetched) -> None:
        base = replace(undecided(job.target), source=Source.ORIGIN)
        outcome = changed(base, outcome_of_failure(answer), answer.failure.value, answer.detail)
        await asyncio.to_thread(self._work.close, outcome)

    async def _close_returned(self) -> None:
        for host, job in self._admission.returned():
            answer = self._last_failure[host]
            base = replace(undecided(job.target), source=Source.ORIGIN)
            detail = f"{host} is left alone after repeated trouble; the last was: {answer.detail}"
            await asyncio.to_thread(self._work.close, changed(base, Outcome.DEFERRED, answer.failure.value, detail))
