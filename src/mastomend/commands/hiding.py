"""Whoever was suspended after their files were copied: what Mastodon hid where they were is hidden in the copy, too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mastomend.actions.actions import SetServing
from mastomend.actions.plan import Plan, Rule
from mastomend.commands.places import place_of
from mastomend.commands.public import current
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_media_of_suspended
from mastomend.errors import ObjectError
from mastomend.inventory.crossing import Work
from mastomend.mastodon.columnar import styles
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS
from mastomend.mastodon.storage_settings import Storage
from mastomend.outcomes import Refused, Restored
from mastomend.reasons import Reason
from mastomend.storage.ports import Store
from mastomend.vocabulary import ObjectAt, Serving

_THREADS = 16
_BATCH = 500


def hiding(database: MastodonDatabase, target: Store, storage: Storage) -> Iterator[Plan]:
    """Plans that hide the copies which are public and should not be; refused where that cannot be seen.

    A store that does not tell is left: its policy decides. Raises StorageError, DatabaseError: one of both is lost.
    """
    place = place_of(storage)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hide") as threads:
        for works in _works(database):
            keys = [file.key for _, _, file, _ in current(database, works, storage.key_prefix)]
            for key, found in zip(keys, threads.map(lambda key: _shown(target, key), keys), strict=True):
                if isinstance(found, str):
                    yield Plan(ObjectAt(key), Refused(Reason.UNREADABLE, found), (), Rule.MEND)
                elif found is not None:
                    hidden = Serving(False, found.content_type, found.cache_control)
                    action = SetServing(key, found, hidden, place)
                    yield Plan(ObjectAt(key), Restored(Reason.SERVED, files=1), (action,), Rule.MEND)


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
