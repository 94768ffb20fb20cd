"""The first source: the URL in the row. What the origin's answer means for a record."""

from __future__ import annotations

from mastomend.images.decode import UnusableImage
from mastomend.outcomes import Outcome
from mastomend.remote.client import Failure, NotFetched

_OUTCOMES = {
    Failure.NOT_FOUND: Outcome.GONE,
    Failure.GONE: Outcome.GONE,
    Failure.TOO_BIG: Outcome.REFUSED,
    Failure.PRIVATE_ADDRESS: Outcome.REFUSED,
    Failure.TOO_MANY_REDIRECTS: Outcome.REFUSED,
    Failure.BAD_URL: Outcome.LOST,
}


def outcome_of_failure(answer: NotFetched) -> Outcome:
    """`gone` is the origin's own word (404, 410); what we refuse is `refused`; everything else may pass: `deferred`."""
    return _OUTCOMES.get(answer.failure, Outcome.DEFERRED)


def outcome_of_image(error: UnusableImage) -> Outcome:
    """A body that is no usable image: what needs a program that is not here waits for it, everything else is refused."""
    return Outcome.DEFERRED if error.reason in ("needs_ffmpeg", "needs_decoder") else Outcome.REFUSED
