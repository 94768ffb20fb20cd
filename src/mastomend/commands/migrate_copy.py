"""Copying what one storage lacks from the other. Every row is looked at again right before its files are copied, so that what
was replaced or deleted meanwhile is not; what cannot be copied is told, and the others go on.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mastomend.commands.migrate_report import MigrateReport
from mastomend.commands.public import current, is_hidden
from mastomend.database.reader import MastodonDatabase
from mastomend.images.decode import sniff
from mastomend.inventory.crossing import Tally, Work, batches
from mastomend.mastodon.keys import ORIGINAL, ExpectedFile, Key, below
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Outcome, OutcomeRow
from mastomend.progress import Progress
from mastomend.reasons import Reason
from mastomend.storage.carrying import Delivery, Pace, Parcel, carry
from mastomend.storage.ports import Store
from mastomend.vocabulary import Row

Found = tuple[Kind, Row, ExpectedFile, Work]
_UNKNOWN = "application/octet-stream"


def type_of(head: bytes, parcel: Parcel) -> str:
    """The content type Mastodon would send: what the bytes are, else what their row says, else what their name says."""
    return sniff(head) or parcel.claimed or mimetypes.guess_type(parcel.target)[0] or _UNKNOWN


@dataclass(slots=True)
class Copier:
    """Copies the files of a work list (`inventory.crossing`) from one storage to the other, and counts in `report`.

    `trouble` keeps those that were not copied, for the run's report.
    """

    database: MastodonDatabase
    source: Store
    target: Store
    prefixes: tuple[str, str]
    pace: Pace
    report: MigrateReport
    progress: Progress
    is_to_disk: bool = False
    path: Path = Path()
    trouble: list[OutcomeRow] = field(default_factory=list)
    _works: dict[Key, Work] = field(default_factory=dict)

    def carry(self) -> None:
        """Copy them.

        Raises:
            StorageError, DatabaseError: one of both is lost; what was copied stays, and the same command goes on.
        """
        failed: list[tuple[Work, Delivery]] = []
        for delivery in carry(self.source, self.target, self._parcels(), type_of, self.pace):
            work = self._works.pop(delivery.parcel.source)
            self.progress.advance(1)
            if delivery.trouble is None:
                self.report.copied += Tally(1, delivery.bytes)
            else:
                failed.append((work, delivery))
        self._look_again(failed)

    def _parcels(self) -> Iterator[Parcel]:
        here, there = (below(prefix) for prefix in self.prefixes)
        for works in batches(self.path):
            left = len(works)
            some = list(current(self.database, works, self.prefixes[0]))
            better = self._better_there(some, here, there)
            for kind, row, file, work in some:
                left -= 1
                if file.key in better:
                    self.progress.advance(1)
                    self.report.tell(
                        file.key, f"damaged where it comes from ({work.size:,} bytes); the copy there is whole"
                    )
                    continue
                self._works[file.key] = work
                claimed = row.record.content_type if work.style == ORIGINAL else None
                hidden = is_hidden(kind, row, file.key, self.prefixes[0], on_disk=self.is_to_disk)
                yield Parcel(file.key, Key(there + file.key.removeprefix(here)), work.size, claimed, hidden)
            self.report.skipped += left
            self.progress.advance(left)

    def _better_there(self, some: list[Found], here: str, there: str) -> set[Key]:
        """Files of another size than their rows say, whose copies have the right one: those are not written over."""
        odd = [file for _, _, file, work in some if file.size is not None and work.size != file.size]
        sizes = self.target.sizes([there + file.key.removeprefix(here) for file in odd]) if odd else []
        return {file.key for file, size in zip(odd, sizes, strict=True) if size == file.size}

    def _look_again(self, failed: list[tuple[Work, Delivery]]) -> None:
        """What has gone with its row needs no copy, nor what was replaced by a file that is where it belongs."""
        for start in range(0, len(failed), 500):
            some = failed[start : start + 500]
            still = {(work.kind, work.id, work.style): (row, file) for _, row, file, work in
                     current(self.database, [work for work, _ in some], self.prefixes[0])}  # fmt: skip
            arrived = self.target.sizes([delivery.parcel.target for _, delivery in some])
            for (work, delivery), size in zip(some, arrived, strict=True):
                found = still.get((work.kind, work.id, work.style))
                came_otherwise = size >= 0 and size != work.size
                if found is None or found[1].key != delivery.parcel.source or came_otherwise:
                    self.report.skipped += 1
                    continue
                row, why = found[0], str(delivery.trouble)
                self.report.failed += 1
                self.report.tell(delivery.parcel.source, why)
                self.trouble.append(
                    OutcomeRow(
                        work.kind, work.id, row.record.is_local, row.domain, row.remote_url, Outcome.REFUSED, None,
                        Reason.UNREADABLE.value, why,
                    )
                )  # fmt: skip
