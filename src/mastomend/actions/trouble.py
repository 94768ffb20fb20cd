"""What goes wrong with one subject is its verdict, what goes wrong with all ends the run: the one place that tells which."""

from __future__ import annotations

from mastomend.errors import MastomendError, ObjectError
from mastomend.mastodon.values import redact
from mastomend.outcomes import Deferred, Refused, Source, Verdict
from mastomend.reasons import Reason


class Conflict(Exception):
    """The world is no longer as the plan assumed. A verdict, not an error: nothing was overwritten. `reason` is what an undo
    tells of it.
    """

    def __init__(self, text: str, reason: Reason = Reason.CONFLICT) -> None:
        super().__init__(text)
        self.reason = reason


def is_everybody_s(error: Exception) -> bool:
    """Whether an error concerns more than one subject: then the run cannot go on."""
    return isinstance(error, MastomendError) and not isinstance(error, ObjectError)


def trouble(error: Exception, source: Source | None = None) -> Verdict:
    """What to say of a subject that met an error which is its own."""
    if isinstance(error, ObjectError):
        return Refused(error.reason, error.message, source)
    if isinstance(error, Conflict):
        return Deferred(Reason.ROW_CHANGED, str(error), source)
    text = redact(" ".join(str(error).split()).encode("utf-8", "replace").decode()[:200])
    return Deferred(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {text}; please report it", source)
