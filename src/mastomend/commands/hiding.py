"""Whoever was suspended after their files were copied: what Mastodon hid where they were is hidden in the copy, too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mastomend.actions.actions import Place, SetServing
from mastomend.actions.plan import Plan, Rule
from mastomend.commands.public import current
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_media_of_suspended
from mastomend.errors import ObjectError
from mastomend.inventory.crossing import Work
from mastomend.mastodon.columnar import styles
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.storage_settings import Storage
from mastomend.outcomes import Refused, Restored
from mastomend.reasons import Reason
from mastomend.storage.ports import Store
from mastomend.vocabulary import Row, RowOf, Serving

_THREADS = 16
_BATCH = 500


def hiding(database: MastodonDatabase, target: Store, storage: Storage) -> Iterator[Plan]:
    """Plans that hide the copies which are public and should not be; refused where that cannot be seen.

    A store that does not tell is left: its policy decides. Raises StorageError, DatabaseError: one of both is lost.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hide") as threads:
        for works in _works(database):
            files = [(kind, row, file.key) for kind, row, file, _ in current(database, works, storage.key_prefix)]
            found = threads.map(lambda key: _shown(target, key), [key for _, _, key in files])
            both = sorted(zip(files, found, strict=True), key=lambda one: (one[0][0].name, one[0][1].record.id))
            for _, some in itertools.groupby(both, key=lambda one: (one[0][0].name, one[0][1].record.id)):
                yield from _plan(list(some), Place(str(storage)))


def _works(database: MastodonDatabase) -> Iterator[list[Work]]:
    ids = read_media_of_suspended(database)
    named = {(kind.name, style) for kind, style in styles((MEDIA_FILES, MEDIA_THUMBNAILS))}
    for start in range(0, len(ids), _BATCH):
        yield [Work(kind, one, style, 0) for one in ids[start : start + _BATCH] for kind, style in sorted(named)]


def _shown(target: Store, key: Key) -> Serving | str | None:
    """How it is handed out if it is public; why that cannot be seen; None where it is hidden, or is not there."""
    try:
        now = target.serving(key)
    except ObjectError as error:
        return error.message
    return now if now is not None and now.is_public else None


def _plan(some: list[tuple[tuple[Kind, Row, Key], Serving | str | None]], place: Place) -> Iterator[Plan]:
    """The plan for the files of one row, if anything is to be done."""
    (kind, row, _), _ = some[0]
    subject = RowOf(kind.name, row.record.id, row.record.is_local, row.domain, row.remote_url)
    hidden = tuple(
        SetServing(key, now, Serving(False, now.content_type, now.cache_control), place)
        for (_, _, key), now in some
        if isinstance(now, Serving)
    )
    for (_, _, key), why in some:
        if isinstance(why, str):
            yield Plan(subject, Refused(Reason.UNREADABLE, f"{key}: {why}"), (), Rule.MEND)
    if hidden:
        yield Plan(subject, Restored(Reason.SERVED, files=len(hidden)), hidden, Rule.MEND)
