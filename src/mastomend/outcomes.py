"""What became of something (product.md, vocabulary). A verdict is a value, never an exception: the run goes on.

`Outcome` is the word other programs read; a verdict is that word as a type, with what belongs to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

from mastomend.reasons import Reason


class Outcome(StrEnum):
    """What became of a subject. The first six are those of broken records."""

    RESTORED = "restored"
    REFRESHED = "refreshed"
    GONE = "gone"
    DEFERRED = "deferred"
    REFUSED = "refused"
    LOST = "lost"
    SET_ASIDE = "set_aside"
    EVICTED = "evicted"
    COPIED = "copied"
    PURGED = "purged"


#: What becomes of a broken record, in the order they are told.
OF_RECORDS = (
    Outcome.RESTORED,
    Outcome.REFRESHED,
    Outcome.GONE,
    Outcome.DEFERRED,
    Outcome.REFUSED,
    Outcome.LOST,
)
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
class _Achieved:
    """Something was done: so many files, so many bytes. `detail` tells what was left over; `tried` as below."""

    outcome: ClassVar[Outcome]

    reason: Reason
    source: Source | None = None
    files: int = 0
    bytes: int = 0
    detail: str = ""
    tried: str = ""


@dataclass(frozen=True, slots=True)
class _Left:
    """Nothing was done. `reason` is for programs, `detail` for people.

    `tried` names the sources that were asked and what each answered, in order: `origin: gone; actor: gone`.
    """

    outcome: ClassVar[Outcome]
    files: ClassVar[int] = 0
    bytes: ClassVar[int] = 0

    reason: Reason
    detail: str = ""
    source: Source | None = None
    tried: str = ""


class Restored(_Achieved):
    """Whole again under the same key: the row is as it was, or only its sizes changed."""

    __slots__ = ()
    outcome = Outcome.RESTORED


class Refreshed(_Achieved):
    """Whole again with another name or another picture: the row was changed."""

    __slots__ = ()
    outcome = Outcome.REFRESHED


class SetAside(_Achieved):
    """Moved to the quarantine."""

    __slots__ = ()
    outcome = Outcome.SET_ASIDE


class Evicted(_Achieved):
    """The row names no file any more, and its files are gone: Mastodon fetches them again when somebody looks."""

    __slots__ = ()
    outcome = Outcome.EVICTED


class Copied(_Achieved):
    """Copied to another storage."""

    __slots__ = ()
    outcome = Outcome.COPIED


class Purged(_Achieved):
    """Deleted for good."""

    __slots__ = ()
    outcome = Outcome.PURGED


class Gone(_Left):
    """Its origin says that there is nothing any more."""

    __slots__ = ()
    outcome = Outcome.GONE


class Deferred(_Left):
    """Not now; trying later may help."""

    __slots__ = ()
    outcome = Outcome.DEFERRED


class Refused(_Left):
    """Policy, safety, or something in the way forbids it."""

    __slots__ = ()
    outcome = Outcome.REFUSED


class Lost(_Left):
    """No source is left."""

    __slots__ = ()
    outcome = Outcome.LOST


Verdict = Restored | Refreshed | SetAside | Evicted | Copied | Purged | Gone | Deferred | Refused | Lost

_BY_OUTCOME: Mapping[Outcome, type[Verdict]] = {
    one.outcome: one for one in (Restored, Refreshed, SetAside, Evicted, Copied, Purged, Gone, Deferred, Refused, Lost)
}


def left(outcome: Outcome, reason: Reason, detail: str, source: Source | None = None) -> Verdict:
    """The verdict for an outcome that was looked up: one of those after which nothing is done."""
    made = _BY_OUTCOME[outcome]
    assert issubclass(made, _Left), outcome
    return made(reason, detail, source)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The journal's form of a verdict."""
    told = ((f.name, getattr(verdict, f.name)) for f in fields(verdict))
    return {"outcome": verdict.outcome.value, **{name: value for name, value in told if value}}


def verdict_of(document: Mapping[str, Any]) -> Verdict:
    """The verdict a journal entry holds.

    Raises:
        ValueError, KeyError, TypeError: it is none this Mastomend knows.
    """
    fields = {name: value for name, value in document.items() if name != "outcome"}
    fields["reason"] = Reason(fields["reason"])
    fields["source"] = Source(fields["source"]) if fields.get("source") else None
    return _BY_OUTCOME[Outcome(document["outcome"])](**fields)


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One row of outcomes.parquet. `outcome` None: a dry run, nothing is decided; `bytes` were written."""

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
