"""What the answer of an origin, or what came from it, means for a record."""

from __future__ import annotations

from collections.abc import Generator

from mastomend.images.decode import UnusableImage
from mastomend.outcomes import Deferred, Outcome, Refused, Source, Verdict, left
from mastomend.reasons import Reason
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.restore.case import Answer, Step

_OUTCOMES = {
    Failure.NOT_FOUND: Outcome.GONE,
    Failure.GONE: Outcome.GONE,
    Failure.TOO_BIG: Outcome.REFUSED,
    Failure.PRIVATE_ADDRESS: Outcome.REFUSED,
    Failure.TOO_MANY_REDIRECTS: Outcome.REFUSED,
    Failure.BAD_URL: Outcome.LOST,
}
#: Another address may have another picture.
NO_PICTURE = frozenset({Reason.NOT_AN_IMAGE, Reason.NOT_MEDIA, Reason.BAD_TYPE, Reason.BROKEN_IMAGE})


def asked(ask: Ask) -> Generator[Step, Answer, Fetched | NotFetched]:
    """Ask, and have the answer: `answer = yield from asked(Ask(…))`."""
    answer = yield ask
    assert isinstance(answer, Fetched | NotFetched), "an Ask is answered by a stranger"
    return answer


def verdict_of_failure(answer: NotFetched, source: Source) -> Verdict:
    """`gone` is the origin's own word (404, 410); what we refuse is `refused`; everything else may pass: `deferred`."""
    outcome = _OUTCOMES.get(answer.failure, Outcome.DEFERRED)
    return left(outcome, answer.failure.reason, answer.detail, source)


def verdict_of_image(error: UnusableImage, source: Source) -> Verdict:
    """A body that is no usable image: what needs a program that is not here waits for it, everything else is refused."""
    waits = error.reason in (Reason.NEEDS_FFMPEG, Reason.NEEDS_DECODER)
    return (Deferred if waits else Refused)(error.reason, str(error), source)
