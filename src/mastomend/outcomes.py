"""What became of a record (product.md, vocabulary). An outcome is a value, never an exception: the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a record."""

    RESTORED = "restored"
    REFRESHED = "refreshed"
    GONE = "gone"
    DEFERRED = "deferred"
    REFUSED = "refused"
    LOST = "lost"


#: The outcomes after which a record is still broken.
UNDONE = (Outcome.GONE, Outcome.REFUSED, Outcome.LOST, Outcome.DEFERRED)


class Source(StrEnum):
    """Where a lost file can come from."""

    ORIGINAL = "original"
    ELSEWHERE = "elsewhere"
    BACKUP = "backup"
    ORIGIN = "origin"
    ACTOR = "actor"
    NOTE = "note"
    PAGE = "page"


class Engine(StrEnum):
    """Who fetches."""

    DIRECT = "direct"
    SIDEKIQ = "sidekiq"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """One row of outcomes.parquet. `reason` is a stable word, `detail` is for people; `bytes` were written.

    `tried` names the sources that were asked and what each answered, in order: `origin: gone; actor: gone`.
    """

    kind: str
    id: int
    is_local: bool
    domain: str | None
    remote_url: str | None
    outcome: Outcome | None
    source: Source | None
    reason: str
    detail: str
    files: int = 0
    bytes: int = 0
    tried: str = ""
