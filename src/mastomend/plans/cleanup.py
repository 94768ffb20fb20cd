"""What of the quarantine is old enough to be deleted for good. Pure.

A file may go when the run that put it there, and every undo of that run, has ended, and long enough ago: until then they bring
it back. What no run of this journal put there is not understood, and stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from mastomend.actions.actions import MEDIA, Delete, Place
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantined_by
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Purged
from mastomend.reasons import Reason
from mastomend.vocabulary import ObjectAt


@dataclass(slots=True)
class Kept:
    """What stays in the quarantine: files of `runs` that are too young or have not ended, and files of no known run."""

    files: int = 0
    unknown: int = 0
    runs: set[str] = field(default_factory=set)


def no_longer_needed(runs: Iterable[tuple[str, str | None, str | None]], before: datetime) -> set[str]:
    """The runs (id, the run it undoes, when it ended) whose quarantine nobody needs any more.

    An undo, and what undoes it, bring files back from the quarantine of the run they are about, and put them there again: it is
    needed until all of them have ended, long enough ago.
    """
    known = list(runs)
    undoes = {run: undone for run, undone, _ in known if undone}

    def first(run: str) -> str:
        while run in undoes:
            run = undoes[run]
        return run

    young = {first(run) for run, _, ended in known if ended is None or datetime.fromisoformat(ended) >= before}
    return {run for run, _, _ in known if first(run) not in young}


def purge(
    objects: Iterable[tuple[str, int]],
    old: Collection[str],
    known: Collection[str],
    kept: Kept,
    key_prefix: str,
    undos: Collection[str] = (),
    place: Place = MEDIA,
) -> Iterator[Plan]:
    """A plan for each file (key, size) of an `old` run in that storage; `kept` counts the others.

    What an undo took away is what a row misses by then: it was asked for, so it goes all the same.
    """
    for key, size in objects:
        run = quarantined_by(key, key_prefix)
        if run in old:
            subject = ObjectAt(Key(key))
            verdict = Purged(Reason.EXPIRED, files=1, bytes=size)
            yield Plan(subject, verdict, (Delete(subject.key, size, place, even_if_missed=run in undos),), Rule.PURGE)
        elif run is not None and run in known:
            kept.files += 1
            kept.runs.add(run)
        else:
            kept.unknown += 1
