"""A simulated S3 bucket that only lists, with a latency for every page, in a process of its own.

    python bench/slow_bucket.py KEYS LATENCY_MS

Keys are remote avatars in Mastodon's layout, in byte order, all of one length, so that a page is a slice of one buffer
made before the clock starts: what a page costs is the latency and little else. `GET /requests` answers how many pages
were asked for. Prints its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from aiohttp import web

FIRST, STEP = 109_876_543_210_000_000, 6_553_600_007
PAGE = 1_000
PREFIX = "cache/accounts/avatars/"
ETAG = "&quot;d41d8cd98f00b204e9800998ecf8427e&quot;"


def key(n: int) -> str:
    text = f"{FIRST + n * STEP:018d}"
    return f"{PREFIX}{'/'.join(text[i : i + 3] for i in range(0, 18, 3))}/original/{n:016x}.png"


class Keys(Sequence[str]):
    """The keys of the bucket, made when asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, n: int) -> str: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[str]: ...
    def __getitem__(self, n: int | slice) -> str | Sequence[str]:
        assert isinstance(n, int)
        if not 0 <= n < self._count:
            raise IndexError(n)
        return key(n)


def entry(n: int) -> str:
    stamp = f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{ETAG}</ETag>"
    return f"<Contents><Key>{key(n)}</Key>{stamp}<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"


def main(count: int, latency_s: float) -> None:
    width = len(entry(0))
    buffer = memoryview(b"".join(entry(n).encode() for n in range(count)))
    assert len(buffer) == width * count
    keys = Keys(count)
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        if request.path == "/requests":
            return web.Response(text=str(asked))
        if request.method == "HEAD" or "location" in request.query:  # what other clients begin with
            return web.Response(text='<LocationConstraint xmlns="x"/>', content_type="application/xml")
        asked += 1
        began = asyncio.get_running_loop().time()
        query = request.query
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker", "")
        prefix = request.query.get("prefix", "")
        start = bisect_right(keys, after) if PREFIX.startswith(prefix) else count
        stop = min(start + int(request.query.get("max-keys", PAGE)), count)
        token = f"<NextContinuationToken>{key(stop - 1)}</NextContinuationToken>" if stop < count else ""
        head = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><Prefix></Prefix>'
            f"<KeyCount>{stop - start}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(stop < count).lower()}</IsTruncated>{token}"
        )
        body = b"".join((head.encode(), buffer[start * width : stop * width], b"</ListBucketResult>"))
        await asyncio.sleep(max(0.0, latency_s - (asyncio.get_running_loop().time() - began)))
        return web.Response(body=body, content_type="application/xml")

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


@contextlib.contextmanager
def slow_bucket(keys: int, latency_ms: float) -> Iterator[str]:
    """The endpoint of such a bucket; it ends with the block."""
    command = [sys.executable, str(Path(__file__)), str(keys), str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000)
