"""What `prune` is told, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mastomend.inventory.cached import UNITS
from mastomend.inventory.evictions import Group, Kept, Sum
from mastomend.inventory.keeping import Policy
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.outcomes import Evicted
from mastomend.vocabulary import Done

#: How many records that stayed after all are named.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """What may go: `units` (all that the policy speaks of, if none is named) of what is selected, at most `limit` records.

    `keep_free` bytes shall be free on the disk; `access_logs` tell when somebody last looked.
    """

    policy: Policy = field(default_factory=Policy)
    units: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    keep_free: int | None = None
    access_logs: tuple[Path, ...] = ()
    limit: int | None = None
    apply: bool = False
    max_missing_percent: float | None = None
    list_concurrency: int = 32
    resume: bool = True

    @property
    def chosen(self) -> tuple[str, ...]:
        """The units that are looked at. Emoji only by name: no other place to come from is as rarely asked."""
        spoken = {*self.policy.ages, *self.policy.budgets}
        if self.policy.strangers is not None or self.policy.domains:
            spoken.add("attachments")
        if self.policy.budget is not None or self.policy.to_free or self.keep_free is not None:
            spoken |= {"attachments", "avatars", "headers"}
        return self.units or tuple(unit for unit in UNITS if unit in spoken)


@dataclass(slots=True)
class PruneReport:
    """The result. By unit: all there is (`cached`), what is kept, what goes; `kept` sums up by reason, `ages` is the preview,
    `groups` what no relationship keeps by value. `over` is how many bytes a budget is still exceeded by when all has gone that
    may go. `is_barred`: this user may not do it. `evicted` is what really went, `left` what stayed after all.
    """

    run: str
    applied: bool
    scan: str
    policy: Policy
    units: tuple[str, ...]
    by_unit: dict[str, tuple[Sum, Sum, Sum]] = field(default_factory=dict)
    kept: dict[str, Sum] = field(default_factory=dict)
    ages: list[Kept] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    over: int = 0
    to_free: int = 0
    looks: int | None = None
    stops: list[str] = field(default_factory=list)
    is_barred: bool = False
    limited: Sum | None = None
    evicted: Sum = field(default_factory=Sum)
    files: int = 0
    left_alone: int = 0
    left: list[str] = field(default_factory=list)
    stayed: list[str] = field(default_factory=list)
    report: Path = Path()
    duration_s: float = 0.0

    @property
    def cached(self) -> Sum:
        """All that was looked at."""
        return sum((one for one, _, _ in self.by_unit.values()), Sum())

    @property
    def goes(self) -> Sum:
        """What is to go."""
        return sum((one for _, _, one in self.by_unit.values()), Sum())

    @property
    def taken(self) -> Sum:
        """What of it this run takes: the limit may leave some for the next."""
        return self.goes if self.limited is None else self.limited

    @property
    def stays(self) -> Sum:
        """What relationships and the like keep."""
        return sum((one for _, one, _ in self.by_unit.values()), Sum())

    def count(self, done: Done) -> None:
        """Add what became of one record."""
        verdict = done.verdict
        if isinstance(verdict, Evicted):
            self.evicted += Sum(1, verdict.bytes)
            self.files += verdict.files
            if verdict.detail:
                self._tell(self.stayed, f"{done.subject}: {verdict.detail}")
        else:
            self.left_alone += 1
            self._tell(self.left, f"{done.subject}: {verdict.detail}")

    @staticmethod
    def _tell(lines: list[str], line: str) -> None:
        if len(lines) < _SHOWN:
            lines.append(line)


def over_by(report: PruneReport) -> int:
    """By how much the budgets stay exceeded, as what is kept does not fit in."""
    policy = report.policy
    rest = {unit: whole.bytes - goes.bytes for unit, (whole, _, goes) in report.by_unit.items()}
    over = sum(max(0, rest.get(unit, 0) - most) for unit, most in policy.budgets.items())
    if policy.budget is not None:
        over = max(over, sum(rest.values()) - policy.budget)
    return max(over, policy.to_free - report.goes.bytes, 0)
