"""The parts changing commands are built of: a database to look at, a storage, connections that may write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.actions.run import Ground
from mastomend.actions.world import World
from mastomend.commands.instance import Instance, refuse_ignored_prefix, storage_variables
from mastomend.commands.places import Places
from mastomend.database.busy import rest
from mastomend.database.changes import GuardedRows
from mastomend.database.connection import writing_pool
from mastomend.database.locks import DatabaseLocks
from mastomend.database.owners import DatabaseOwners
from mastomend.database.posts import Posts
from mastomend.database.reader import MastodonDatabase
from mastomend.database.ties import places_here
from mastomend.errors import ConfigurationError
from mastomend.images import ffmpeg_paths
from mastomend.images.elsewhere import decoders
from mastomend.images.moving import Ffmpeg
from mastomend.inventory.archived_posts import ArchivedPosts
from mastomend.jobs.caches import Caches
from mastomend.jobs.sidekiq import Sidekiq
from mastomend.mastodon.configuration import redis_group
from mastomend.mastodon.kinds import KINDS
from mastomend.mastodon.relationships import Of
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage, storage
from mastomend.reasons import Reason
from mastomend.restore.case import Means
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store
from mastomend.vocabulary import Done, RowOf


@dataclass(frozen=True, slots=True)
class Parts:
    """What a changing command works with."""

    instance: Instance
    database: MastodonDatabase
    store: Store
    rows: GuardedRows
    sidekiq: Sidekiq
    caches: Caches
    places: Places

    def means(self, *, caches_answer: bool) -> Means:
        """What restoring works with."""
        ffmpeg = find_ffmpeg(self.instance.variables)
        return Means(
            self.database,
            self.store,
            self.sidekiq,
            self.caches,
            self.instance.configuration,
            self.instance.variables,
            ffmpeg,
            decoders(None if ffmpeg is None else ffmpeg.program),
            caches_answer,
        )

    def world(self) -> World:
        """What actions change, and who is asked before they do."""
        prefix = self.instance.key_prefix
        owners = DatabaseOwners(self.database, prefix)
        return World(self.places, self.rows, owners, self.sidekiq, self.caches, prefix, self._posts())

    def _posts(self) -> ArchivedPosts:
        instance, database = self.instance, self.database

        searches = instance.variables.get("ES_ENABLED") == "true"
        reindex = self.caches.reindex if searches else lambda posts: None
        posts = Posts(self.rows.pool, lambda: places_here(database, Of.POST))
        budget = instance.settings.memory_bytes // 4
        return ArchivedPosts(posts, instance.state, budget, lambda took_s: rest(database, took_s), reindex)


@contextlib.contextmanager
def changing_parts(instance: Instance, *others: Storage) -> Iterator[Parts]:
    """A database to look at, a storage, connections that may write, Mastodon's Redis (reached when first needed).

    `others` are storages besides the instance's own that actions may be about.
    """
    settings = instance.configuration.database
    with MastodonDatabase(settings, timeout_s=instance.settings.statement_timeout_s) as database:
        store = build_store(instance.configuration.storage)
        pool, places = writing_pool(settings), Places(store, instance.configuration.storage, others)
        try:
            refuse_ignored_prefix(instance, database.version)
            store.probe()
            application = redis_group(instance.variables, "")
            jobs, cache = (
                redis_group(instance.variables, prefix, application, before_4_3=database.version.number < (4, 3))
                for prefix in ("SIDEKIQ_", "CACHE_")
            )
            caches = Caches(cache, application)
            yield Parts(instance, database, store, GuardedRows(pool), Sidekiq(jobs), caches, places)
        finally:
            pool.close()
            places.close()
            store.close()


@contextlib.contextmanager
def ground(instance: Instance, run: str, note: Callable[[str], None], *others: Storage) -> Iterator[Ground]:
    """Where that run happens: the journal in the state directory, PostgreSQL's locks, and the instance to be changed.

    `others` as in `changing_parts`.
    """

    @contextlib.contextmanager
    def open_world() -> Iterator[World]:
        with changing_parts(instance, *others) as parts:
            yield parts.world()

    with (
        contextlib.closing(Journal(instance.state)) as journal,
        DatabaseLocks(instance.configuration.database, run) as locks,
    ):
        ledger = Ledger(journal, instance.settings.deferral)

        def settled(done: Done) -> None:
            """What Mastodon was to fetch is emptied: no check sees it, so the ledger must know of it."""
            if isinstance(done.subject, RowOf) and done.verdict.reason in (Reason.HANDED_OVER, Reason.RESET):
                ledger.settle(done.subject, done.verdict, datetime.now(UTC))

        yield Ground(instance.state, journal, locks, open_world, note, settled)


def named_storage(path: Path) -> Storage:
    """Another storage, named by a directory or by a file with Mastodon's own variables (product.md).

    A directory may be the media directory itself or a Mastodon installation that has it at `public/system`.

    Raises:
        ConfigurationError: neither, or no media in it.
    """
    try:
        return _named_storage(path)
    except PermissionError as error:
        raise ConfigurationError(
            f"{error.filename or path} may not be entered by this user.",
            hint="Let the user that runs Mastodon read it, or run the same command as root.",
        ) from None


def _named_storage(path: Path) -> Storage:
    if path.is_file():
        variables = storage_variables(path)
        if not variables.keys() & {"S3_ENABLED", "AZURE_ENABLED", "SWIFT_ENABLED", "PAPERCLIP_ROOT_PATH"}:
            raise ConfigurationError(
                f"{path} names no storage: neither S3_ENABLED nor AZURE_ENABLED nor PAPERCLIP_ROOT_PATH is in it.",
                hint="Name a directory with media, or a file with Mastodon's storage variables.",
            )
        return storage(variables, str(path.parent))
    if not path.is_dir():
        raise ConfigurationError(
            f"{path} does not exist.",
            hint="Name a directory with media, or a settings file; in a container, mount it.",
        )
    known = {kind.name.split("/")[0] for kind in KINDS} | {"cache"}
    for root in (path, path / "public" / "system", path / "system"):
        if any((root / name).is_dir() for name in known):
            return FilesystemStorage(str(root.absolute()))
    raise ConfigurationError(
        f"There are no media of Mastodon in {path}: none of {', '.join(sorted(known))}.",
        hint="Name the directory that was Mastodon's public/system.",
    )


def find_ffmpeg(variables: Mapping[str, str]) -> Ffmpeg | None:
    """ffmpeg as Mastodon finds it: `FFMPEG_BINARY`, `FFPROBE_BINARY`, then PATH (facts §3.1); None without both."""
    ffmpeg, ffprobe = ffmpeg_paths.find_ffmpeg(variables), ffmpeg_paths.find_ffprobe(variables)
    return Ffmpeg(ffmpeg, ffprobe) if ffmpeg and ffprobe else None
