"""What a command means to do to one subject: the verdict if all goes well, the actions that lead there, and the rule.

A plan is a value: it names what is to be read, written and changed, and opens nothing itself. `str(plan)` reads as sentences;
the same sentences are a dry run's. The **rule** says what a crash in the middle means, which the actions alone do not:

- MEND: new files, then the row, then what is old. A crash before the last new file is there takes back what was written,
  unless the row names it already or no row was to be changed (then it is what its row expects); later ones are finished.
- EVICT: the row, then its files. Once the row is changed the rest is finished; before that nothing has happened.
- TAKE_BACK: an undo. What it began is finished.
- SET_ASIDE, TRANSFER, PURGE: every action stands for itself. What happened happened, the rest is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mastomend.actions.actions import Action, SetColumns
from mastomend.outcomes import Gone, Lost, Refused, Verdict
from mastomend.vocabulary import Subject

#: Verdicts nothing is done for. A deferred one may be: Mastodon was asked to do the rest.
_LEFT = (Gone, Refused, Lost)


class Rule(StrEnum):
    """What a crash in the middle of a plan means."""

    MEND = "mend"
    EVICT = "evict"
    TAKE_BACK = "take_back"
    SET_ASIDE = "set_aside"
    TRANSFER = "transfer"
    PURGE = "purge"

    @property
    def is_whole(self) -> bool:
        """Whether a plan is one change, to be finished or taken back, not a number of them."""
        return self in (Rule.MEND, Rule.EVICT, Rule.TAKE_BACK)


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions for one subject, in their order, and the verdict they lead to. `part` as in `Done`."""

    subject: Subject
    verdict: Verdict
    actions: tuple[Action, ...]
    rule: Rule
    part: int = 0

    def __post_init__(self) -> None:
        if self.actions and isinstance(self.verdict, _LEFT):
            raise ValueError(f"{self.subject}: what is {self.verdict.outcome} has nothing to be done")

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}: {self.verdict.outcome}", *(f"  {action}" for action in self.actions)])


def changes_a_row(actions: Sequence[Action]) -> bool:
    """Whether one of them changes a row."""
    return any(isinstance(action, SetColumns) for action in actions)
