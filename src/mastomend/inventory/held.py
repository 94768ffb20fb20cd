"""What a storage holds, in the scan's workspace: from its own listing, or from a listing somebody made before.

Of every object only a digest of its key (MD5, 128 bits) and its size are kept, 24 bytes instead of a hundred: the
join then fits into memory four times longer. At 300 million objects against 300 million expectations the chance that
any two different keys share a digest is below 10⁻²¹; a wrong bit in memory is likelier by far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from arro3.core import Array, DataType, RecordBatch, Table

from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace
from mastomend.storage.ports import MISSING, Listing, Lookup
from mastomend.storage.ranges import KeyRange, RangedListing, cut, list_in_ranges

#: A range of fewer keys is not worth a connection of its own.
RANGE = 4_000
PAGE = 1_000
_TOGETHER = 16
#: Objects that are looked up at the price of a page of a listing, and so many together.
_LOOKUPS_A_PAGE, _LOOKED_UP = 10, 1_000


#: Where the objects of the scan's own storage are kept.
HELD = "held"


def create(work: Workspace, into: str = HELD) -> None:
    """The table of that name (digest, size), and `listed_…` (which ranges are done)."""
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS {into} (digest UHUGEINT, size BIGINT)")
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS listed_{into} (prefix VARCHAR, after VARCHAR, until VARCHAR)")


class StorageListing:
    """The listing of a storage, over many connections where that is possible: below the prefixes of some tables, or of
    everything there is, whose keys and times are then kept, too.
    """

    def __init__(
        self,
        store: Listing,
        tables: Sequence[Expected],
        connections: int,
        *,
        everything: bool = False,
        into: str = HELD,
    ) -> None:
        self._store = store
        self._into = into
        self._everything = everything
        self._connections = connections if isinstance(store, RangedListing) else 1
        counts = {prefix: n for table in tables for prefix, n in table.below().items()}
        self.expected = sum(counts.values())
        cuts = {
            prefix: table.cuts(prefix, min(self._connections, counts[prefix] // RANGE))
            for table in tables
            for prefix in table.prefixes()
        }
        if everything:
            bounds = [key for keys in cuts.values() for key in keys] if isinstance(store, RangedListing) else []
            self.ranges = cut("", bounds)
        else:
            self.ranges = [part for prefix, keys in cuts.items() for part in cut(prefix, keys)]
        #: List requests this takes if the bucket holds what is expected.
        self.requests = sum(max(1, -(-n // PAGE)) for n in counts.values())

    def read(self, work: Workspace, advance: Callable[[int], None]) -> None:
        """List what is not listed yet into that table.

        Raises:
            StorageError: the listing could not be completed; what was listed so far is kept.
        """
        done = work.connection.execute(f"SELECT prefix, after, until FROM listed_{self._into}").fetchall()
        left = [part for whole in self.ranges for part in _without(whole, [KeyRange(*row) for row in done])]
        waiting: list[RecordBatch] = []
        for event in self._events(left):
            if isinstance(event, KeyRange):
                self._keep(work, waiting)
                ended = [event.prefix, event.after, event.until]
                work.connection.execute(f"INSERT INTO listed_{self._into} VALUES (?, ?, ?)", ended)
                continue
            waiting.append(event)
            advance(event.num_rows)
            if len(waiting) >= _TOGETHER:
                self._keep(work, waiting)
        self._keep(work, waiting)

    def _keep(self, work: Workspace, waiting: list[RecordBatch]) -> None:
        if waiting:
            batch = Table.from_batches(waiting)
            work.connection.execute(f"INSERT INTO {self._into} SELECT md5_number(key), size FROM batch")
            if self._everything:
                work.connection.execute("INSERT INTO objects SELECT key, size, modified FROM batch")
            del batch
            waiting.clear()

    def _events(self, left: Sequence[KeyRange]) -> Iterator[RecordBatch | KeyRange]:
        if isinstance(self._store, RangedListing):
            yield from list_in_ranges(self._store, left, self._connections)
            return
        for whole in left:
            yield from self._store.list(whole.prefix)
            yield whole


def is_few(tables: Sequence[Expected], rows: Callable[[str], int]) -> bool:
    """Whether asking for each expected file is cheaper than listing what all records have, of which there are that many
    `rows` by table as far as anybody knows: looking an object up costs a twelfth of a page, and as many are asked for at once.
    """
    files = sum(count.expected for table in tables for count in table.count().values())
    pages = sum(max(len(table.prefixes()), rows(table.table) // PAGE) for table in tables)
    return files <= _LOOKUPS_A_PAGE * pages


def look_up(
    store: Lookup, tables: Sequence[Expected], work: Workspace, advance: Callable[[int], None], into: str = HELD
) -> None:
    """Ask for each file those tables expect, and keep what is there in that table, as if it had been listed.

    Raises:
        StorageError: the storage as a whole does not answer.
    """
    for table in tables:
        if work.did(step := f"looked up {into} {table.table}"):
            continue
        with work.step(step) as connection, work.connection.cursor() as reader:
            keys = reader.execute(f"SELECT key FROM ({table.files()}) WHERE key IS NOT NULL")
            while some := [key for (key,) in keys.fetchmany(_LOOKED_UP)]:
                sizes = store.sizes(some)
                batch = Table.from_pydict(
                    {"key": Array(some, type=DataType.string()), "size": Array(sizes, type=DataType.int64())}
                )
                connection.execute(
                    f"INSERT INTO {into} SELECT md5_number(key), size FROM batch WHERE size <> {MISSING}"
                )
                del batch
                advance(len(some))


def _without(whole: KeyRange, done: Sequence[KeyRange]) -> list[KeyRange]:
    """What of a range is in none of the others."""
    gaps = []
    position, lowest = whole.after, whole.after or ""
    for part in sorted((d for d in done if d.prefix == whole.prefix), key=lambda d: d.after or ""):
        low = part.after or ""
        if whole.until is not None and low >= whole.until:
            break
        if low > lowest:
            gaps.append(KeyRange(whole.prefix, position, part.after))
        if part.until is None:
            return gaps
        if part.until > lowest:
            position, lowest = part.until, part.until
    if whole.until is None or lowest < whole.until:
        gaps.append(KeyRange(whole.prefix, position, whole.until))
    return gaps
