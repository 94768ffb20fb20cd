"""What a check found, as numbers and a few words; the details are in its findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mastomend.commands.costs import Cost
from mastomend.inventory.scan import Inventory
from mastomend.mastodon.kinds import Kind
from mastomend.mastodon.versions import Version
from mastomend.outcomes import Outcome
from mastomend.plans.public import Cause
from mastomend.storage.ports import Requests
from mastomend.vocabulary import State


@dataclass(slots=True)
class PublicReport:
    """How many files were asked for, and how many of each cause do not reach the public (by kind)."""

    asked: int
    causes: dict[Cause, int]
    by_kind: dict[str, int]


@dataclass(slots=True)
class KindReport:
    """One kind's numbers. Files: `expected`, `present` (whatever their state) and one count per state.

    Files that could not be looked at (`unseen`) are neither present nor broken. `hidden` ones are whole and do not reach the
    public; as `unseen` ones they are `unservable`. `known` are the broken records a repair has come to something with.
    """

    kind: str
    records: int = 0
    records_broken: int = 0
    records_broken_local: int = 0
    expected: int = 0
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    hidden: int = 0
    known: Counter[Outcome] = field(default_factory=Counter)

    @property
    def present(self) -> int:
        """Files that are there, sound or not."""
        return self.expected - self.states[State.MISSING] - self.unseen

    @property
    def unseen(self) -> int:
        """Files that could not be looked at."""
        return self.states[State.UNSERVABLE] - self.hidden


@dataclass(slots=True)
class CheckReport:
    """The result of a check; `findings` is the path of the Parquet file with the details.

    `obstacles` are what keeps files from being looked at, such as a directory this user may not enter, with the number
    of files behind each; the twenty greatest. `own` and `names`
    are a few of this server's own users' broken records: kind and id, and what they are called; `fresh` and
    `fresh_names` of those no repair knows of yet. `of_accounts`: all kinds of some accounts were looked at, and no others.
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
    looked_since: datetime | None = None
    of_accounts: bool = False
    cost: Cost | None = None
    mass_loss: list[str] = field(default_factory=list)
    top_domains: list[tuple[str, int]] = field(default_factory=list)
    obstacles: list[tuple[str, int]] = field(default_factory=list)
    own: list[tuple[str, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    fresh: list[tuple[str, int]] = field(default_factory=list)
    fresh_names: list[str] = field(default_factory=list)
    known: Counter[Outcome] = field(default_factory=Counter)
    next_try: datetime | None = None
    last_tried: datetime | None = None
    public: PublicReport | None = None

    def take_public(self, found: PublicReport) -> None:
        """Take what was seen from outside."""
        self.public = found
        for kind in self.kinds:
            kind.hidden = found.by_kind.get(kind.kind, 0)
            kind.states[State.UNSERVABLE] += kind.hidden

    def count(self, inventory: Inventory, kind: Kind) -> None:
        """Take one kind's numbers."""
        (kind_report,) = [one for one in self.kinds if one.kind == kind.name]
        count, broken = inventory.counts[kind], inventory.broken[kind]
        kind_report.records, kind_report.expected = count.records, count.expected
        kind_report.records_broken, kind_report.records_broken_local = broken.records, broken.local
        kind_report.states |= broken.files

    @property
    def broken(self) -> int:
        """Broken records of all kinds."""
        return sum(kind.records_broken for kind in self.kinds)

    @property
    def unseen(self) -> int:
        """Files of all kinds that could not be looked at."""
        return sum(kind.unseen for kind in self.kinds)

    @property
    def hidden(self) -> int:
        """Whole files that do not reach the public, of those that were asked for."""
        return sum(kind.hidden for kind in self.kinds)

    @property
    def new(self) -> int:
        """Broken records the ledger knows nothing of."""
        return self.broken - self.known.total()

    @property
    def is_alarming(self) -> bool:
        """Whether there is damage no repair knows of yet, or something that could not be seen."""
        return bool(self.new or self.unseen or self.hidden or self.unsettled or self.mass_loss)

    @property
    def is_whole(self) -> bool:
        """Whether everything was seen and nothing is broken."""
        return not (self.broken or self.unseen or self.hidden or self.unsettled or self.mass_loss)
