"""A scan: what the database expects, what the storage holds, and what differs, as one value every command can take.

`scan` reads each table once, looks keys up or lists the storage, compares, looks at every difference again after a rest, and
gives an `Inventory`: relations in the scan's workspace, and the numbers that belong to them. It decides nothing: whether
that is damage, an unmounted disk or nothing at all is for its reader to say.

All of it is steps in the workspace (`workspace`): what was cut off is gone on with, by the command it belongs to.
See `expected` for what is read, `reconcile` for the comparison, `confirm` for why a busy server gives no false alarms.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mastomend.database.reader import MastodonDatabase
from mastomend.inventory import held, listing_files, reconcile, strays
from mastomend.inventory.confirm import candidate_batches, confirm
from mastomend.inventory.expected import Expected, KindCount, expected
from mastomend.inventory.findings import FINDINGS, TABLE
from mastomend.inventory.sample import Sample
from mastomend.inventory.weigh import tell_missing, weigh
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.kinds import Kind
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.mastodon.storage_settings import Storage
from mastomend.progress import Progress
from mastomend.storage.ports import BulkLookup, Store
from mastomend.vocabulary import Finding, State

if TYPE_CHECKING:
    from mastomend.inventory.deep import DeepReader


@dataclass(frozen=True, slots=True)
class Want:
    """What a scan looks at. `deep` None means sizes only; `listing` names files that say what is held.

    `everything` lists all there is, whether anything is expected there or not: only then there are strays. `described` also
    takes whose each record is and how old (`Expected.described`). `weighed` takes what each file takes (`weigh`) instead of
    looking for what is broken; of that only what is missing is told, without a second look. `connections` list a bucket at
    once; `settle_s` is how long a difference rests before it is looked at again.
    """

    kinds: tuple[Kind, ...]
    selection: Selection = EVERYTHING
    deep: Sample | None = None
    listing: tuple[Path, ...] = ()
    everything: bool = False
    described: bool = False
    weighed: bool = False
    connections: int = 32
    settle_s: float = 2.0

    def __post_init__(self) -> None:
        if self.everything and self.selection != EVERYTHING:
            raise ValueError("what a selection leaves out would look like nobody's")


@dataclass(frozen=True, slots=True)
class Scanned:
    """Where it is looked: the database, the storage with its settings, and ffprobe, if there is one."""

    database: MastodonDatabase
    store: Store
    storage: Storage
    ffprobe: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who hears of it. `listing` is told how many list requests are to come; `sleep` waits so many seconds."""

    progress: Progress
    listing: Callable[[int], None] = lambda requests: None
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Broken:
    """What is wrong with one kind: records, the local ones of them, and files by state."""

    records: int = 0
    local: int = 0
    files: Counter[State] = field(default_factory=Counter)


@dataclass(slots=True)
class Inventory:
    """What a scan found, for as long as its workspace is open.

    The relation `findings` (columns as in findings.parquet) holds every true difference; `expected` gives, for each table, the
    relation of what it expects; where everything was listed, `stray` (key, size, modified, why) holds what nobody expects.
    `counts` are records and files by kind, `broken` what is wrong with them. `unsettled` records never came to rest;
    `vanished` differences were none when looked at again; `read` files were read to their end.
    """

    work: Workspace
    expected: Sequence[Expected]
    counts: dict[Kind, KindCount] = field(default_factory=dict)
    broken: dict[Kind, Broken] = field(default_factory=dict)
    unsettled: int = 0
    vanished: int = 0
    read: int = 0

    @property
    def records(self) -> int:
        """Records with a file that were looked at."""
        return sum(count.records for count in self.counts.values())

    def save_findings(self, path: Path, part: str) -> None:
        """The findings as Parquet; `part` says in words what was looked at, if that was not everything."""
        FINDINGS.save(self.work.connection, TABLE, path, {"part": part})


@contextmanager
def scan(of: Scanned, want: Want, work: Workspace, watch: Watch) -> Iterator[Inventory]:
    """Take the inventory.

    Raises:
        DatabaseError, StorageError: it cannot be completed; what was seen so far stays in the workspace.
        ConfigurationError: a listing cannot be used.
    """
    reconcile.create(work)
    held.create(work)
    if want.everything:
        strays.create(work)
    FINDINGS.create(work.connection, TABLE)
    tables = expected(work, want.kinds, of.storage.key_prefix, want.selection, described=want.described)
    inventory = Inventory(work, tables, broken={kind: Broken() for kind in want.kinds})
    _Scan(of, want, watch, inventory).run()
    yield inventory


@dataclass(slots=True)
class _Scan:
    """The passes of one scan."""

    of: Scanned
    want: Want
    watch: Watch
    inventory: Inventory
    last_seen: float = 0.0

    def run(self) -> None:
        self._read()
        if self.want.weighed:
            weigh(
                self.inventory.expected,
                self.of.store,
                self.inventory.work,
                self.watch.progress,
                self.want.connections,
                self.watch.listing,
                few=self._is_few(),
            )
            tell_missing(self.inventory.expected, self.inventory.work)
            return
        deep = self._deep_reader()
        try:
            self._compare(deep)
            for kind in self.want.kinds:
                self._second_look(kind, deep)
            if self.want.listing and self.inventory.vanished:
                self.watch.progress.note(
                    "The listing is older than the storage; differences that were none when looked at: "
                    f"{self.inventory.vanished:,}."
                )
        finally:
            if deep:
                self.inventory.read = deep.read
                deep.close()

    def _deep_reader(self) -> DeepReader | None:
        if not self.want.deep:
            return None
        from mastomend.inventory.deep import DeepReader  # loads libvips, which only this needs

        if self.of.ffprobe is None:
            self.watch.progress.note("ffprobe was not found: video and audio are checked by size only.")
        return DeepReader(self.of.store, self.want.deep, self.of.ffprobe, lambda: None)

    def _read(self) -> None:
        progress = self.watch.progress
        for table in self.inventory.expected:
            if not table.is_read:
                progress.start(f"{table.table}: rows", self.of.database.estimated_rows(table.table))
                table.read(self.of.database, progress.advance)
            self.inventory.counts |= table.count()

    def _compare(self, deep: DeepReader | None) -> None:
        progress, tables = self.watch.progress, self.inventory.expected
        if isinstance(self.of.store, BulkLookup) and not self.want.listing and not self.want.everything:
            for table in tables:
                files = sum(self.inventory.counts[kind].expected for kind in table.kinds)
                progress.start(f"{table.table}: files", files)
                reconcile.by_lookup(table, self.of.store, progress.advance, deep)
        else:
            if self.want.listing:
                self._read_files()
            else:
                self._list()
            progress.start("comparing", 0)
            reconcile.by_join(tables, self.inventory.work, deep)
        if self.want.everything:
            progress.start("sorting out", 0)
            strays.sort_out(self.inventory.work, tables, self.of.storage.key_prefix)
        self.last_seen = time.monotonic()

    def _read_files(self) -> None:
        progress = self.watch.progress
        progress.start("reading the listing", 0)
        listing = listing_files.read(self.inventory.work, self.want.listing, self.of.storage, self.inventory.expected)
        progress.advance(listing.objects)
        if not listing.sized:
            progress.note("The listing has no sizes: only missing files can be found with it.")

    def _list(self) -> None:
        tables = self.inventory.expected
        if self._is_few():
            self.watch.progress.start("looking files up", sum(c.expected for c in self.inventory.counts.values()))
            held.look_up(self.of.store, tables, self.inventory.work, self.watch.progress.advance)
            return
        listing = held.StorageListing(self.of.store, tables, self.want.connections, everything=self.want.everything)
        self.watch.listing(listing.requests)
        self.watch.progress.start("listing the storage", listing.expected)
        listing.read(self.inventory.work, self.watch.progress.advance)

    def _is_few(self) -> bool:
        """Whether so little is selected that it is not worth a listing. What a scan listed before it was cut off counts."""
        if self.want.selection == EVERYTHING or self.want.everything:
            return False
        return held.is_few(self.inventory.expected, self.of.database.estimated_rows)

    def _settle(self) -> None:
        wait = self.last_seen + self.want.settle_s - time.monotonic()
        if wait > 0:
            self.watch.sleep(wait)

    def _settle_again(self) -> None:
        self.watch.sleep(self.want.settle_s)

    def _second_look(self, kind: Kind, deep: DeepReader | None) -> None:
        connection, seen = self.inventory.work.connection, set[int]()
        broken = self.inventory.broken[kind]
        for number, batch in enumerate(candidate_batches(connection, kind)):
            if number == 0:
                self.watch.progress.start(f"{kind.name}: second look", 0)
            self._settle()
            prefix = self.of.storage.key_prefix
            found, unsettled = confirm(self.of.database, self.of.store, kind, batch, prefix, deep, self._settle_again)
            self.inventory.unsettled += unsettled
            self.inventory.vanished += len(batch) - len(found)
            FINDINGS.append(connection, TABLE, found)
            broken.files.update(finding.state for finding in found)
            _count_records(broken, found, seen)
            self.watch.progress.advance(len(batch))


def _count_records(broken: Broken, found: Sequence[Finding], seen: set[int]) -> None:
    """Batches come in order of id, so only the last batch's records can appear again."""
    fresh = {f.id: f.is_local for f in found if f.id not in seen and f.state is not State.UNSERVABLE}
    broken.records += len(fresh)
    broken.local += sum(fresh.values())
    seen.clear()
    seen.update(fresh)
