"""When a deferred record is tried again, and when trying ends. Pure.

Intervals grow, because a server that was down for an hour is usually back soon and one that was down for a month is
usually not coming back. What says nothing about the origin (Mastodon was just changing the row) costs no try.
"""

from __future__ import annotations

from dataclasses import dataclass

from mastomend.outcomes import Deferred, Gone, Source, Verdict
from mastomend.reasons import Reason

#: Reasons that concern this server and the moment, not the origin.
OURS = frozenset(
    {
        Reason.IN_FLIGHT,
        Reason.ROW_CHANGED,
        Reason.VERIFY_FAILED,
        Reason.NEEDS_FFMPEG,
        Reason.NEEDS_DECODER,
        Reason.HANDED_OVER,
        Reason.RESET,
    }
)
#: After these one may try again at once: nobody else has to be left alone.
AT_ONCE = OURS | {Reason.QUEUE_FULL, Reason.INTERNAL_ERROR}
#: Reasons that say an origin server does not answer at all.
UNREACHABLE = frozenset(
    {Reason.DNS, Reason.CONNECT, Reason.TLS, Reason.TIMEOUT, Reason.BROKEN_OFF, Reason.SERVER_ERROR}
)
#: What came, or where it leads, is none of this server's doing.
_OF_NO_USE = frozenset(
    {
        Reason.PRIVATE_ADDRESS,
        Reason.BAD_URL,
        Reason.TOO_BIG,
        Reason.TOO_MANY_PIXELS,
        Reason.NOT_AN_IMAGE,
        Reason.NOT_MEDIA,
        Reason.BAD_TYPE,
        Reason.BROKEN_IMAGE,
        Reason.NOT_CONVERTIBLE,
        Reason.TOO_FAST,
        Reason.TOO_MANY_FRAMES,
        Reason.TOO_MANY_REDIRECTS,
    }
)
_STRANGERS = frozenset({Source.ORIGIN, Source.ACTOR, Source.NOTE, Source.PAGE})
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Deferral:
    """How often and how soon: after `first_hours`, then `factor` times longer each time, at most `max_hours`.

    What its origin says is gone, or sent in a form that is of no use, rests for `again_days`.
    """

    tries: int = 8
    first_hours: float = 1.0
    factor: float = 4.0
    max_hours: float = 168.0
    again_days: float = 7.0

    def wait_s(self, tries: int) -> float:
        """Seconds until the next try after that many."""
        hours = self.first_hours * self.factor ** max(0, tries - 1)
        return min(hours, self.max_hours) * _HOUR_S


def rests(verdict: Verdict) -> bool:
    """Whether asking again soon would only trouble its origin: it has given its answer, or never gave one, and nothing here
    could change it; or what keeps the file from its place may still be there.
    """
    if verdict.reason in (Reason.GAVE_UP, Reason.IN_THE_WAY):
        return True
    return verdict.source in _STRANGERS and (isinstance(verdict, Gone) or verdict.reason in _OF_NO_USE)


def counts(verdict: Verdict) -> bool:
    """Whether that used up a try."""
    return isinstance(verdict, Deferred) and verdict.reason not in OURS


def is_dead(verdict: Verdict) -> bool:
    """Whether the origin said, or showed, that there is nothing any more."""
    return isinstance(verdict, Gone) or verdict.reason in UNREACHABLE | {Reason.GAVE_UP}
