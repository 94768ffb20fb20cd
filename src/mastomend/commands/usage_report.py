"""What `usage` is told, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from mastomend.inventory.usage import Amount, Counted
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.plans.prices import Price


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """What to count: `kinds` without `but_kinds`, of what is selected; `top` servers and accounts. `price` names a provider
    or a file of prices; None is the bucket's own.
    """

    kinds: tuple[str, ...] = ()
    but_kinds: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    top: int = 10
    price: str | None = None
    list_concurrency: int = 32
    resume: bool = True


@dataclass(frozen=True, slots=True)
class Growth:
    """How the storage has grown since an earlier count."""

    since: datetime
    bytes_per_day: float


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk the media are on, in bytes, and when it will be full if it goes on growing so; None if it does not grow."""

    total: int
    free: int
    full_on: date | None


@dataclass(slots=True)
class UsageReport:
    """The result, in files and bytes the storage holds. `kinds` are those that were counted; `domains` and `accounts` (with
    their names) take most; `ages` are cached files by days, `styles` by kind. `apart` is no record's; `difference` explains
    what is held beyond what the database claims. `total` is all that is there, whatever is selected; `versions` (that are
    not the newest) and `uploads` in parts that were never finished are billed by a bucket besides, None where it does not tell.
    """

    scan: str
    started_at: datetime
    domain: str
    storage: str
    total: Amount
    kinds: list[Counted] = field(default_factory=list)
    domains: list[tuple[str, Amount]] = field(default_factory=list)
    accounts: list[tuple[str, int, Amount]] = field(default_factory=list)
    ages: list[tuple[int | None, Amount]] = field(default_factory=list)
    styles: list[tuple[str, str, Amount]] = field(default_factory=list)
    apart: dict[str, Amount] = field(default_factory=dict)
    difference: dict[str, int] = field(default_factory=dict)
    is_selected: bool = False
    price: Price | None = None
    growth: Growth | None = None
    disk: Disk | None = None
    versions: Amount | None = None
    uploads: Amount | None = None
    duration_s: float = 0.0
    report: Path = Path()

    @property
    def used(self) -> Amount:
        """What records that were counted have."""
        return sum((one.local + one.cached for one in self.kinds), Amount())

    @property
    def untold(self) -> list[str]:
        """What the store does not tell, and bills."""
        untold = [] if self.versions is not None else ["old versions of objects"]
        return untold if self.uploads is not None else [*untold, "unfinished multipart uploads"]

    @property
    def billed(self) -> int:
        """All the bytes that are known to be kept."""
        return (self.total + (self.versions or Amount()) + (self.uploads or Amount())).bytes

    @property
    def claimed(self) -> int:
        """What the database says of their originals, in bytes."""
        return sum(one.claimed for one in self.kinds)

    @property
    def a_month(self) -> float | None:
        """What all of it costs in a month, in US dollars; None if no price is known."""
        return None if self.price is None else self.price.month(self.billed)
