"""What an undo tells: what was taken back, what stayed, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from mastomend.actions.plan import Plan
from mastomend.reasons import Reason
from mastomend.vocabulary import Done, RowOf

#: How many plans a dry run shows in words, and how many of what stays are called by name.
SHOWN = 10


@dataclass(slots=True)
class UndoReport:
    """The result: records taken back, records that had changed since, changes that nothing takes back.

    `undid` is the command that run was, `posts` whether it was about posts; `goes_on`: an undo of it was cut off;
    `unsettled`: it was cut off itself, with records half done; `is_barred`: this user may not do it. `purged` of the conflicts
    are what cleanup has removed; `left` are a few of them.
    `plans` are a dry run's first `shown` plans, `names` what their records are called.
    """

    run: str
    undoes: str
    undid: str
    applied: bool
    reverted: int = 0
    conflicts: int = 0
    irreversible: int = 0
    details: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    posts: bool = False
    goes_on: bool = False
    planned: int = 0
    unsettled: bool = False
    shown: int | None = SHOWN
    purged: int = 0
    is_barred: bool = False
    left: list[tuple[str, int]] = field(default_factory=list)
    names: dict[tuple[str, int], str] = field(default_factory=dict)

    def told(self, detail: str) -> str:
        """A sentence of `details`, with the name of what it is about."""
        about, colon, said = detail.partition(": ")
        kind, _, number = about.rpartition(" ")
        name = self.names.get((kind, int(number))) if number.isdecimal() else None
        return f"{about}{f' ({name})' if name else ''}{colon}{said}"

    def words(self, plan: Plan) -> str:
        """A plan as sentences, with the name of what it is about."""
        about, (_, *actions) = plan.subject, str(plan).splitlines()
        name = self.names.get((about.kind, about.id)) if isinstance(about, RowOf) else None
        return "\n".join([f"{about}{f' ({name})' if name else ''}: taken back", *actions])

    def count(self, done: Done) -> None:
        """Add one record."""
        self.posts |= isinstance(done.subject, RowOf) and done.subject.kind == "statuses"
        reason = done.verdict.reason
        self.reverted += reason is Reason.UNDONE
        self.conflicts += reason not in (Reason.UNDONE, Reason.IRREVERSIBLE)
        self.purged += reason is Reason.PURGED
        if reason is not Reason.UNDONE or done.verdict.detail:
            self.details.append(f"{done.subject}: {done.verdict.detail}")
            if isinstance(done.subject, RowOf) and len(self.left) < SHOWN:
                self.left.append((done.subject.kind, done.subject.id))

    def show(self, plan: Plan) -> None:
        """A plan of a dry run."""
        self.planned += bool(plan.actions)
        if plan.actions and (self.shown is None or len(self.plans) < self.shown):
            self.plans.append(plan)
