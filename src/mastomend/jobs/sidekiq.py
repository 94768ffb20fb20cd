"""Handing jobs to Mastodon's Sidekiq: each at most once, now or later, and never more than the queue may hold.

A job and the mark that says it was handed over are written in one step, so a run that is killed between any two
moments can be repeated: what was handed over is not handed over again, what was not is (facts §7).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mastomend.jobs.connection import connect, speaking
from mastomend.mastodon.configuration import Redis
from mastomend.mastodon.jobs import QUEUE, Job

if TYPE_CHECKING:
    import redis

_REMEMBERED_S = 14 * 24 * 3600
_WHAT = "Sidekiq's Redis"

# KEYS: the mark, the set of queues, the list or schedule. ARGV: the mark's life, the queue's name, payload, time or "".
_HAND_OVER = """
if not redis.call('SET', KEYS[1], ARGV[3], 'NX', 'EX', ARGV[1]) then return 0 end
if ARGV[4] == '' then
  redis.call('SADD', KEYS[2], ARGV[2])
  redis.call('LPUSH', KEYS[3], ARGV[3])
else
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
end
return 1
"""
# KEYS: the mark, the list, the schedule.
_TAKE_BACK = """
local payload = redis.call('GET', KEYS[1])
if not payload then return 0 end
redis.call('DEL', KEYS[1])
return redis.call('LREM', KEYS[2], 0, payload) + redis.call('ZREM', KEYS[3], payload)
"""


class Sidekiq:
    """Mastodon's job queue. Safe to use from many threads."""

    def __init__(self, settings: Redis) -> None:
        self._settings = settings
        self._prefix = f"{settings.namespace}:" if settings.namespace else ""

    @cached_property
    def _redis(self) -> redis.Redis:
        return connect(self._settings)

    def waiting(self) -> int:
        """How many jobs are in the queue.

        Raises:
            SourceError: Redis does not answer.
        """
        with speaking(_WHAT):
            length: Any = self._redis.llen(f"{self._prefix}queue:{QUEUE}")
            return int(length)

    def hand_over(self, job: Job, now: float, at: float | None = None) -> bool:
        """Put the job into the queue, or into the schedule for a moment (seconds); False if that was done before.

        Raises:
            SourceError: Redis does not answer.
        """
        later = at is not None and at > now
        target = "schedule" if later else f"queue:{QUEUE}"
        keys = [self._mark(job), f"{self._prefix}queues", self._prefix + target]
        payload = job.payload(now, enqueued=not later)
        with speaking(_WHAT):
            answer: Any = self._redis.eval(
                _HAND_OVER, len(keys), *keys, _REMEMBERED_S, QUEUE, payload, repr(at) if later else ""
            )
        return bool(answer)

    def take_back(self, job: Job) -> bool:
        """Remove the job if no worker has taken it yet.

        Raises:
            SourceError: Redis does not answer.
        """
        keys = [self._mark(job), f"{self._prefix}queue:{QUEUE}", f"{self._prefix}schedule"]
        with speaking(_WHAT):
            answer: Any = self._redis.eval(_TAKE_BACK, len(keys), *keys)
        return bool(answer)

    def was_handed_over(self, job: Job) -> bool:
        """Whether this very job was handed over.

        Raises:
            SourceError: Redis does not answer.
        """
        with speaking(_WHAT):
            return bool(self._redis.exists(self._mark(job)))

    def _mark(self, job: Job) -> str:
        return f"{self._prefix}mastomend:job:{job.jid}"
