"""A simulated S3 bucket that only lists, with a latency for every page, in a process of its own. Run by list_latency.

    python bench/slow_bucket.py KEYS LATENCY_MS

Keys are remote avatars in Mastodon's layout, in byte order. Answers are made before the clock starts, so that the
latency is what a page costs. Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_right

from aiohttp import web

FIRST, STEP = 109_876_543_210_000_000, 6_553_600_007
PAGE = 1_000


def key(n: int) -> str:
    text = f"{FIRST + n * STEP:018d}"
    return f"cache/accounts/avatars/{'/'.join(text[i : i + 3] for i in range(0, 18, 3))}/original/{n:016x}.png"


def main(count: int, latency_s: float) -> None:
    keys = [key(n) for n in range(count)]

    def entries(start: int) -> str:
        stamp = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
        return "".join(
            f"<Contents><Key>{k}</Key>{stamp}<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for k in keys[start : start + PAGE]
        )

    async def answer(request: web.Request) -> web.Response:
        began = asyncio.get_running_loop().time()
        after = request.query.get("continuation-token") or request.query.get("start-after", "")
        start = bisect_right(keys, after)
        more = start + PAGE < count
        token = f"<NextContinuationToken>{keys[start + PAGE - 1]}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><Prefix></Prefix>'
            f"<KeyCount>{min(PAGE, count - start)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries(start)}</ListBucketResult>"
        )
        await asyncio.sleep(max(0.0, latency_s - (asyncio.get_running_loop().time() - began)))
        return web.Response(text=body, content_type="application/xml")

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000)
