"""What `doctor` tells: lines, each of one thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from mastomend.errors import MastomendError


class Health(StrEnum):
    """How one thing is. `advised` works, and could be better; `unknown` could not be found out."""

    GOOD = "good"
    BAD = "bad"
    ADVISED = "advised"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing: where it belongs (`area`), what was looked at, how it is, what was seen, what to do; `statements` are to be
    copied as they are.
    """

    area: str
    name: str
    health: Health
    said: str
    advice: str = ""
    statements: tuple[str, ...] = ()


@dataclass(slots=True)
class DoctorReport:
    """All that was looked at, in order."""

    domain: str = ""
    lines: list[Line] = field(default_factory=list)
    duration_s: float = 0.0

    def good(self, area: str, name: str, said: str) -> None:
        """It is as it should be."""
        self.lines.append(Line(area, name, Health.GOOD, said))

    def bad(self, area: str, name: str, said: str, advice: str = "", statements: tuple[str, ...] = ()) -> None:
        """Something does not work."""
        self.lines.append(Line(area, name, Health.BAD, said, advice, statements))

    def advised(self, area: str, name: str, said: str, advice: str = "", statements: tuple[str, ...] = ()) -> None:
        """It works, and could be better."""
        self.lines.append(Line(area, name, Health.ADVISED, said, advice, statements))

    def unknown(self, area: str, name: str, said: str, advice: str = "") -> None:
        """It could not be found out."""
        self.lines.append(Line(area, name, Health.UNKNOWN, said, advice))

    def troubled(self, area: str, name: str, error: MastomendError) -> None:
        """What an error says, as a line."""
        self.bad(area, name, error.message, error.hint, error.statements)

    def number(self, health: Health) -> int:
        """How many lines are so."""
        return sum(line.health is health for line in self.lines)


@contextmanager
def told(report: DoctorReport, area: str, name: str) -> Iterator[None]:
    """What goes wrong in the block is a line."""
    try:
        yield
    except MastomendError as error:
        report.troubled(area, name, error)
