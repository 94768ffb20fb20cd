"""What `orphans` is told, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mastomend.inventory.strays import Sighted
from mastomend.outcomes import Purged, SetAside
from mastomend.plans.orphans import SORTS
from mastomend.reasons import Reason
from mastomend.vocabulary import Done, Stray

#: How many files that were left are named.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class OrphansOptions:
    """What may be moved away: what was last written `min_age` ago. `quarantine` False deletes at once.

    `purge_after` None keeps what earlier runs have set aside. `max_percent` is how much of all may be nobody's before it looks
    like a wrong database; `max_missing_percent` as for a check.
    """

    kinds: tuple[str, ...] = ()
    apply: bool = False
    min_age: timedelta = timedelta(hours=24)
    quarantine: bool = True
    purge_after: timedelta | None = timedelta(days=30)
    max_percent: float = 50.0
    max_missing_percent: float | None = None
    list_concurrency: int = 32
    resume: bool = True


@dataclass(slots=True)
class OrphansReport:
    """The result. `sorts` are the numbers of every sort of stray; `quarantined`, `purged` and `left` are what became of
    those that were ready, `expired` files of earlier runs that were purged from the quarantine. `stops` says why nothing would
    be moved.
    """

    run: str
    applied: bool
    scan: str
    strays: Path
    first_scan: bool
    sorts: dict[Stray, Sighted] = field(default_factory=dict)
    quarantined: int = 0
    quarantined_bytes: int = 0
    purged: int = 0
    purged_bytes: int = 0
    expired: int = 0
    left: list[str] = field(default_factory=list)
    left_alone: int = 0
    stops: list[str] = field(default_factory=list)
    report: Path = Path()
    duration_s: float = 0.0

    def sighted(self, *sorts: Stray) -> Iterator[Sighted]:
        """The numbers of those sorts."""
        return (self.sorts[sort] for sort in sorts if sort in self.sorts)

    @property
    def objects(self) -> int:
        """Files nobody expects, but for what is not understood."""
        return sum(one.files for one in self.sighted(*SORTS))

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(one.bytes for one in self.sighted(*SORTS))

    @property
    def ready(self) -> int:
        """Those of them that may be moved."""
        return sum(one.ready for one in self.sighted(*SORTS))

    def count(self, done: Done) -> None:
        """Add what became of one file."""
        match done.verdict:
            case SetAside(bytes=size):
                self.quarantined += 1
                self.quarantined_bytes += size
            case Purged(reason=Reason.EXPIRED):
                self.expired += 1
            case Purged(bytes=size):
                self.purged += 1
                self.purged_bytes += size
            case _:
                self.left_alone += 1
                if len(self.left) < _SHOWN:
                    self.left.append(f"{done.subject}: {done.verdict.detail}")

    @property
    def ready_bytes(self) -> int:
        """Their bytes."""
        return sum(one.ready_bytes for one in self.sighted(*SORTS))
