"""Where politeness and work meet: admission decides who is asked when, the client asks, threads do the rest.

Every record is a `Way` through its sources. It runs in a thread until it needs something from outside; then it waits here, in
the queue of a stranger's host or before a gate, holding nothing but itself. Batches of ways and single ones share the desk:
one admission, one client, the same threads. A record is under way once: who asks for it a second time waits for the same end.
The desk lives in one event loop; everything but the ways themselves runs there.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mastomend.mastodon.urls import origin_host
from mastomend.remote.admission import Admission, Host, Politeness
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.remote.client import GuardedClient
from mastomend.restore.case import Answer, Gate, Step, Wait, Way
from mastomend.restore.gates import Gates
from mastomend.storage.ports import BulkLookup
from mastomend.vocabulary import Done

_QUEUED = 12_000
_BACKLOG = 24
#: Threads for what somebody waits for, beside those of batches.
_URGENT = 2
#: Bodies that may be larger than this are asked for a few at a time: they are held in memory.
_LARGE_BYTES = 16 * 1024 * 1024
_LARGE = 3
_T = TypeVar("_T")

End = Done | None | BaseException


def workers_for(store: object) -> int:
    """Threads that make and store pictures. A disk is waited for briefly: there more only compete for the processor."""
    return max(3, min((os.cpu_count() or 1) + 1, 8)) if isinstance(store, BulkLookup) else 12


@dataclass(eq=False, slots=True)
class _Journey:
    """A way that was begun: who is told how it ended, and what it waits for. Somebody waits for an `urgent` one."""

    way: Way
    tells: list[Callable[[End], None]]
    urgent: bool = False
    ask: Ask | None = None
    tries: int = 0

    def end(self, end: End) -> None:
        """Tell everybody, once."""
        tells, self.tells = self.tells, []
        for tell in tells:
            tell(end)


@dataclass(frozen=True, slots=True)
class _Ended:
    done: Done | None


class Desk:
    """Takes ways to their ends. Use it as an async context manager; whoever still waits when it is left hears so."""

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
        self._under_way: dict[object, _Journey] = {}
        self._gates: Gates[_Journey] = Gates(self._ask_gate, self._through, now)
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._bells: set[asyncio.Event] = set()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="restore")
        self._urgent_threads = ThreadPoolExecutor(_URGENT, thread_name_prefix="restore-urgent")
        self._large = asyncio.Semaphore(_LARGE)
        self._is_closed = False

    async def __aenter__(self) -> Desk:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._tasks:
            task.cancel()
        while left := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(left, timeout=1)  # a second Ctrl-C may have taken away what would tell of an end
        self._threads.shutdown(wait=True)
        self._urgent_threads.shutdown(wait=True)
        for journey in [*self._under_way.values()]:
            journey.end(asyncio.CancelledError("the desk is closed"))
        self._under_way.clear()
        await self._client.__aexit__(*error)

    async def ask(self, way: Way) -> Done | None:
        """One record, before all others of its host: somebody waits for it. What became of it, None if it is whole or gone.

        Raises:
            MastomendError: the disk, the database, the journal or Redis is lost. CancelledError: the desk was closed.
        """
        ended: asyncio.Future[Done | None] = asyncio.get_running_loop().create_future()

        def tell(end: End) -> None:
            if ended.done():  # whoever waited went away; the record is mended all the same
                return
            if isinstance(end, asyncio.CancelledError):
                ended.cancel()
            elif isinstance(end, BaseException):
                ended.set_exception(end)
            else:
                ended.set_result(end)

        self._begin(way, tell, urgent=True)
        return await ended

    async def all(self, batches: Iterator[Sequence[Way]]) -> AsyncIterator[Done | None]:
        """Many records, as they end. The next batch is taken, in a thread, when there is room for it.

        What has not ended when it is left is not begun any more, unless somebody else waits for it.

        Raises:
            MastomendError: as `ask`, of the first way that met it, or of the batches themselves.
        """
        bell = asyncio.Event()
        ended: list[End] = []
        more, under_way = True, 0

        def tell(end: End) -> None:
            ended.append(end)
            bell.set()

        self._bells.add(bell)
        try:
            while more or under_way:
                bell.clear()
                if more and self._hungry:
                    batch = await self._in_thread(self._threads, next, batches, None)
                    more = batch is not None
                    if not more:
                        self._bells.discard(bell)  # from now on only ends are waited for
                    for way in batch or ():
                        under_way += 1
                        self._begin(way, tell)
                elif not ended:
                    await bell.wait()
                some, ended[:] = [*ended], []
                under_way -= len(some)
                for end in some:
                    if isinstance(end, BaseException):
                        raise end
                    yield end
        finally:
            self._bells.discard(bell)
            self._withdraw(tell)

    def waiting_for(self, number: int) -> list[tuple[Host, int]]:
        """The hosts on whose turns most records wait, and how many."""
        return self._admission.busiest(number)

    # --- journeys -----------------------------------------------------------------------------------------------------

    def _begin(self, way: Way, tell: Callable[[End], None], *, urgent: bool = False) -> None:
        if self._is_closed:
            tell(asyncio.CancelledError("the desk is closed"))
            return
        journey = self._under_way.get(way.about)
        if journey is None:
            journey = self._under_way[way.about] = _Journey(way, [tell], urgent)
            self._go_on(journey)
            return
        journey.tells.append(tell)
        way.steps.close()
        if urgent and not journey.urgent:
            journey.urgent = True
            if journey.ask is not None:
                self._admission.hurry(Host(origin_host(journey.ask.url)), journey)

    def _withdraw(self, tell: Callable[[End], None]) -> None:
        """Nobody hears that tale any more: what is told to nobody else need not go on."""
        nobody_s = set()
        for journey in [*self._under_way.values()]:
            if tell in journey.tells:
                journey.tells.remove(tell)
                if not journey.tells:
                    nobody_s.add(journey)
        for journey in self._admission.withdraw(nobody_s):
            self._end(journey, None)
        self._pump()

    def _end(self, journey: _Journey, end: End) -> None:
        self._under_way.pop(journey.way.about, None)
        journey.end(end)

    def _go_on(self, journey: _Journey, answer: Answer | Exception | None = None) -> None:
        self._working += 1
        self._spawn(journey, self._stretch, journey, answer)

    def _spawn(self, journey: _Journey, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """In a task of its own; whatever goes wrong there ends that journey."""

        async def guarded() -> None:
            try:
                await work(*arguments)
            except BaseException as error:
                self._end(journey, error)
                if not isinstance(error, Exception):
                    raise
            finally:
                self._pump()

        self._keep(asyncio.create_task(guarded()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, threads: ThreadPoolExecutor, work: Callable[..., _T], *arguments: object) -> _T:
        """In a thread of our own: names are resolved in asyncio's, which must never wait for ffmpeg."""
        return await asyncio.get_running_loop().run_in_executor(threads, work, *arguments)

    async def _stretch(self, journey: _Journey, answer: Answer | Exception | None) -> None:
        """One stretch of a way in a thread, which is counted as working already; then it ended, or waits again."""
        threads = self._urgent_threads if journey.urgent else self._threads
        try:
            step = await self._in_thread(threads, _advance, journey.way, answer)
        finally:
            self._working -= 1
        if not isinstance(step, _Ended) and not journey.tells:  # nobody waits for it any more
            journey.way.steps.close()
            self._end(journey, None)
            return
        match step:
            case Ask():
                # who was asked about a record is asked on about it, before others: what ends is kept if this is cut off
                goes_on, journey.ask, journey.tries = isinstance(answer, Fetched | NotFetched), step, 0
                host = Host(origin_host(step.url))
                self._admission.submit(host, journey, self._now(), first=goes_on, urgent=journey.urgent)
            case Wait():
                if (watch := self._gates.stand(step.gate, journey)) is not None:
                    self._keep(asyncio.create_task(watch))
            case _Ended():
                self._end(journey, step.done)

    async def _ask_gate(self, gate: Gate, wanted: int) -> int:
        return await self._in_thread(self._urgent_threads, gate.open_for, wanted)

    def _through(self, journey: _Journey, answer: bool | Exception) -> None:
        """A way goes on behind a gate, or before one that did not open."""
        if journey.tells or answer is True:  # a place that was taken is given back by the way itself
            self._go_on(journey, answer)
        else:
            self._end(journey, None)
            self._pump()

    # --- strangers ----------------------------------------------------------------------------------------------------

    @property
    def _hungry(self) -> bool:
        """Whether another batch should be looked at now."""
        return self._admission.queued < _QUEUED and self._working < _BACKLOG and self._gates.waiting < _BACKLOG

    @property
    def _full(self) -> bool:
        """Whether fetched bodies already wait for the threads: fetching more would only hold memory."""
        return self._working + self._admission.in_flight >= _BACKLOG + self._politeness.concurrency

    def _pump(self) -> None:
        """Start what may be started, come back when more may, and ring for whoever waits for room."""
        if self._is_closed:
            return
        for host, journey, last in self._admission.returned():  # its way goes on to what else it knows
            detail = f"{host} is left alone after repeated trouble; the last was: {last.detail}"
            self._go_on(journey, NotFetched(last.failure, detail, last.retry_after_s))
        while not self._full and (admitted := self._admission.admit(self._now())) is not None:
            host, journey = admitted
            self._spawn(journey, self._fetch, host, journey)
        if not self._full and (next_at := self._admission.next_at()) is not None:
            self._come_back(max(0.0, next_at - self._now()))
        if self._hungry:
            for bell in self._bells:
                bell.set()

    def _come_back(self, seconds: float) -> None:
        """Pump again then, unless that is going to happen before."""
        loop = asyncio.get_running_loop()
        moment = loop.time() + seconds
        if self._alarm is not None:
            if self._alarm.when() <= moment:
                return
            self._alarm.cancel()
        self._alarm = loop.call_at(moment, self._alarmed)

    def _alarmed(self) -> None:
        self._alarm = None
        self._pump()

    async def _fetch(self, host: Host, journey: _Journey) -> None:
        assert journey.ask is not None
        if journey.ask.max_bytes <= _LARGE_BYTES:
            await self._ask(host, journey, journey.ask)
            return
        async with self._large:  # until the body is dealt with
            await self._ask(host, journey, journey.ask)

    async def _ask(self, host: Host, journey: _Journey, ask: Ask) -> None:
        answer: Fetched | NotFetched | Exception
        try:
            answer = await self._client.get(ask)
        except Exception as defect:  # of ours: its way hears of it
            answer = defect
        if not isinstance(answer, NotFetched) or not answer.failure.host_in_trouble:
            self._admission.succeeded(host)
        else:
            self._admission.failed(host, self._now(), answer)
            # a host that asks for a pause has said nothing about this file; how often it may ask is admission's business
            journey.tries += answer.failure is not Failure.RATE_LIMITED
            if journey.tries < self._politeness.tries:
                self._admission.submit(host, journey, self._now(), first=True, urgent=journey.urgent)
                return
        journey.ask = None
        self._working += 1
        self._pump()
        await self._stretch(journey, answer)


def _advance(way: Way, answer: Answer | Exception | None) -> Step | _Ended:
    try:
        if isinstance(answer, Exception):
            return way.steps.throw(answer)
        return next(way.steps) if answer is None else way.steps.send(answer)
    except StopIteration as end:
        return _Ended(end.value)
