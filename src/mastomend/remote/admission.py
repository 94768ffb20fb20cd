"""Who may be asked next, and when: politeness towards other servers as a pure state machine.

Per host: at most `per_host` requests at once and `rate` starts per second. Over all: at most `concurrency`. Hosts take
turns, so a big slow host never delays the others. A host that says 429 or 503 is left alone for as long as it says
(`Retry-After`) or, if it does not say, for an exponentially growing, jittered while; after `give_up_after` failures in
a row it is given up: everything queued for it comes back, and so does what is asked for until `give_up_s` have passed. Then
it has one more try. Of a host that is well and has nothing to do nothing is remembered. Time and randomness are arguments:
nothing here sleeps.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Generic, NewType, TypeVar

from mastomend.remote.asking import NotFetched

Host = NewType("Host", str)
#: From so many on, hosts that are well are forgotten.
_HOSTS = 1_000
#: Whatever a host asks for, it is tried again after that.
_LONGEST_S = 24 * 3600.0
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
    give_up_s: float = 900.0
    tries: int = 3


@dataclass(slots=True)
class _HostState(Generic[T]):
    urgent: deque[T] = field(default_factory=deque)
    queue: deque[T] = field(default_factory=deque)
    in_flight: int = 0
    next_start: float = 0.0
    left_alone_until: float = 0.0
    failures: int = 0
    given_up_until: float = 0.0
    last: NotFetched | None = None
    listed: bool = False

    @property
    def ready_at(self) -> float:
        return max(self.next_start, self.left_alone_until)

    @property
    def waiting(self) -> int:
        return len(self.urgent) + len(self.queue)

    def take(self) -> T:
        return (self.urgent or self.queue).popleft()

    def is_forgotten(self, now: float, limits: Politeness) -> bool:
        """Whether nothing is lost with it: it has nothing to do, and its last trouble is long over."""
        trouble = max(self.left_alone_until + limits.max_wait_s if self.failures else 0.0, self.given_up_until)
        return not self.waiting and not self.in_flight and not self.listed and max(self.ready_at, trouble) <= now


class Admission(Generic[T]):
    """The queue of everything that wants to be fetched, of whatever type `T`."""

    def __init__(self, limits: Politeness, chance: random.Random) -> None:
        self._limits = limits
        self._chance = chance
        self._hosts: dict[Host, _HostState[T]] = {}
        self._ready: list[tuple[float, int, Host]] = []
        self._turn = 0
        self._returned: deque[tuple[Host, T, NotFetched]] = deque()
        self._tidy_at = _HOSTS
        self.in_flight = 0
        self.queued = 0

    def submit(self, host: Host, item: T, now: float, *, first: bool = False, urgent: bool = False) -> None:
        """Queue an item. What is `urgent`, because somebody waits for it, goes before the host's others; `first` puts a
        repeated one before its like.
        """
        self._tidy(now)
        state = self._hosts.setdefault(host, _HostState())
        if now < state.given_up_until:
            assert state.last is not None
            self._returned.append((host, item, state.last))
            return
        if state.given_up_until:
            asked_for_a_pause = state.last is not None and state.last.retry_after_s is not None
            state.given_up_until = 0.0
            state.failures = 0 if asked_for_a_pause else self._limits.give_up_after - 1
        queue = state.urgent if urgent else state.queue
        if first:
            queue.appendleft(item)
        else:
            queue.append(item)
        self.queued += 1
        self._list(host, state)

    def admit(self, now: float) -> tuple[Host, T] | None:
        """The next item that may start now; it counts as in flight until it `succeeded` or `failed`. None: not yet."""
        while self._ready and self.in_flight < self._limits.concurrency:
            ready_at, _, host = self._ready[0]
            if ready_at > now:
                return None
            heapq.heappop(self._ready)
            state = self._hosts[host]
            state.listed = False
            if not state.waiting or state.in_flight >= self._limits.per_host:
                continue
            if state.ready_at > now:  # it was told to wait after it had been listed
                self._list(host, state)
                continue
            item = state.take()
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
        state.failures, state.given_up_until = 0, 0.0  # whatever another request under way met meanwhile
        self._list(host, state)

    def failed(self, host: Host, now: float, answer: NotFetched) -> float:
        """The request ended and the host is in trouble or wants a pause. Seconds it is now left alone.

        A pause longer than `max_wait_s` is not waited for: the host is given up, for as long as it asked (at most a day).
        """
        state = self._release(host)
        state.failures += 1
        state.last = answer
        if answer.retry_after_s is None:
            ceiling = self._limits.backoff_s * 2 ** (state.failures - 1)
            pause = self._chance.uniform(ceiling / 2, ceiling)
        else:
            pause = min(max(0.0, answer.retry_after_s), _LONGEST_S)
        state.left_alone_until = max(state.left_alone_until, now + pause)
        if state.failures >= self._limits.give_up_after or pause > self._limits.max_wait_s:
            away = self._limits.give_up_s if answer.retry_after_s is None else pause
            state.given_up_until = max(state.given_up_until, now + away)
            self.queued -= state.waiting
            self._returned.extend((host, item, answer) for item in (*state.urgent, *state.queue))
            state.urgent.clear()
            state.queue.clear()
        self._list(host, state)
        return pause

    def returned(self) -> Iterator[tuple[Host, T, NotFetched]]:
        """Items of hosts that were given up, with the host's last answer; each comes once."""
        while self._returned:
            yield self._returned.popleft()

    def hurry(self, host: Host, item: T) -> None:
        """Somebody waits for a queued item now."""
        state = self._hosts.get(host)
        if state is not None and item in state.queue:
            state.queue.remove(item)
            state.urgent.append(item)

    def withdraw(self, items: Set[T]) -> list[T]:
        """Those of the items that are queued are so no more."""
        gone: list[T] = []
        if not items:
            return gone
        for state in self._hosts.values():
            for queue in (state.urgent, state.queue):
                if found := [item for item in queue if item in items]:
                    kept = [item for item in queue if item not in items]
                    queue.clear()
                    queue.extend(kept)
                    gone += found
        self.queued -= len(gone)
        return gone

    def given_up(self, host: Host, now: float) -> bool:
        """Whether that host is given up at that time."""
        state = self._hosts.get(host)
        return state is not None and now < state.given_up_until

    def busiest(self, number: int) -> list[tuple[Host, int]]:
        """The hosts for which most is queued, and how much."""
        waiting = ((state.waiting, host) for host, state in self._hosts.items() if state.waiting)
        return [(host, n) for n, host in heapq.nlargest(number, waiting)]

    @property
    def hosts(self) -> int:
        """How many hosts are remembered."""
        return len(self._hosts)

    def _tidy(self, now: float) -> None:
        """Forget hosts that are well, when many are known: a service may ask for years."""
        if len(self._hosts) < self._tidy_at:
            return
        for host in [host for host, state in self._hosts.items() if state.is_forgotten(now, self._limits)]:
            del self._hosts[host]
        self._tidy_at = max(_HOSTS, 2 * len(self._hosts))

    def _release(self, host: Host) -> _HostState[T]:
        state = self._hosts[host]
        state.in_flight -= 1
        self.in_flight -= 1
        return state

    def _list(self, host: Host, state: _HostState[T]) -> None:
        """One entry per host that could start something, ordered by when it may; equal times take turns."""
        if state.listed or not state.waiting or state.in_flight >= self._limits.per_host:
            return
        self._turn += 1
        state.listed = True
        heapq.heappush(self._ready, (state.ready_at, self._turn, host))
