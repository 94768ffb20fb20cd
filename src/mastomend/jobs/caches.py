"""What Mastodon has cached about media, and the lock its media proxy takes (facts §5.3, §10)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mastomend.errors import SourceError
from mastomend.jobs.connection import connect, speaking
from mastomend.mastodon.configuration import Redis
from mastomend.mastodon.jobs import MEDIA_LOCK_S

if TYPE_CHECKING:
    import redis

# Deletes the lock only if it is still ours.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Caches:
    """Mastodon's cache and locks. Safe to use from many threads."""

    def __init__(self, cache: Redis, application: Redis) -> None:
        self._cache_settings = cache
        self._settings = application
        self._cache_prefix = f"{cache.namespace}_cache:" if cache.namespace else "cache:"
        self._prefix = f"{application.namespace}:" if application.namespace else ""

    @cached_property
    def _cache(self) -> redis.Redis:
        return connect(self._cache_settings)

    @cached_property
    def _redis(self) -> redis.Redis:
        return connect(self._settings)

    def reachable(self) -> bool:
        """Whether both answer."""
        try:
            with speaking("Mastodon's Redis"):
                return bool(self._cache.ping()) and bool(self._redis.ping())
        except SourceError:
            return False

    def forget(self, keys: Sequence[str]) -> None:
        """Delete cached entries; their keys without the cache's own prefix.

        Raises:
            SourceError: Redis does not answer.
        """
        with speaking("The cache's Redis"):
            self._cache.delete(*(self._cache_prefix + key for key in keys))

    def reindex(self, posts: Sequence[int]) -> None:
        """Mastodon's search imports these posts, or drops those that are gone (facts §13.2a).

        Raises:
            SourceError: Redis does not answer.
        """
        if posts:
            with speaking("Mastodon's Redis"):
                for index in ("StatusesIndex", "PublicStatusesIndex"):
                    self._redis.sadd(f"{self._prefix}chewy:queue:{index}", *posts)

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Hold one of Mastodon's locks for the block; False if somebody else holds it.

        Raises:
            SourceError: Redis does not answer.
        """
        token = secrets.token_hex(16)
        name = self._prefix + key
        with speaking("Mastodon's Redis"):
            held: Any = self._redis.set(name, token, nx=True, ex=MEDIA_LOCK_S)
        try:
            yield bool(held)
        finally:
            if held:
                with speaking("Mastodon's Redis"):
                    self._redis.eval(_RELEASE, 1, name, token)
