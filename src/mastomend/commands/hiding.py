"""Whoever was suspended after their files were copied: what Mastodon hid where they were is hidden in the copy, too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mastomend.commands.migrate_report import MigrateReport
from mastomend.commands.public import current
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_media_of_suspended
from mastomend.errors import ObjectError
from mastomend.inventory.crossing import Work
from mastomend.mastodon.columnar import styles
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS
from mastomend.mastodon.storage_settings import Storage
from mastomend.storage.ports import Store
from mastomend.vocabulary import Serving

_THREADS = 16
_BATCH = 500


def hide_suspended(database: MastodonDatabase, target: Store, storage: Storage, report: MigrateReport) -> None:
    """Hide the copies that are public and should not be. A store that does not tell is left: its policy decides.

    Raises:
        StorageError, DatabaseError: one of both is lost.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hide") as threads:
        for works in _works(database):
            keys = [file.key for _, _, file, _ in current(database, works, storage.key_prefix)]
            for key, why in zip(keys, threads.map(lambda key: _hide(target, key), keys), strict=True):
                if why:
                    report.tell(key, why)


def _works(database: MastodonDatabase) -> Iterator[list[Work]]:
    ids = read_media_of_suspended(database)
    named = {(kind.name, style) for kind, style in styles((MEDIA_FILES, MEDIA_THUMBNAILS))}
    for start in range(0, len(ids), _BATCH):
        yield [Work(kind, one, style, 0) for one in ids[start : start + _BATCH] for kind, style in sorted(named)]


def _hide(target: Store, key: Key) -> str:
    """Why it is still shown; '' where it is hidden, or is not there."""
    try:
        now = target.serving(key)
        if now is not None and now.is_public:
            target.serve(key, Serving(False, now.content_type, now.cache_control))
    except ObjectError as error:
        return error.message
    return ""
