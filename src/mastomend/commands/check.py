"""`check`: compare what the database expects with what the storage holds. Changes nothing outside the state directory.

One pass per table, one comparison, a second look at every difference, findings in Parquet. See `inventory.expected` for
what is read, `inventory.reconcile` for the comparison, `inventory.confirm` for why a busy server gives no false alarms,
and `inventory.workspace` for how a check that was cut off is gone on with.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from mastomend import __version__
from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.actions.ledger import Ledger
from mastomend.commands.costs import price
from mastomend.commands.instance import Instance, refuse_ignored_prefix
from mastomend.commands.progress import Progress, Silent
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, must_see
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.ids import new_id
from mastomend.inventory import held, listing_files, reconcile
from mastomend.inventory.confirm import candidate_batches, confirm
from mastomend.inventory.expected import Expected, KindCount, expected
from mastomend.inventory.findings import FINDINGS, TABLE
from mastomend.inventory.sample import Sample
from mastomend.inventory.workspace import Scope, Unfinished, Workspace, unfinished, workspace
from mastomend.mastodon.configuration import FilesystemStorage, Storage
from mastomend.mastodon.keys import CACHE, below
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind
from mastomend.mastodon.versions import Version
from mastomend.outcomes import Outcome
from mastomend.plans.loss import MANY_FILES, NONE_OF, Tree, mass_loss
from mastomend.plans.prices import Price, dollars
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import BulkLookup, Mounts, Requests, Store
from mastomend.vocabulary import Finding, State

if TYPE_CHECKING:
    from mastomend.inventory.deep import DeepReader


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check. `kinds` empty means all; `deep` None means sizes only.

    `list_concurrency` is how many connections list a bucket at once; `listing` names files that say what is held.
    `resume` allows to go on with a check that was cut off: what it saw then is not looked at again.
    """

    kinds: tuple[str, ...] = ()
    deep: Sample | None = None
    max_missing_percent: float | None = None
    list_concurrency: int = 32
    listing: tuple[Path, ...] = ()
    resume: bool = True


@dataclass(slots=True)
class KindReport:
    """One kind's numbers. Files: `expected`, `present` (whatever their state) and one count per state.

    Files that could not be looked at (`unseen`) are neither present nor broken.
    """

    kind: str
    records: int = 0
    records_broken: int = 0
    records_broken_local: int = 0
    expected: int = 0
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))

    @property
    def present(self) -> int:
        """Files that are there, sound or not."""
        return self.expected - self.states[State.MISSING] - self.unseen

    @property
    def unseen(self) -> int:
        """Files that could not be looked at."""
        return self.states[State.UNSERVABLE]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a bucket's requests were expected to be before it was listed, and at what price."""

    estimated_list: int
    price: Price | None

    def usd(self, requests: Requests) -> float | None:
        """What was really asked costs so much; None if the price is not known."""
        return None if self.price is None else self.price.of(lists=requests.list, heads=requests.head)


@dataclass(slots=True)
class CheckReport:
    """The result of a check; `findings` is the path of the Parquet file with the details.

    `obstacles` are what keeps files from being looked at, such as a directory this user may not enter, with the number
    of files behind each; the twenty greatest.
    """

    scan: str
    started_at: datetime
    domain: str
    version: Version
    storage: str
    kinds: list[KindReport]
    requests: Requests
    findings: Path
    duration_s: float = 0.0
    unsettled: int = 0
    deep_read: int = 0
    resumed: bool = False
    cost: Cost | None = None
    mass_loss: list[str] = field(default_factory=list)
    top_domains: list[tuple[str, int]] = field(default_factory=list)
    obstacles: list[tuple[str, int]] = field(default_factory=list)
    known: Counter[Outcome] = field(default_factory=Counter)
    next_try: datetime | None = None

    @property
    def broken(self) -> int:
        """Broken records of all kinds."""
        return sum(kind.records_broken for kind in self.kinds)

    @property
    def unseen(self) -> int:
        """Files of all kinds that could not be looked at."""
        return sum(kind.unseen for kind in self.kinds)

    @property
    def new(self) -> int:
        """Broken records the ledger knows nothing of."""
        return self.broken - self.known.total()

    @property
    def is_whole(self) -> bool:
        """Whether everything was seen and nothing is broken."""
        return not (self.broken or self.unseen or self.unsettled or self.mass_loss)


def choose_kinds(names: Sequence[str], available: Sequence[Kind]) -> tuple[Kind, ...]:
    """The kinds to work on; a class name such as `accounts` stands for all its kinds.

    Raises:
        ConfigurationError: a name this instance does not have.
    """
    if not names:
        return tuple(available)
    chosen = []
    for name in names:
        found = [k for k in available if name.strip("/") in (k.name, k.name.split("/")[0])]
        if not found:
            known = ", ".join(k.name for k in available)
            absent = " This version of Mastodon does not have it." if name in KIND_BY_NAME else ""
            raise ConfigurationError(f"There is no kind {name!r}.{absent}", hint=f"Kinds here: {known}")
        chosen += [k for k in found if k not in chosen]
    return tuple(chosen)


def refuse_mass_loss(reasons: Sequence[str]) -> None:
    """Stop what would change anything.

    Raises:
        SafetyStop: there are reasons.
    """
    if reasons:
        raise SafetyStop(
            " ".join(reasons) + " This looks like a disk that is not mounted or a wrong bucket. Nothing was changed.",
            hint="Mount what is missing. If the files really are gone, run the same command with --max-missing 100%.",
        )


def check(
    instance: Instance,
    options: CheckOptions = CheckOptions(),
    progress: Progress = Silent(),
    sleep: Callable[[float], None] = time.sleep,
) -> CheckReport:
    """Scan the instance.

    Raises:
        ConfigurationError, DatabaseError, StorageError: nothing could be compared; there is no report then.
    """
    clock = time.monotonic()
    configuration, settings = instance.configuration, instance.settings
    if journal_path(instance.state).exists():  # hours later would be late to say that it cannot be read
        Journal(instance.state).close()
    begun = _begin(instance, options)
    if begun.resumed:
        progress.note(
            f"Going on with check {begun.scan}, which was cut off; what it has seen since {begun.started_at:%H:%M} UTC is "
            "not looked at again (--fresh begins anew)."
        )
    with MastodonDatabase(
        configuration.database,
        f"mastomend check {begun.scan}",
        replica=configuration.replica,
        timeout_s=settings.statement_timeout_s,
        note=progress.note,
    ) as database:
        if database.version.note:
            progress.note(f"The database's schema is {database.version.note}")
        store = build_store(configuration.storage)
        try:
            holds_anything = store.probe()
            available = kinds_of(database)
            chosen = choose_kinds(options.kinds, available)
            database.require(must_see(chosen))
            refuse_ignored_prefix(instance, database.version)
            folder = instance.state / "scans" / begun.scan
            report = CheckReport(
                begun.scan,
                begun.started_at,
                configuration.local_domain,
                database.version,
                str(configuration.storage),
                [KindReport(k.name) for k in available],
                store.requests,
                folder / "findings.parquet",
                resumed=begun.resumed,
            )
            with workspace(folder, settings.memory_bytes, begun.scope, begun.started_at) as work:
                scan = _Scan(instance, database, store, work, begun.options, progress, sleep, report)
                scan.run(chosen)
                _summarize(work.connection, report)
                _join_ledger(work.connection, instance, report)
                limit = options.max_missing_percent
                limit = settings.max_missing_percent if limit is None else limit
                trees = _trees(scan, store)
                report.mass_loss = mass_loss(report.storage, trees, limit, holds_anything=holds_anything)
        finally:
            store.close()
        report.duration_s = time.monotonic() - clock
    return report


@dataclass(frozen=True, slots=True)
class _Begun:
    """The scan to make: a new one, or one that was cut off."""

    scan: str
    started_at: datetime
    options: CheckOptions
    scope: Scope
    resumed: bool


def _begin(instance: Instance, options: CheckOptions) -> _Begun:
    """A scan that was cut off is gone on with if it looks at the same things in the same way."""
    now = datetime.now(UTC)
    same = {
        "kinds": sorted(options.kinds),
        "mastomend": __version__,
        "storage": _identity(instance.configuration.storage),
        "database": str(instance.configuration.database),
        "deep": options.deep.percent if options.deep else None,
        "listing": [[str(file.absolute()), _modified(file)] for file in options.listing],
    }
    for earlier in unfinished(instance.state / "scans", now):
        if options.resume and all(earlier.scope.get(name) == value for name, value in same.items()):
            return _Begun(earlier.scan, earlier.started_at, _as_then(options, earlier), earlier.scope, resumed=True)
    seed = options.deep.seed if options.deep else None
    return _Begun(new_id(now), now, options, {**same, "seed": seed}, resumed=False)


def _identity(storage: Storage) -> str:
    """What tells one storage from another: all of its settings, and which directory a path leads to now."""
    if isinstance(storage, FilesystemStorage):
        with contextlib.suppress(OSError):  # it is not there: `probe` will say so
            status = Path(storage.root).stat()
            return f"{storage} {status.st_dev}:{status.st_ino}"
    return hashlib.sha256(repr(storage).encode()).hexdigest()


def _as_then(options: CheckOptions, earlier: Unfinished) -> CheckOptions:
    """The slice a deep check reads stays the one it began with."""
    seed = earlier.scope.get("seed")
    if options.deep is None or not isinstance(seed, int):
        return options
    return replace(options, deep=replace(options.deep, seed=seed))


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", hint="Check --listing.") from None


@dataclass(slots=True)
class _Scan:
    """The parts of one scan, and its passes."""

    instance: Instance
    database: MastodonDatabase
    store: Store
    work: Workspace
    options: CheckOptions
    progress: Progress
    sleep: Callable[[float], None]
    report: CheckReport
    last_seen: float = 0.0
    vanished: int = 0
    counts: dict[Kind, KindCount] = field(default_factory=dict)

    def run(self, kinds: Sequence[Kind]) -> None:
        reconcile.create(self.work)
        held.create(self.work)
        FINDINGS.create(self.work.connection, TABLE)
        tables = expected(self.work, kinds, self.instance.key_prefix)
        reports = {report.kind: report for report in self.report.kinds}
        self._read(tables, reports)
        deep = self._deep_reader()
        try:
            self._compare(tables, deep)
            for kind in kinds:
                self._second_look(kind, reports[kind.name], deep)
            if self.options.listing and self.vanished:
                self.progress.note(
                    f"The listing is older than the storage; differences that were none when looked at: {self.vanished:,}."
                )
        finally:
            if deep:
                self.report.deep_read = deep.read
                deep.close()
        FINDINGS.save(self.work.connection, TABLE, self.report.findings)

    def _deep_reader(self) -> DeepReader | None:
        if not self.options.deep:
            return None
        from mastomend.inventory.deep import DeepReader, find_ffprobe

        ffprobe = find_ffprobe(dict(self.instance.variables))
        if ffprobe is None:
            self.progress.note("ffprobe was not found: video and audio are checked by size only.")
        return DeepReader(self.store, self.options.deep, ffprobe, lambda: None)

    def _read(self, tables: Sequence[Expected], reports: dict[str, KindReport]) -> None:
        for table in tables:
            if not table.is_read:
                self.progress.start(f"{table.table}: rows", self.database.estimated_rows(table.table))
                table.read(self.database, self.progress.advance)
            for kind, count in table.count().items():
                self.counts[kind] = count
                reports[kind.name].records, reports[kind.name].expected = count.records, count.expected

    def _compare(self, tables: Sequence[Expected], deep: DeepReader | None) -> None:
        advance = self.progress.advance
        if isinstance(self.store, BulkLookup) and not self.options.listing:
            files = {report.kind: report.expected for report in self.report.kinds}
            for table in tables:
                self.progress.start(f"{table.table}: files", sum(files[kind.name] for kind in table.kinds))
                reconcile.by_lookup(table, self.store, advance, deep)
        else:
            if self.options.listing:
                self._read_files(tables)
            else:
                self._list(tables)
            self.progress.start("comparing", 0)
            reconcile.by_join(tables, self.work, deep)
        self.last_seen = time.monotonic()

    def _read_files(self, tables: Sequence[Expected]) -> None:
        self.progress.start("reading the listing", 0)
        storage = self.instance.configuration.storage
        listing = listing_files.read(self.work, self.options.listing, storage, tables)
        self.progress.advance(listing.objects)
        if not listing.sized:
            self.progress.note("The listing has no sizes: only missing files can be found with it.")

    def _list(self, tables: Sequence[Expected]) -> None:
        listing = held.BucketListing(self.store, tables, self.options.list_concurrency)
        self.report.cost = Cost(listing.requests, price(self.instance))
        self.progress.note(_announcement(self.report.cost, self.report.storage))
        self.progress.start("listing the bucket", listing.expected)
        listing.read(self.work, self.progress.advance)

    def _settle(self) -> None:
        wait = self.last_seen + self.instance.settings.settle_s - time.monotonic()
        if wait > 0:
            self.sleep(wait)

    def _settle_again(self) -> None:
        self.sleep(self.instance.settings.settle_s)

    def _second_look(self, kind: Kind, report: KindReport, deep: DeepReader | None) -> None:
        broken: set[int] = set()
        for number, batch in enumerate(candidate_batches(self.work.connection, kind)):
            if number == 0:
                self.progress.start(f"{kind.name}: second look", 0)
            self._settle()
            found, unsettled = confirm(
                self.database, self.store, kind, batch, self.instance.key_prefix, deep, self._settle_again
            )
            self.report.unsettled += unsettled
            self.vanished += len(batch) - len(found)
            FINDINGS.append(self.work.connection, TABLE, found)
            for finding in found:
                report.states[finding.state] += 1
            self._count_records(report, found, broken)
            self.progress.advance(len(batch))

    def _count_records(self, report: KindReport, found: Sequence[Finding], broken: set[int]) -> None:
        """Batches come in order of id, so only the last batch's records can appear again."""
        fresh = {f.id: f.is_local for f in found if f.id not in broken and f.state is not State.UNSERVABLE}
        report.records_broken += len(fresh)
        report.records_broken_local += sum(fresh.values())
        broken.clear()
        broken.update(fresh)


def _announcement(cost: Cost, storage: str) -> str:
    asked = f"About {cost.estimated_list:,} list requests will be made to {storage}"
    if cost.price is None:
        return f"{asked}."
    amount = dollars(cost.price.of(lists=cost.estimated_list))
    return f"{asked}: {amount} at the prices of {cost.price.name} read on {cost.price.read_on}."


def _summarize(connection: duckdb.DuckDBPyConnection, report: CheckReport) -> None:
    rows = connection.execute(
        "SELECT domain, count(DISTINCT (kind, id)) AS n FROM findings WHERE domain IS NOT NULL "
        "GROUP BY domain ORDER BY n DESC, domain LIMIT 5"
    ).fetchall()
    report.top_domains = [(domain, n) for domain, n in rows]
    rows = connection.execute(
        "SELECT detail, count(*) AS n FROM findings WHERE state = ? GROUP BY detail ORDER BY n DESC, detail LIMIT 20",
        [State.UNSERVABLE.value],
    ).fetchall()
    report.obstacles = [(reason, n) for reason, n in rows]


def _join_ledger(connection: duckdb.DuckDBPyConnection, instance: Instance, report: CheckReport) -> None:
    """What became of the broken records before; the table `ledger` (kind, id, outcome)."""
    connection.execute("CREATE OR REPLACE TABLE ledger (kind VARCHAR, id BIGINT, outcome VARCHAR)")
    if not journal_path(instance.state).exists():
        return
    with contextlib.closing(Journal(instance.state)) as journal:
        known = Ledger(journal, instance.settings.deferral)
        report.next_try = known.next_try([kind.kind for kind in report.kinds if kind.expected])
        for batch in known.tables():
            connection.execute("INSERT INTO ledger SELECT * FROM batch")
            del batch
    rows = connection.execute(
        "SELECT outcome, count(*) FROM ledger SEMI JOIN (SELECT kind, id FROM findings WHERE state <> ?) USING (kind, id) "
        "GROUP BY outcome",
        [State.UNSERVABLE.value],
    ).fetchall()
    report.known = Counter({Outcome(outcome): n for outcome, n in rows})


def _trees(scan: _Scan, store: Store) -> list[Tree]:
    """Every kind's files by the folder they lie in, with what is missing of them."""
    cached = f"{below(scan.instance.key_prefix)}{CACHE}"
    missing: Counter[tuple[str, bool]] = Counter()
    lost: Counter[tuple[str, bool]] = Counter()
    for kind, is_cached, n, n_lost in scan.work.connection.execute(
        "SELECT f.kind, starts_with(f.key, ?) AS cached, count(*), count(*) FILTER (l.outcome IN ('lost', 'gone')) "
        "FROM findings f LEFT JOIN ledger l USING (kind, id) WHERE f.state = ? AND f.key <> '' GROUP BY ALL",
        [cached, State.MISSING.value],
    ).fetchall():
        missing[kind, is_cached], lost[kind, is_cached] = n, n_lost
    trees = []
    for kind, count in scan.counts.items():
        for is_cached, expected_files in ((False, count.expected - count.cached), (True, count.cached)):
            prefix = (cached if is_cached else cached.removesuffix("cache/")) + f"{kind.name}/"
            place = (kind.name, is_cached)
            hole = None
            if isinstance(store, Mounts) and missing[place]:
                hole = store.hole(prefix) or _hole_below(scan, store, kind.name, prefix)
            elif NONE_OF <= expected_files == missing[place]:
                hole = f"Nothing is below {prefix} in {scan.report.storage}"
            trees.append(Tree(kind.name, prefix, expected_files, missing[place], lost[place], hole))
    return trees


def _hole_below(scan: _Scan, store: Mounts, kind: str, prefix: str) -> str | None:
    """A disk may be mounted further down: the first folder below the kind's that should hold many files and is empty."""
    rows = scan.work.connection.execute(
        "SELECT split_part(substr(key, ?), '/', 1) AS folder, count(*) AS n FROM findings "
        "WHERE kind = ? AND state = ? AND starts_with(key, ?) GROUP BY folder ORDER BY folder",
        [len(prefix) + 1, kind, State.MISSING.value, prefix],
    ).fetchall()
    for folder, n in rows:
        hole = store.hole(f"{prefix}{folder}/")
        if hole is not None and (n >= MANY_FILES or not store.may_be_damage(f"{prefix}{folder}/")):
            return hole
    return None
