"""What `guard` is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from mastomend.commands.policy import Wishes
from mastomend.commands.prune_report import PruneReport
from mastomend.commands.settings import parse_percent
from mastomend.errors import ConfigurationError

#: A mark below that is a slip: 0.85 for 85 %.
_LOWEST = 5.0
#: How much below the mark a disk is brought, in percent of the disk: else it would be over it tomorrow.
MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class Marks:
    """What sets off a pruning: the disk is fuller than `disk_percent`; a month costs more than `bill_usd`. So many days
    (`warn_days`) before the disk is full it is said.
    """

    disk_percent: float = 90.0
    bill_usd: float | None = None
    warn_days: int = 14


def marks(table: Mapping[str, Any], where: str, given: Mapping[str, Any] | None = None) -> Marks:
    """What a `[guard]` table says, and options (`given`), which win.

    Raises:
        ConfigurationError: an unknown name, or a value of the wrong sort.
    """
    made: dict[str, Any] = {}
    given = given or {}
    for name, value in {**table, **given}.items():
        here = f"--{name.replace('_', '-')}" if name in given else f"{where}.{name}"
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
        match name:
            case "disk":
                made["disk_percent"] = parse_percent(value, here)
                if made["disk_percent"] < _LOWEST:
                    said = f"{here} is {made['disk_percent']:g} % of the disk, which every disk passes"
                    raise ConfigurationError(f"{said}.", hint='Percent are meant: "85%", or 85.')
            case "bill" if is_number:
                made["bill_usd"] = float(value)
            case "warn_days" if is_number and value <= 3650:
                made["warn_days"] = int(value)
            case "bill" | "warn_days":
                raise ConfigurationError(f"{here} must be a number (of days 3650 at most), not {value!r}.")
            case _:
                raise ConfigurationError(f"{here} is not a setting.", hint="See docs/reference/settings.md.")
    return Marks(**made)


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """What is guarded: `wishes` is the policy of a pruning."""

    marks: Marks = field(default_factory=Marks)
    wishes: Wishes = field(default_factory=Wishes)
    apply: bool = False
    list_concurrency: int = 32
    max_missing_percent: float | None = None


@dataclass(slots=True)
class GuardReport:
    """The result. Bytes of the disk the media are on (None in a bucket), what it grows by a day and when it is full, as far as
    earlier looks tell; `usd_month` by the newest count of `usage`. `passed` are the marks that were passed, `warnings` what
    else a person should do something about, all in words; `needed` bytes must go for the mark to be met. `pruned` is None
    where nothing had to go, or where it would have been for nothing; `others` are bytes on the disk that are no cached media
    and cannot go.
    """

    applied: bool
    total: int | None = None
    free: int | None = None
    bytes_per_day: float | None = None
    full_on: date | None = None
    usd_month: float | None = None
    passed: list[str] = field(default_factory=list)
    needed: int = 0
    warnings: list[str] = field(default_factory=list)
    pruned: PruneReport | None = None
    others: int | None = None
    duration_s: float = 0.0

    @property
    def used_percent(self) -> float | None:
        """Of the disk."""
        return None if not self.total or self.free is None else 100 * (1 - self.free / self.total)
