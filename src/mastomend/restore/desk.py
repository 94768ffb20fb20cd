"""Where politeness and work meet: admission decides who is asked when, the client asks, threads do the rest.

Every record is a `Way` through its sources. It runs in a thread until it needs something from a stranger; then it waits
here, in the queue of that stranger's host, holding nothing but itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from mastomend.mastodon.configuration import origin_host
from mastomend.outcomes import Verdict
from mastomend.plans.repair import subject
from mastomend.remote.admission import Admission, Host, Politeness
from mastomend.remote.client import Ask, Failure, Fetched, GuardedClient, NotFetched
from mastomend.restore.case import Answer, Broken, Case, Way
from mastomend.restore.chain import Chain
from mastomend.storage.ports import BulkLookup
from mastomend.vocabulary import Done

_QUEUED = 20_000
_BACKLOG = 24
#: Bodies that may be larger than this are asked for a few at a time: they are held in memory.
_LARGE_BYTES = 16 * 1024 * 1024
_LARGE = 3
_T = TypeVar("_T")


def workers_for(store: object) -> int:
    """Threads that make and store pictures. A disk is waited for briefly: there more only compete for the processor."""
    return max(3, min((os.cpu_count() or 1) + 1, 8)) if isinstance(store, BulkLookup) else 12


@dataclass(frozen=True, slots=True)
class _Journey:
    """A record on its way, what it waits for, and how often that was tried."""

    case: Case
    way: Way
    ask: Ask
    tries: int = 0


class Desk:
    """Takes records through their sources until each has an outcome.

    `close` records an outcome, or that a record needs none (None); it is called from threads, of which there are `workers`.
    """

    def __init__(
        self,
        chain: Chain,
        client: GuardedClient,
        politeness: Politeness,
        batches: Iterator[list[Broken]],
        close: Callable[[Done | None], None],
        workers: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._client = client
        self._batches: Iterator[list[Broken]] | None = batches
        self._close = close
        self._now = now
        self._politeness = politeness
        self._admission: Admission[_Journey] = Admission(politeness, random.Random())
        self._last_failure: dict[Host, NotFetched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="restore")
        self._large = asyncio.Semaphore(_LARGE)

    async def run(self) -> None:
        """Until everything has an outcome; the first error that stops the run is raised after what is under way ends."""
        try:
            async with self._client:
                while await self._feed() or self._tasks or self._admission.queued:
                    self._take_returned()
                    self._start()
                    await self._wait()
                    self._take_returned()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._threads.shutdown(wait=True)

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        """In a thread of our own: names are resolved in asyncio's, which must never wait for ffmpeg."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    @property
    def _hungry(self) -> bool:
        """Whether another batch should be looked at now."""
        return self._batches is not None and self._admission.queued < _QUEUED and self._working < _BACKLOG

    @property
    def _full(self) -> bool:
        """Whether fetched bodies already wait for the threads: fetching more would only hold memory."""
        return self._working + self._admission.in_flight >= _BACKLOG + self._politeness.concurrency

    async def _feed(self) -> bool:
        """Look at one more batch if there is room; False when there are none left."""
        if self._hungry and self._batches is not None:
            batch = await self._in_thread(next, self._batches, None)
            if batch is None:
                self._batches = None
                return False
            items = await self._in_thread(self._chain.look, batch)
            for _ in range(len(batch) - len(items)):
                self._close(None)
            for item in items:
                if isinstance(item, Case):
                    self._begin(self._advance(item, self._chain.restore(item), None))
                else:
                    await self._in_thread(self._close, item)
        return self._batches is not None

    def _begin(self, work: Callable[[], Done | _Journey | None]) -> None:
        self._working += 1
        self._tasks.add(asyncio.create_task(self._work(work)))

    async def _work(self, work: Callable[[], Done | _Journey | None]) -> None:
        """One stretch of a record's way in a thread; then it is done, or waits for a stranger again."""

        def stretch() -> Done | _Journey | None:
            step = work()
            if not isinstance(step, _Journey):
                self._close(step)
            return step

        try:
            step = await self._in_thread(stretch)
        finally:
            self._working -= 1
        if isinstance(step, _Journey):
            self._admission.submit(Host(origin_host(step.ask.url)), step)

    def _advance(self, case: Case, way: Way, answer: Answer | None) -> Callable[[], Done | _Journey | None]:
        def work() -> Verdict | _Journey | None:
            try:
                ask = next(way) if answer is None else way.send(answer)
            except StopIteration as end:
                verdict: Verdict | None = end.value
                return verdict
            return _Journey(case, way, ask)

        def attempt() -> Done | _Journey | None:
            came = self._chain.attempt(case, work)
            return came if came is None or isinstance(came, _Journey) else Done(subject(case.target), came)

        return attempt

    def _start(self) -> None:
        while not self._full:
            admitted = self._admission.admit(self._now())
            if admitted is None:
                return
            self._tasks.add(asyncio.create_task(self._fetch(*admitted)))

    async def _wait(self) -> None:
        """Until something ends, something may start, or at once if there is more to look at."""
        timeout = None
        if self._hungry:
            timeout = 0.0
        elif not self._full and (next_at := self._admission.next_at()) is not None:
            timeout = max(0.0, next_at - self._now())
        if not self._tasks:
            await asyncio.sleep(timeout or 0.0)
            return
        done, _ = await asyncio.wait(self._tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda task: task.exception() is None):
            task.result()  # the first that failed ends the run; the others stay among the tasks, to be waited for
            self._tasks.discard(task)

    async def _fetch(self, host: Host, journey: _Journey) -> None:
        if journey.ask.max_bytes <= _LARGE_BYTES:
            await self._ask(host, journey)
            return
        async with self._large:  # until the body is dealt with
            await self._ask(host, journey)

    async def _ask(self, host: Host, journey: _Journey) -> None:
        answer = await self._client.get(journey.ask)
        if isinstance(answer, Fetched) or not answer.failure.host_in_trouble:
            self._admission.succeeded(host)
            self._working += 1
            await self._work(self._advance(journey.case, journey.way, answer))
            return
        self._last_failure[host] = answer
        self._admission.failed(host, self._now(), answer.retry_after_s)
        # a host that asks for a pause has said nothing about this file; how often it may ask is admission's business
        tries = journey.tries + (answer.failure is not Failure.RATE_LIMITED)
        if tries < self._politeness.tries:
            self._admission.submit(host, replace(journey, tries=tries), first=True)
        else:
            self._working += 1
            await self._work(self._advance(journey.case, journey.way, answer))

    def _take_returned(self) -> None:
        """Records whose host was given up hear so, and go on to what else they know."""
        for host, journey in self._admission.returned():
            last = self._last_failure[host]
            detail = f"{host} is left alone after repeated trouble; the last was: {last.detail}"
            self._begin(self._advance(journey.case, journey.way, NotFetched(last.failure, detail, last.retry_after_s)))
