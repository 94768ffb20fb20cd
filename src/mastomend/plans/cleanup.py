"""What of the quarantine is old enough to be deleted for good. Pure.

A file may go when the run that put it there has ended, and long enough ago: until then `undo` brings it back. What no run of
this journal put there is not understood, and stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from mastomend.actions.actions import Delete, quarantined_by
from mastomend.actions.plan import Plan, Rule
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Purged
from mastomend.reasons import Reason
from mastomend.vocabulary import ObjectAt


@dataclass(slots=True)
class Kept:
    """What stays in the quarantine: files of runs that are too young or have not ended, and files of no known run."""

    files: int = 0
    unknown: int = 0


def purge(
    objects: Iterable[tuple[str, int]], old: Collection[str], known: Collection[str], kept: Kept, key_prefix: str
) -> Iterator[Plan]:
    """A plan for each file (key, size) of an `old` run; `kept` counts the others."""
    for key, size in objects:
        run = quarantined_by(key, key_prefix)
        if run in old:
            subject = ObjectAt(Key(key))
            verdict = Purged(Reason.EXPIRED, files=1, bytes=size)
            yield Plan(subject, verdict, (Delete(subject.key, size),), Rule.PURGE)
        elif run in known:
            kept.files += 1
        else:
            kept.unknown += 1
