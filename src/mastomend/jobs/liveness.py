"""Whether Mastodon's workers are alive, since when, and how long jobs wait (facts §7). Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mastomend.jobs.connection import connect, speaking
from mastomend.mastodon.configuration import Redis


@dataclass(frozen=True, slots=True)
class Alive:
    """When each process began (seconds since 1970), and of each queue how many wait and the oldest for how many seconds."""

    started: tuple[float, ...] = ()
    queues: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def look(settings: Redis, now: float) -> Alive:
    """What Sidekiq says of itself.

    Raises:
        SourceError: Redis does not answer. ConfigurationError: its URL cannot be used.
    """
    prefix = f"{settings.namespace}:" if settings.namespace else ""
    connection: Any = connect(settings)
    with speaking("Sidekiq's Redis"):
        names = [_text(name) for name in connection.smembers(f"{prefix}processes")]
        told = [connection.hget(f"{prefix}{name}", "info") for name in names]
        queues = sorted(_text(name) for name in connection.smembers(f"{prefix}queues"))
        waiting = {
            name: (int(connection.llen(f"{prefix}queue:{name}")), connection.lindex(f"{prefix}queue:{name}", -1))
            for name in queues
        }
    started = (_started(info) for info in told if info is not None)  # what has no info any more has died
    return Alive(
        tuple(sorted(one for one in started if one is not None)),
        {name: (length, _age(oldest, now)) for name, (length, oldest) in waiting.items()},
    )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _started(info: bytes | str) -> float | None:
    try:
        return float(json.loads(info)["started_at"])
    except (ValueError, KeyError, TypeError):
        return None


def _age(job: bytes | str | None, now: float) -> float:
    """Seconds since it was put there; Sidekiq 8 counts in whole milliseconds, older ones in seconds with a fraction."""
    try:
        at = json.loads(job)["enqueued_at"] if job is not None else now
        seconds = at / 1000 if isinstance(at, int) and at > 1e11 else float(at)
    except (ValueError, KeyError, TypeError):
        return 0.0
    return max(now - seconds, 0.0)
