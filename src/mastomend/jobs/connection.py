"""Reaching Redis as Mastodon does: by URL, by host, through Sentinel; with its namespace where it has one (facts §4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mastomend.errors import ConfigurationError, SourceError
from mastomend.mastodon.configuration import Redis

if TYPE_CHECKING:
    import redis

_TIMEOUT_S = 5


def connect(settings: Redis) -> redis.Redis:
    """A client that connects when it is first used.

    Raises:
        ConfigurationError: its URL cannot be used.
    """
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry
    from redis.sentinel import Sentinel

    password = settings.password.reveal() or None
    patience: Any = {"retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2)}
    if settings.url:
        try:
            return redis.Redis.from_url(
                settings.url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, **patience
            )
        except (ValueError, TypeError):  # its text may hold the password
            raise ConfigurationError(
                "REDIS_URL is not a URL that can be used.", hint="Write redis://[:PASSWORD@]HOST[:PORT][/DB]."
            ) from None
    if settings.sentinels:
        places = []
        for sentinel in settings.sentinels:
            host, _, port = sentinel.rpartition(":")
            places.append((host, int(port)))
        guards = {
            "username": settings.sentinel_user or settings.user,
            "password": settings.sentinel_password.reveal() or password,
            "socket_timeout": _TIMEOUT_S,
        }
        found: Any = Sentinel(places, sentinel_kwargs={n: v for n, v in guards.items() if v})  # type: ignore[no-untyped-call]
        master: redis.Redis = found.master_for(
            settings.sentinel_master or "",
            db=settings.db,
            username=settings.user,
            password=password,
            socket_timeout=_TIMEOUT_S,
        )
        return master
    return redis.Redis(
        host=settings.host,
        port=settings.port,
        db=settings.db,
        username=settings.user,
        password=password,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        **patience,
    )


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turns the driver's errors into ours. Their texts never hold a password, but a URL might: they are left out.

    Raises:
        SourceError: Redis does not answer, or refuses.
    """
    import redis

    try:
        yield
    except redis.AuthenticationError:
        raise SourceError(f"{what} refuses the password.", hint="Check REDIS_PASSWORD.") from None
    except redis.RedisError as error:
        raise SourceError(
            f"{what} cannot be used ({type(error).__name__}).", hint="Is Redis running? Check REDIS_URL or REDIS_HOST."
        ) from None
