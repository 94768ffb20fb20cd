"""`check`: compare what the database expects with what the storage holds. Changes nothing outside the state directory.

One snapshot, one pass per kind, a second look at every difference, findings in Parquet. See `inventory.reconcile` for
the first pass and `inventory.confirm` for why a busy server gives no false alarms.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from mastomend.commands.instance import Instance
from mastomend.commands.progress import Progress, Silent
from mastomend.errors import ConfigurationError
from mastomend.inventory import findings as finding_table
from mastomend.inventory import reconcile
from mastomend.inventory.confirm import candidate_batches, confirm
from mastomend.inventory.database import MastodonDatabase, Snapshot
from mastomend.inventory.rows import kinds_of
from mastomend.inventory.sample import Sample
from mastomend.inventory.workspace import workspace
from mastomend.mastodon.kinds import KIND_BY_NAME, Kind, by_table
from mastomend.mastodon.versions import Version
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import BulkLookup, Requests, Store
from mastomend.vocabulary import Finding, State

if TYPE_CHECKING:
    from mastomend.inventory.deep import DeepReader

MASS_LOSS_FILES = 100


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check. `kinds` empty means all; `deep` None means sizes only.

    `list_concurrency` is how many connections list a bucket at once.
    """

    kinds: tuple[str, ...] = ()
    deep: Sample | None = None
    max_missing_percent: float | None = None
    list_concurrency: int = 32


@dataclass(slots=True)
class KindReport:
    """One kind's numbers. Files: `expected`, `present` (whatever their state) and one count per state."""

    kind: str
    records: int = 0
    records_broken: int = 0
    records_broken_local: int = 0
    expected: int = 0
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))

    @property
    def present(self) -> int:
        """Files that are there, sound or not."""
        return self.expected - self.states[State.MISSING]


@dataclass(slots=True)
class CheckReport:
    """The result of a check; `findings` is the path of the Parquet file with the details."""

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
    mass_loss: list[str] = field(default_factory=list)
    top_domains: list[tuple[str, int]] = field(default_factory=list)

    @property
    def broken(self) -> int:
        """Broken records of all kinds."""
        return sum(kind.records_broken for kind in self.kinds)


def new_id(now: datetime) -> str:
    """A name for a scan or a run: sorts by time, unique."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


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
    started, clock = datetime.now(UTC), time.monotonic()
    scan = new_id(started)
    with MastodonDatabase(instance.configuration.database, f"mastomend check {scan}") as database:
        if database.version.note:
            progress.note(f"The database's schema is {database.version.note}")
        store = build_store(instance.configuration.storage)
        try:
            holds_anything = store.probe()
            available = kinds_of(database)
            chosen = choose_kinds(options.kinds, available)
            folder = instance.state / "scans" / scan
            with workspace(folder, instance.settings.memory_bytes) as connection:
                report = CheckReport(
                    scan,
                    started,
                    instance.configuration.local_domain,
                    database.version,
                    str(instance.configuration.storage),
                    [KindReport(k.name) for k in available],
                    store.requests,
                    folder / "findings.parquet",
                )
                _Scan(instance, database, store, connection, options, progress, sleep, report).run(chosen)
                _summarize(connection, report)
        finally:
            store.close()
        limit = options.max_missing_percent
        limit = instance.settings.max_missing_percent if limit is None else limit
        report.mass_loss = mass_loss(report, limit, holds_anything=holds_anything)
        report.duration_s = time.monotonic() - clock
    return report


@dataclass(slots=True)
class _Scan:
    """The parts of one scan, and its two passes."""

    instance: Instance
    database: MastodonDatabase
    store: Store
    connection: duckdb.DuckDBPyConnection
    options: CheckOptions
    progress: Progress
    sleep: Callable[[float], None]
    report: CheckReport
    last_seen: float = 0.0

    def run(self, kinds: Sequence[Kind]) -> None:
        reconcile.create(self.connection)
        finding_table.create(self.connection)
        deep = None
        if self.options.deep:
            from mastomend.inventory.deep import DeepReader, find_ffprobe

            ffprobe = find_ffprobe(dict(self.instance.variables))
            if ffprobe is None:
                self.progress.note("ffprobe was not found: video and audio are checked by size only.")
            deep = DeepReader(self.store, self.options.deep, ffprobe, lambda: None)
        reports = {report.kind: report for report in self.report.kinds}
        try:
            with self.database.snapshot() as snapshot:
                for group in by_table(kinds):
                    self._first_pass(snapshot, group, reports, deep)
            for kind in kinds:
                self._second_look(kind, reports[kind.name], deep)
        finally:
            if deep:
                self.report.deep_read = deep.read
                deep.close()
        finding_table.save(self.connection, self.report.findings)

    def _first_pass(
        self, snapshot: Snapshot, kinds: tuple[Kind, ...], reports: dict[str, KindReport], deep: DeepReader | None
    ) -> None:
        rows = self.database.estimated_rows(kinds[0].table)
        self.progress.start(" + ".join(k.name for k in kinds), rows * len(kinds))
        shared = (self.connection, snapshot, self.database)
        if isinstance(self.store, BulkLookup):
            counts = reconcile.by_lookup(*shared, self.store, kinds, self.progress.advance, deep)
        else:
            prefix = self.instance.key_prefix
            connections = self.options.list_concurrency
            counts = reconcile.by_listing(*shared, self.store, kinds, prefix, connections, self.progress.advance, deep)
        if deep:
            reconcile.add_candidates(self.connection, deep.drain())
        for kind, count in counts.items():
            reports[kind.name].records, reports[kind.name].expected = count.records, count.expected
        self.last_seen = time.monotonic()

    def _settle(self) -> None:
        wait = self.last_seen + self.instance.settings.settle_s - time.monotonic()
        if wait > 0:
            self.sleep(wait)

    def _settle_again(self) -> None:
        self.sleep(self.instance.settings.settle_s)

    def _second_look(self, kind: Kind, report: KindReport, deep: DeepReader | None) -> None:
        broken: set[int] = set()
        for number, batch in enumerate(candidate_batches(self.connection, kind)):
            if number == 0:
                self.progress.start(f"{kind.name}: second look", 0)
            self._settle()
            found, unsettled = confirm(
                self.database, self.store, kind, batch, self.instance.key_prefix, deep, self._settle_again
            )
            self.report.unsettled += unsettled
            finding_table.append(self.connection, found)
            for finding in found:
                report.states[finding.state] += 1
            self._count_records(report, found, broken)
            self.progress.advance(len(batch))

    def _count_records(self, report: KindReport, found: Sequence[Finding], broken: set[int]) -> None:
        """Batches come in order of id, so only the last batch's records can appear again."""
        fresh = {f.id: f.is_local for f in found if f.id not in broken}
        report.records_broken += len(fresh)
        report.records_broken_local += sum(fresh.values())
        broken.clear()
        broken.update(fresh)


def _summarize(connection: duckdb.DuckDBPyConnection, report: CheckReport) -> None:
    rows = connection.execute(
        "SELECT domain, count(DISTINCT (kind, id)) AS n FROM findings WHERE domain IS NOT NULL "
        "GROUP BY domain ORDER BY n DESC, domain LIMIT 5"
    ).fetchall()
    report.top_domains = [(domain, n) for domain, n in rows]


def mass_loss(report: CheckReport, max_missing_percent: float, *, holds_anything: bool) -> list[str]:
    """Why the numbers look like an unmounted disk rather than like damage; empty if they do not (product.md)."""
    if max_missing_percent >= 100:
        return []
    reasons = []
    if not holds_anything and any(k.expected for k in report.kinds):
        reasons.append(f"{report.storage} is empty, but the database expects files in it.")
    for kind in report.kinds:
        missing = kind.states[State.MISSING]
        if kind.expected >= MASS_LOSS_FILES and missing * 100 > max_missing_percent * kind.expected:
            share = missing * 100 / kind.expected
            reasons.append(f"{share:.0f} % of {kind.kind} is missing ({missing:,} of {kind.expected:,} files).")
    return reasons
