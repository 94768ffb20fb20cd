"""Who may be asked next, and when: politeness towards other servers as a pure state machine.

Per host: at most `per_host` requests at once and `rate` starts per second. Over all: at most `concurrency`. Hosts take
turns, so a big slow host never delays the others. A host that says 429 or 503 is left alone for as long as it says
(`Retry-After`) or, if it does not say, for an exponentially growing, jittered while; after `give_up_after` failures in
a row it is left alone for the rest of the run and everything queued for it comes back as deferred. Time and
randomness are arguments: nothing here sleeps.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NewType, TypeVar

Host = NewType("Host", str)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Politeness:
    """The limits; seconds, and requests per second. `mastomend.toml` changes them under `[politeness]`."""

    per_host: int = 2
    rate: float = 2.0
    concurrency: int = 16
    backoff_s: float = 1.0
    max_wait_s: float = 20.0
    give_up_after: int = 4
    tries: int = 3


@dataclass(slots=True)
class _HostState(Generic[T]):
    queue: deque[T] = field(default_factory=deque)
    in_flight: int = 0
    next_start: float = 0.0
    left_alone_until: float = 0.0
    failures: int = 0
    given_up: bool = False
    listed: bool = False

    @property
    def ready_at(self) -> float:
        return max(self.next_start, self.left_alone_until)


class Admission(Generic[T]):
    """The queue of everything that wants to be fetched, of whatever type `T`."""

    def __init__(self, limits: Politeness, chance: random.Random) -> None:
        self._limits = limits
        self._chance = chance
        self._hosts: dict[Host, _HostState[T]] = {}
        self._ready: list[tuple[float, int, Host]] = []
        self._turn = 0
        self._returned: deque[tuple[Host, T]] = deque()
        self.in_flight = 0
        self.queued = 0

    def submit(self, host: Host, item: T, *, first: bool = False) -> None:
        """Queue an item; `first` puts a repeated one before the host's others."""
        state = self._hosts.setdefault(host, _HostState())
        if state.given_up:
            self._returned.append((host, item))
            return
        if first:
            state.queue.appendleft(item)
        else:
            state.queue.append(item)
        self.queued += 1
        self._list(host, state)

    def admit(self, now: float) -> tuple[Host, T] | None:
        """The next item that may start now; it counts as in flight until `finished`. None: nothing may start yet."""
        while self._ready and self.in_flight < self._limits.concurrency:
            ready_at, _, host = self._ready[0]
            if ready_at > now:
                return None
            heapq.heappop(self._ready)
            state = self._hosts[host]
            state.listed = False
            if not state.queue or state.in_flight >= self._limits.per_host:
                continue
            if state.ready_at > now:  # it was told to wait after it had been listed
                self._list(host, state)
                continue
            item = state.queue.popleft()
            state.in_flight += 1
            state.next_start = now + 1 / self._limits.rate if self._limits.rate else now
            self.in_flight += 1
            self.queued -= 1
            self._list(host, state)
            return host, item
        return None

    def next_at(self) -> float | None:
        """When `admit` may have something, if nothing finishes before; None if only a finish can change that."""
        if self.in_flight >= self._limits.concurrency or not self._ready:
            return None
        return self._ready[0][0]

    def succeeded(self, host: Host) -> None:
        """The request ended and the host answered, whatever it said about that one file."""
        state = self._release(host)
        state.failures = 0
        self._list(host, state)

    def failed(self, host: Host, now: float, retry_after_s: float | None = None) -> float:
        """The request ended and the host is in trouble or wants a pause. Seconds it is now left alone.

        A pause longer than `max_wait_s` is not waited for: the host is given up for this run.
        """
        state = self._release(host)
        state.failures += 1
        if retry_after_s is None:
            ceiling = self._limits.backoff_s * 2 ** (state.failures - 1)
            pause = self._chance.uniform(ceiling / 2, ceiling)
        else:
            pause = max(0.0, retry_after_s)
        state.left_alone_until = max(state.left_alone_until, now + pause)
        if state.failures >= self._limits.give_up_after or pause > self._limits.max_wait_s:
            state.given_up = True
            self.queued -= len(state.queue)
            self._returned.extend((host, item) for item in state.queue)
            state.queue.clear()
        self._list(host, state)
        return pause

    def returned(self) -> Iterator[tuple[Host, T]]:
        """Items of hosts that were given up; each comes once."""
        while self._returned:
            yield self._returned.popleft()

    def given_up(self, host: Host) -> bool:
        """Whether that host is left alone for the rest of the run."""
        state = self._hosts.get(host)
        return state is not None and state.given_up

    def _release(self, host: Host) -> _HostState[T]:
        state = self._hosts[host]
        state.in_flight -= 1
        self.in_flight -= 1
        return state

    def _list(self, host: Host, state: _HostState[T]) -> None:
        """One entry per host that could start something, ordered by when it may; equal times take turns."""
        if state.listed or not state.queue or state.in_flight >= self._limits.per_host:
            return
        self._turn += 1
        state.listed = True
        heapq.heappush(self._ready, (state.ready_at, self._turn, host))
