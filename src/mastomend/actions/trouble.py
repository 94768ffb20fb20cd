"""What goes wrong with one record is its outcome, and what goes wrong with all ends the run: the one place that tells which."""

from __future__ import annotations

from mastomend.errors import MastomendError, ObjectError
from mastomend.mastodon.configuration import redact
from mastomend.outcomes import Outcome, RecordOutcome


def is_everybody_s(error: Exception) -> bool:
    """Whether an error concerns more than one record: then the run cannot go on."""
    return isinstance(error, MastomendError) and not isinstance(error, ObjectError)


def trouble(base: RecordOutcome, error: Exception) -> RecordOutcome:
    """What to say of a record that met an error which is its own."""
    if isinstance(error, ObjectError):
        return changed(base, Outcome.REFUSED, error.reason, error.message)
    text = redact(" ".join(str(error).split()).encode("utf-8", "replace").decode()[:200])
    return changed(base, Outcome.DEFERRED, "internal_error", f"{type(error).__name__}: {text}; please report it")


def changed(outcome: RecordOutcome, became: Outcome, reason: str, detail: str) -> RecordOutcome:
    """The same record with another outcome, nothing written."""
    return RecordOutcome(
        outcome.kind,
        outcome.id,
        outcome.is_local,
        outcome.domain,
        outcome.remote_url,
        became,
        outcome.source,
        reason,
        detail,
    )
