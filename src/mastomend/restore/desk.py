"""Where politeness and work meet: admission decides who is asked when, the client asks, threads do the rest.

Every record is a `Way` through its sources. It runs in a thread until it needs something from a stranger; then it waits
here, in the queue of that stranger's host, holding nothing but itself. Batches of ways and single ones share the desk: one
admission, one client, the same threads. It lives in one event loop; everything but the ways themselves runs there.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from mastomend.mastodon.urls import origin_host
from mastomend.remote.admission import Admission, Host, Politeness
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.remote.client import GuardedClient
from mastomend.restore.case import Answer, Step, Wait, Way
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
    """A way that was begun: whom to tell how it ended, and what it waits for. Somebody waits for an `urgent` one."""

    way: Way
    tell: Callable[[Done | Exception | None], None]
    urgent: bool = False
    ask: Ask | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Ended:
    done: Done | None


class Desk:
    """Takes ways to their ends. Use it as an async context manager; what is under way when it is left is given up."""

    def __init__(
        self,
        client: GuardedClient,
        politeness: Politeness,
        workers: int,
        now: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._client = client
        self._now = now
        self._politeness = politeness
        self._admission: Admission[_Journey] = Admission(politeness, chance or random.Random())
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._waiting = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._bells: set[asyncio.Event] = set()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="restore")
        self._large = asyncio.Semaphore(_LARGE)

    async def __aenter__(self) -> Desk:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=True)
        await self._client.__aexit__(*error)

    async def ask(self, way: Way) -> Done | None:
        """One record, before all others of its host: somebody waits for it. What became of it, None if it is whole or gone.

        Raises:
            MastomendError: the disk, the database, the journal or Redis is lost.
        """
        ended: asyncio.Future[Done | None] = asyncio.get_running_loop().create_future()

        def tell(end: Done | Exception | None) -> None:
            if ended.cancelled():  # whoever waited went away; the record is mended all the same
                return
            if isinstance(end, Exception):
                ended.set_exception(end)
            else:
                ended.set_result(end)

        self._go_on(_Journey(way, tell, urgent=True))
        return await ended

    async def all(self, batches: Iterator[Sequence[Way]]) -> AsyncIterator[Done | None]:
        """Many records, as they end. The next batch is taken, in a thread, when there is room for it.

        Raises:
            MastomendError: as `ask`, of the first way that met it, or of the batches themselves.
        """
        bell = asyncio.Event()
        ended: list[Done | Exception | None] = []
        more, under_way = True, 0

        def tell(end: Done | Exception | None) -> None:
            ended.append(end)
            bell.set()

        self._bells.add(bell)
        try:
            while more or under_way:
                bell.clear()
                if more and self._hungry:
                    batch = await self._in_thread(next, batches, None)
                    more = batch is not None
                    for way in batch or ():
                        under_way += 1
                        self._go_on(_Journey(way, tell))
                elif not ended:
                    await bell.wait()
                some, ended[:] = [*ended], []
                under_way -= len(some)
                for end in some:
                    if isinstance(end, Exception):
                        raise end
                    yield end
        finally:
            self._bells.discard(bell)

    # --- in the event loop --------------------------------------------------------------------------------------------

    @property
    def _hungry(self) -> bool:
        """Whether another batch should be looked at now."""
        return self._admission.queued < _QUEUED and self._working < _BACKLOG and self._waiting < _BACKLOG

    @property
    def _full(self) -> bool:
        """Whether fetched bodies already wait for the threads: fetching more would only hold memory."""
        return self._working + self._admission.in_flight >= _BACKLOG + self._politeness.concurrency

    def _pump(self) -> None:
        """Start what may be started, come back when more may, and ring for whoever waits for room."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for host, journey, last in self._admission.returned():  # its way goes on to what else it knows
            detail = f"{host} is left alone after repeated trouble; the last was: {last.detail}"
            self._go_on(journey, NotFetched(last.failure, detail, last.retry_after_s))
        while not self._full and (admitted := self._admission.admit(self._now())) is not None:
            host, journey = admitted
            self._spawn(journey, self._fetch, host, journey)
        if not self._full and (next_at := self._admission.next_at()) is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, next_at - self._now()), self._pump)
        for bell in self._bells:
            bell.set()

    def _spawn(self, journey: _Journey, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """In a task of its own; whatever goes wrong there ends that journey."""

        async def guarded() -> None:
            try:
                await work(*arguments)
            except Exception as error:
                journey.tell(error)
            self._pump()

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        """In a thread of our own: names are resolved in asyncio's, which must never wait for ffmpeg."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _go_on(self, journey: _Journey, answer: Answer | None = None) -> None:
        self._working += 1
        self._spawn(journey, self._stretch, journey, answer)

    async def _stretch(self, journey: _Journey, answer: Answer | None) -> None:
        """One stretch of a way in a thread, which is counted as working already; then it ended, or waits again."""
        try:
            step = await self._in_thread(_advance, journey.way, answer)
        finally:
            self._working -= 1
        match step:
            case Ask():
                asks = replace(journey, ask=step, tries=0)
                self._admission.submit(Host(origin_host(step.url)), asks, self._now(), first=journey.urgent)
            case Wait():
                self._spawn(journey, self._wait, journey, step)
            case _Ended():
                journey.tell(step.done)

    async def _wait(self, journey: _Journey, wait: Wait) -> None:
        self._waiting += 1
        try:
            patience = self._now() + wait.patience_s
            while not (is_ready := await self._in_thread(wait.is_ready)) and self._now() <= patience:
                await asyncio.sleep(wait.poll_s)
        finally:
            self._waiting -= 1
        self._go_on(journey, is_ready)

    async def _fetch(self, host: Host, journey: _Journey) -> None:
        assert journey.ask is not None
        if journey.ask.max_bytes <= _LARGE_BYTES:
            await self._ask(host, journey, journey.ask)
            return
        async with self._large:  # until the body is dealt with
            await self._ask(host, journey, journey.ask)

    async def _ask(self, host: Host, journey: _Journey, ask: Ask) -> None:
        answer = await self._client.get(ask)
        if isinstance(answer, Fetched) or not answer.failure.host_in_trouble:
            self._admission.succeeded(host)
        else:
            self._admission.failed(host, self._now(), answer)
            # a host that asks for a pause has said nothing about this file; how often it may ask is admission's business
            tries = journey.tries + (answer.failure is not Failure.RATE_LIMITED)
            if tries < self._politeness.tries:
                self._admission.submit(host, replace(journey, tries=tries), self._now(), first=True)
                return
        self._working += 1
        self._pump()
        await self._stretch(journey, answer)


def _advance(way: Way, answer: Answer | None) -> Step | _Ended:
    try:
        return next(way) if answer is None else way.send(answer)
    except StopIteration as end:
        return _Ended(end.value)
