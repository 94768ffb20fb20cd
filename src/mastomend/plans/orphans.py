"""What is done about an object that no record expects: set aside, or deleted where room is needed. Pure.

What is not understood (`unrecognized`) has no plan, whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mastomend.actions.actions import Delete, QuarantineFile
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Purged, SetAside
from mastomend.reasons import Reason
from mastomend.vocabulary import ObjectAt, Stray

#: The sorts of strays that may be acted upon, each with its reason.
SORTS = {
    Stray.ORPHAN: Reason.ORPHAN,
    Stray.STALE_DUPLICATE: Reason.STALE_DUPLICATE,
    Stray.DIRECTORY_MARKER: Reason.DIRECTORY_MARKER,
    Stray.TEMPORARY: Reason.TEMPORARY,
}


def set_aside(strays: Iterable[tuple[str, int, Stray]], run: str, key_prefix: str) -> Iterator[Plan]:
    """A plan for each stray (key, size, sort): it waits in the quarantine."""
    for key, size, sort in strays:
        action = QuarantineFile(Key(key), quarantine_key(run, key, key_prefix), size=size)
        yield Plan(ObjectAt(Key(key)), SetAside(SORTS[sort], files=1, bytes=size), (action,), Rule.SET_ASIDE)


def delete(strays: Iterable[tuple[str, int, Stray]]) -> Iterator[Plan]:
    """A plan for each stray: it is deleted for good."""
    for key, size, sort in strays:
        yield Plan(ObjectAt(Key(key)), Purged(SORTS[sort], files=1, bytes=size), (Delete(Key(key), size),), Rule.PURGE)


def too_many(strays: int, expected: int, percent: float) -> str | None:
    """Why so many strays look like a wrong database rather than like what was left behind; None if they do not.

    `strays` are files with names of Mastodon's that nobody expects, `expected` those somebody does.
    """
    if percent >= 100 or not strays:
        return None
    if not expected:
        return f"No record expects any file, and {strays:,} have names of Mastodon's. Is that the right database?"
    if strays < _MANY:
        return None
    share = strays * 100 / (strays + expected)
    if share <= percent:
        return None
    return (
        f"{share:.0f} % of the files with names of Mastodon's ({strays:,} of {strays + expected:,}) are expected by no record. "
        "This looks like the database of another server, or one that was restored from an old backup."
    )


#: From so many files on a share says something.
_MANY = 100
