"""The simulated fediverse: origin servers on loopback addresses, over real HTTP, each with its own manners.

Every origin has an address of its own in 127.0.0.0/8, so that per-host politeness meets real hosts. Every request is
recorded, which is how tests know what was fetched, how often, and how politely.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import web

from mastomend.demo.services import free_ports


class Manners(Enum):
    """How an origin answers."""

    GOOD = "good"
    SLOW = "answers after a while"
    GONE = "410 for everything"
    RATE_LIMITED = "429 with Retry-After, now and then"
    MOVED = "has changed its URLs: 404 for the old ones"
    HTML = "an HTML page where the image was"
    PRIVATE_REDIRECT = "redirects to a private address"
    BROKEN = "500 for everything"
    HANGING = "accepts and never answers"
    HUGE = "bodies without end"
    BOMB = "a small gzip that becomes huge"
    CUT = "closes the connection in the middle of a body"
    REDIRECTING = "redirects once within itself"
    LOOPING = "redirects to itself for ever"


@dataclass(frozen=True, slots=True)
class Request:
    """One request an origin saw. `at` is monotonic seconds."""

    host: str
    path: str
    at: float
    user_agent: str
    accept: str | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Origin:
    """One simulated server. `delay_s` is its latency; `types`, `statuses` and `headers` are of single paths."""

    domain: str
    address: str
    port: int
    manners: Manners = Manners.GOOD
    delay_s: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    retry_after_s: int = 1
    refusals: int = 3
    active: int = 0
    most_active: int = 0

    def publish(self, path: str, document: Mapping[str, object]) -> str:
        """Serve an ActivityPub document; its id is its URL, which is returned."""
        body = {"@context": "https://www.w3.org/ns/activitystreams", "id": self.url(path), **document}
        self.files[path] = json.dumps(body).encode()
        self.types[path] = "application/activity+json"
        return self.url(path)

    def url(self, path: str) -> str:
        """The public URL of a path."""
        return f"http://{self.address}:{self.port}{path}"


class Fediverse:
    """All origins of a simulation; runs in a thread of its own while the block lasts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.origins: dict[str, Origin] = {}
        self.requests: list[Request] = []
        self._loop = asyncio.new_event_loop()
        self._runners: list[web.AppRunner] = []

    def add(
        self, domain: str, manners: Manners = Manners.GOOD, *, delay_s: float = 0.0, address: str | None = None
    ) -> Origin:
        """Start another origin."""
        number = len(self.origins) + 2
        origin = Origin(domain, address or f"127.0.{number // 250}.{number % 250 + 1}", self.port, manners, delay_s)
        self.origins[domain] = origin
        asyncio.run_coroutine_threadsafe(self._listen(origin), self._loop).result(timeout=10)
        return origin

    def fetched(self) -> Counter[str]:
        """How often each path was asked for, over all origins: `ADDRESS/path`."""
        return Counter(f"{r.host}{r.path}" for r in list(self.requests))

    async def _listen(self, origin: Origin) -> None:
        app = web.Application()

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(origin, request)

        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, origin.address, origin.port, reuse_address=True).start()
        self._runners.append(runner)

    async def _answer(self, origin: Origin, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        seen = Request(
            origin.address,
            request.path_qs,
            time.monotonic(),
            headers.get("User-Agent", ""),
            headers.get("Accept"),
            dict(headers),
        )
        self.requests.append(seen)
        origin.active += 1
        origin.most_active = max(origin.most_active, origin.active)
        try:
            if origin.delay_s:
                await asyncio.sleep(origin.delay_s)
            return await self._behave(origin, request)
        finally:
            origin.active -= 1

    async def _behave(self, origin: Origin, request: web.Request) -> web.StreamResponse:  # noqa: C901 - an arm a sort of manners
        body = origin.files.get(request.path)
        match origin.manners:
            case Manners.GONE:
                return web.Response(status=410)
            case Manners.BROKEN:
                return web.Response(status=500)
            case Manners.RATE_LIMITED if origin.refusals > 0:
                origin.refusals -= 1
                return web.Response(status=429, headers={"Retry-After": str(origin.retry_after_s)})
            case Manners.HTML:
                return web.Response(text="<!DOCTYPE html><title>Not what you wanted</title>", content_type="text/html")
            case Manners.PRIVATE_REDIRECT:
                raise web.HTTPFound("http://10.0.0.1/secret.png")
            case Manners.LOOPING:
                raise web.HTTPFound(request.path)
            case Manners.REDIRECTING if not request.path.startswith("/moved"):
                raise web.HTTPMovedPermanently("/moved" + request.path)
            case Manners.REDIRECTING:
                body = origin.files.get(request.path.removeprefix("/moved"))
            case Manners.HANGING:
                await asyncio.sleep(120)
            case Manners.HUGE:
                return await self._endless(request)
            case Manners.BOMB:
                bomb = gzip.compress(b"\0" * 200_000_000, 9)
                return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "image/png"})
            case Manners.CUT:
                return await self._cut(request, body or b"")
            case _:
                pass
        if status := origin.statuses.get(request.path):
            return web.Response(status=status)
        if body is None:
            return web.Response(status=404)
        headers = {"Content-Type": origin.types.get(request.path, "application/octet-stream")}
        return web.Response(body=body, headers=headers | origin.headers.get(request.path, {}))

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(b"\x89PNG" + b"\0" * 1_000_000)
        return response

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body) + 1000)})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response


@contextmanager
def fediverse() -> Iterator[Fediverse]:
    """A running, empty fediverse; ends with the block."""
    simulated = Fediverse(free_ports(1)[0])
    thread = threading.Thread(target=simulated._loop.run_forever, name="fediverse", daemon=True)
    thread.start()
    try:
        yield simulated
    finally:

        async def stop() -> None:
            for runner in simulated._runners:
                await runner.cleanup()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), simulated._loop).result(timeout=20)
        simulated._loop.call_soon_threadsafe(simulated._loop.stop)
        thread.join(timeout=10)
        simulated._loop.close()
