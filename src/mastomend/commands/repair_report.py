"""What a repair is told, and what it tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.ledger import Ledger
from mastomend.commands.names import FEW
from mastomend.errors import MastomendError
from mastomend.inventory.reports import Report
from mastomend.inventory.whole import PublicLook
from mastomend.inventory.work_list import WorkList
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.outcomes import Engine, Outcome, OutcomeRow, Source
from mastomend.plans.repair import subject
from mastomend.reasons import Reason
from mastomend.restore.case import Case
from mastomend.restore.chain import Chain, Intended
from mastomend.restore.sources.mastodon import HandOverLimits
from mastomend.vocabulary import Done

#: Said before anything is changed, and behind it, if names have changed.
NO_REDIS_YET = (
    "Mastodon's Redis cannot be reached. A repair goes on without it, but where names change Mastodon may show the old ones "
    "from its cache for a while: see doctor."
)
NO_REDIS = (
    "Names have changed, and Mastodon's Redis cannot be reached: Mastodon may show the old ones from its cache for a while "
    "(posts for ten minutes, emoji for seven days)."
)
OUTCOMES = Report(OutcomeRow, ("kind", "id"))


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What to repair: `kinds` without `but_kinds`, of what is selected, at most `limit` records.

    `scan` takes an earlier check's findings instead of making a new check. `backups` are other storages to copy from:
    directories, or files with Mastodon's storage variables. `engine` says who fetches. `deferred` takes up only what was
    deferred before and is due; `again` also what rests, because its origin has said no a short while ago. `public` also looks
    from outside, and sets how files are handed out.
    """

    kinds: tuple[str, ...] = ()
    apply: bool = False
    scan: str | None = None
    max_missing_percent: float | None = None
    backups: tuple[Path, ...] = ()
    engine: Engine = Engine.DIRECT
    deferred: bool = False
    hand_over: HandOverLimits = field(default_factory=HandOverLimits)
    but_kinds: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    limit: int | None = None
    again: bool = False
    public: PublicLook | None = None

    @property
    def scope(self) -> str:
        """What makes two runs the same work: an interrupted one is continued by the next of the same scope."""
        kinds = ",".join(sorted(self.kinds)) or "all"
        kinds = f"{kinds} but {','.join(sorted(self.but_kinds))}" if self.but_kinds else kinds
        kinds = f"{kinds} of {self.selection}" if self.selection != EVERYTHING else kinds
        kinds = f"deferred of {kinds}" if self.deferred else kinds
        return kinds if self.engine is Engine.DIRECT else f"{kinds} by {self.engine.value}"


@dataclass(slots=True)
class RepairReport:
    """The result. `plan` counts records per source, `hosts` those to be asked for by server, both
    without `--apply` only; `resting` ones were not asked for,
    `not_taken` ones are left for the next run by the limit. `reversible` are mended ones that an undo
    takes back: never files of this server's own users. `lost_local` are records of theirs that stay broken; `own` and `names`
    are a few of them: kind and id, and what they are called. `barred` is why `--apply` would stop.
    """

    run: str
    applied: bool
    scan: str
    records: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    sources: Counter[Source] = field(default_factory=Counter)
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter)
    plan: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    duration_s: float = 0.0
    report: Path = Path()
    resumed: bool = False
    barred: MastomendError | None = None
    recovered: int = 0
    mass_loss: list[str] = field(default_factory=list)
    resting: int = 0
    not_taken: int = 0
    lost_local: int = 0
    reversible: int = 0
    own: list[tuple[str, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def count(self, outcome: OutcomeRow) -> None:
        """Add one record."""
        self.records += 1
        if outcome.outcome is None:
            self.plan[outcome.source.value if outcome.source else "none"] += 1
            if outcome.source in (Source.ORIGIN, Source.PAGE) and outcome.domain:
                self.hosts[outcome.domain] += 1
            return
        self.outcomes[outcome.outcome] += 1
        self.reasons[outcome.outcome, outcome.reason] += 1
        self.reversible += outcome.reason in (Reason.RESET, Reason.HANDED_OVER) or (
            outcome.is_local and outcome.reason == Reason.SERVED
        )
        if outcome.outcome in (Outcome.RESTORED, Outcome.REFRESHED):
            self.sources.update([outcome.source] if outcome.source else [])
            self.reversible += not outcome.is_local and outcome.reason != Reason.BY_MASTODON
        elif outcome.is_local and outcome.reason != Reason.UNSERVABLE:
            self.lost_local += 1
            self.own += [(outcome.kind, outcome.id)] if len(self.own) < FEW else []
        self.bytes += outcome.bytes

    @property
    def undone(self) -> int:
        """Records that are still broken."""
        return (
            self.resting
            + self.not_taken
            + self.records
            - self.outcomes[Outcome.RESTORED]
            - self.outcomes[Outcome.REFRESHED]
        )


def intended(item: Done | Case, chain: Chain) -> OutcomeRow | None:
    """A dry run's row: where the record would be restored from. Nothing is decided before it is tried."""
    if isinstance(item, Done):
        return replace(item.row(), outcome=None)
    intended = chain.preview(item)
    if intended is None:
        return None
    about = subject(item.target)
    if not isinstance(intended, Intended):
        return replace(Done(about, intended).row(), outcome=None)
    # the actor and the note are asked at the origin
    source = Source.ORIGIN if intended.source in (Source.ACTOR, Source.NOTE) else intended.source
    return OutcomeRow(
        about.kind, about.id, about.is_local, about.domain, about.remote_url, None, source, "", intended.said
    )


def take_up(
    records: WorkList,
    options: RepairOptions,
    ledger: Ledger | None,
    report: RepairReport,
    now: datetime,
    *,
    decided: int,
) -> None:
    """Leave in the list what is to be tried now: never tried ones first where there is a limit; `decided` count as taken."""
    if options.deferred:
        records.keep(() if ledger is None else ledger.due(datetime.max.replace(tzinfo=UTC) if options.again else now))
    if options.limit is not None:
        tried = () if ledger is None else ledger.records(handed_over=False)
        report.not_taken = records.limit(max(0, options.limit - decided), tried)


def memory_for_records(budget: int) -> int:
    """What part of the memory budget the list of broken records, and later the report, may have: pictures need the rest."""
    return budget // 4
