"""When a deferred record is tried again, and when trying ends. Pure.

Intervals grow, because a server that was down for an hour is usually back soon and one that was down for a month is
usually not coming back. What says nothing about the origin (Mastodon was just changing the row) costs no try.
"""

from __future__ import annotations

from dataclasses import dataclass

from mastomend.outcomes import Outcome, RecordOutcome

#: Reasons that concern this server and the moment, not the origin.
OURS = frozenset({"in_flight", "row_changed", "verify_failed", "needs_ffmpeg", "needs_decoder", "handed_over", "reset"})
#: Reasons that say an origin server does not answer at all.
UNREACHABLE = frozenset({"dns", "connect", "tls", "timeout", "broken_off", "server_error"})
GAVE_UP = "gave_up"
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Deferral:
    """How often and how soon: after `first_hours`, then `factor` times longer each time, at most `max_hours`."""

    tries: int = 8
    first_hours: float = 1.0
    factor: float = 4.0
    max_hours: float = 168.0

    def wait_s(self, tries: int) -> float:
        """Seconds until the next try after that many."""
        hours = self.first_hours * self.factor ** max(0, tries - 1)
        return min(hours, self.max_hours) * _HOUR_S


def counts(outcome: RecordOutcome) -> bool:
    """Whether that outcome used up a try."""
    return outcome.outcome is Outcome.DEFERRED and outcome.reason not in OURS


def is_dead(outcome: RecordOutcome) -> bool:
    """Whether the origin said, or showed, that there is nothing any more."""
    return outcome.outcome is Outcome.GONE or outcome.reason in UNREACHABLE | {GAVE_UP}
