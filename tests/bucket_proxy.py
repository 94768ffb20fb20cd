"""What stands between Mastomend and an S3 server: a proxy that records what is asked, and puts faults into the answers."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came over the wire."""

    method: str
    host: str
    raw_path: str
    headers: dict[str, str]


@dataclass(slots=True)
class BucketProxy:
    """Passes requests on to `target`. `fault` may answer instead of it, `rewrite` changes bodies of listings, `turn` those of
    objects as they go by (the method and the body).

    Without a target every request is answered by `fault`, or 404.
    """

    target: str | None
    endpoint: str = ""
    seen: list[Seen] = field(default_factory=list)
    fault: Callable[[web.Request], web.StreamResponse | float | None] | None = None
    rewrite: Callable[[web.Request, bytes], bytes] | None = None
    turn: Callable[[str, bytes], bytes] | None = None
    _under_way: int = 0

    @property
    def lists(self) -> int:
        """Listing pages asked for so far."""
        return sum("list-type" in one.raw_path for one in self.seen)

    @property
    def heads(self) -> int:
        """Look-ups of single objects so far."""
        return sum(one.method == "HEAD" for one in self.seen)

    def settle(self) -> None:
        """Wait until nothing is under way: what a process sent before it was killed goes on to the bucket.

        Raises:
            TimeoutError: something is, after twenty seconds.
        """
        until = time.monotonic() + 20
        quiet = 0
        while quiet < 3:  # a request may be in the socket that was not read yet
            if time.monotonic() > until:
                raise TimeoutError(f"{self._under_way} requests are still under way")
            time.sleep(0.05)
            quiet = 0 if self._under_way else quiet + 1

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self._under_way += 1
        try:
            return await self._handle(request)
        finally:
            self._under_way -= 1

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.host, request.raw_path, dict(request.headers)))
        answer = self.fault(request) if self.fault else None
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        elif answer is not None:
            return answer
        if self.target is None:
            return web.Response(status=404)
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        url = URL(f"{self.target}{request.raw_path}", encoded=True)
        body = await request.read()
        if self.turn and request.method == "PUT":
            body = self.turn("PUT", body)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                url,
                headers={**headers, "Host": request.host},
                data=io.BytesIO(body) if body else None,
                allow_redirects=False,
            ) as found,
        ):
            kept = {n: v for n, v in found.headers.items() if n.lower() not in ("transfer-encoding",)}
            content = await found.read()
            if self.turn and request.method == "GET" and found.status == 200:
                content = self.turn("GET", content)
            if self.rewrite and "list-type" in request.query:
                content = self.rewrite(request, content)
                kept = {n: v for n, v in kept.items() if n.lower() != "content-length"}
            response = web.StreamResponse(status=found.status, headers=kept)
            await response.prepare(request)
            if request.method != "HEAD":
                await response.write(content)
            return response


def refuse(status: int, code: str = "", *, more: str = "", headers: dict[str, str] | None = None) -> web.Response:
    """An S3 error."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{more}</Error>" if code else ""
    return web.Response(status=status, text=body, content_type="application/xml", headers=headers)


@contextmanager
def bucket_proxy(target: str | None) -> Iterator[BucketProxy]:
    """A running proxy; it lives in a thread of its own."""
    loop = asyncio.new_event_loop()
    proxy = BucketProxy(target)

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=200_000_000)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
