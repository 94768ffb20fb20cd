"""What the public gets: our own files asked for by their public addresses, without any key, as a browser would.

The addresses are the instance's own, made from its settings; nobody else names them. So that a sample is quick many are asked
at once, and only the first bytes of each are read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from mastomend.interrupts import run_loop

_TOGETHER = 16
_PATIENCE_S = 20.0
_HEAD = 512
_HOPS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Shown:
    """What came: the status (0: nothing), headers that matter, the first bytes, the size if it was told; or the `trouble` on
    the way: `dns`, `connect`, `tls`, `timeout`, `redirects`, `broken`, `bad_url`. `url` is where it ended.
    """

    url: str
    status: int = 0
    content_type: str = ""
    cache_control: str = ""
    size: int | None = None
    head: bytes = b""
    trouble: str = ""


def ask(urls: Sequence[str], *, together: int = _TOGETHER) -> list[Shown]:
    """What each address gives, in order."""
    return run_loop(_all(urls, together))


async def _all(urls: Sequence[str], together: int) -> list[Shown]:
    answers: list[Shown] = [Shown(url) for url in urls]
    rest = iter(range(len(urls)))
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:

        async def work() -> None:
            for i in rest:
                answers[i] = await _one(session, urls[i])

        await asyncio.gather(*(work() for _ in range(min(together, len(urls)))))
    return answers


async def _one(session: aiohttp.ClientSession, url: str) -> Shown:
    try:
        for _ in range(_HOPS + 1):
            async with session.get(
                url, headers={"Range": f"bytes=0-{_HEAD - 1}", "User-Agent": "Mastomend"}, allow_redirects=False
            ) as answer:
                if answer.status in _REDIRECTS and (location := answer.headers.get("Location")):
                    url = urljoin(url, location)
                    continue
                head = await answer.content.read(_HEAD)
                return Shown(
                    url,
                    answer.status,
                    answer.headers.get("Content-Type", ""),
                    answer.headers.get("Cache-Control", ""),
                    _size(answer),
                    head,
                )
    except aiohttp.InvalidURL:
        return Shown(url, trouble="bad_url")
    except aiohttp.ClientConnectorDNSError:
        return Shown(url, trouble="dns")
    except (aiohttp.ClientSSLError, ssl.SSLError):
        return Shown(url, trouble="tls")
    except TimeoutError:
        return Shown(url, trouble="timeout")
    except aiohttp.ClientConnectorError:
        return Shown(url, trouble="connect")
    except (aiohttp.ClientError, ConnectionError, ValueError):
        return Shown(url, trouble="broken")
    return Shown(url, trouble="redirects")


def _size(answer: aiohttp.ClientResponse) -> int | None:
    """How large all of it is, whether a part of it was sent or all."""
    told = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if answer.status != 206:
        told = answer.headers.get("Content-Length", "")
    with contextlib.suppress(ValueError):
        return int(told)
    return None
