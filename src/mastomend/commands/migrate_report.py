"""What `migrate` is told, and what it tells."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from mastomend.commands.migration import Named
from mastomend.inventory.crossing import Sides, Tally
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.plans.prices import Price
from mastomend.storage.abilities import Ability

#: How many files that were not copied, or are not as they should be, are named.
SHOWN = 20


class Step(StrEnum):
    """The steps of a move, in their order; the last takes it back."""

    PLAN = "plan"
    COPY = "copy"
    VERIFY = "verify"
    FINISH = "finish"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """`to` names the target, `origin` where the media were, once Mastodon's settings name the target.

    `public_share` and `deep_share` (0 to 1) of all files are looked at from outside, and read on both sides; None: a sample.
    `skip_cache_older` lets older cached attachments go, by `prune`'s rules, instead of moving them. `set_aside` moves old files
    that are proven elsewhere to the quarantine; `restarted` vouches for Mastodon's restart; `wait_s` is how long `finish` waits
    for the switch. `bytes_per_s` is a limit. `kinds` (all if empty) but for `but_kinds`, of what is selected: for plan, copy
    and verify; a switch is of everything.
    """

    step: Step
    to: Path | Named
    origin: Path | Named | None = None
    apply: bool = False
    connections: int = 32
    bytes_per_s: int | None = None
    public_share: float | None = None
    deep_share: float | None = None
    skip_cache_older: timedelta | None = None
    set_aside: bool = False
    restarted: bool = False
    wait_s: float = 0.0
    write_test: bool = False
    max_missing_percent: float | None = None
    kinds: tuple[str, ...] = ()
    but_kinds: tuple[str, ...] = ()
    selection: Selection = EVERYTHING

    @property
    def is_selective(self) -> bool:
        """Whether only some records are looked at."""
        return bool(self.kinds or self.but_kinds) or self.selection != EVERYTHING


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a copy takes: requests, US dollars for them (None: not known), a month's storage, seconds (None: not measured)."""

    requests: int
    usd: float | None
    usd_month: float | None
    seconds: float | None
    price: Price | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as it should be, and why, in words."""

    key: str
    why: str


@dataclass(slots=True)
class MigrateReport:
    """The result of a step. `sides` compares both storages by kind, before the step did anything.

    `skipped` files need no copy any more: their rows changed meanwhile. `hidden` copies were public, and are a suspended
    account's. `verified` files are there with their size; of them
    `read_back` hold the same bytes; of `asked` ones `seen` reach the public. `problems` names the first of what is wrong,
    `wrong` and `causes` count it. `still_missing` files the new storage lacks after the last pass. `uncertain` says what could
    not be proven. `lines` are the changes of `.env.production`. `pruned_by` is the run that let cached ones go. `blocked`:
    nothing was set aside, as not all is proven. `waiting` is the run that set aside what a rollback could bring back.
    """

    step: Step
    run: str
    applied: bool
    scan: str
    source: str
    target: str
    is_switched: bool
    sides: dict[str, Sides] = field(default_factory=dict)
    estimate: Estimate | None = None
    abilities: list[Ability] = field(default_factory=list)
    evictable: Tally = field(default_factory=Tally)
    evicted: Tally = field(default_factory=Tally)
    copied: Tally = field(default_factory=Tally)
    skipped: int = 0
    hidden: int = 0
    failed: int = 0
    verified: int = 0
    read_back: int = 0
    asked: int = 0
    seen: int = 0
    wrong: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    still_missing: int = 0
    quarantined: Tally = field(default_factory=Tally)
    pruned_by: str = ""
    waiting: str = ""
    blocked: bool = False
    lines: list[str] = field(default_factory=list)
    nginx: str = ""
    caddy: str = ""
    stops: list[str] = field(default_factory=list)
    report: Path | None = None
    duration_s: float = 0.0
    is_selective: bool = False

    @property
    def all(self) -> Sides:
        """All kinds together."""
        return sum(self.sides.values(), Sides())

    @property
    def left(self) -> Tally:
        """What is still to be copied."""
        return Tally(
            max(self.all.to_copy.files - self.copied.files - self.skipped, 0),
            max(self.all.to_copy.bytes - self.copied.bytes, 0),
        )

    def tell(self, key: str, why: str) -> None:
        """Count what is wrong, and name the first of it."""
        self.wrong += 1
        self.causes[re.split(r" \(http|: |;", why)[0]] += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(key, why))
