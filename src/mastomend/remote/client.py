"""One GET to a stranger, guarded: what comes back is bytes within limits, or a value that says why not.

Redirects are followed by hand, at most three, every hop checked like the first. Names are resolved by our own
resolver, which drops refused addresses before a connection is made; address literals never reach a resolver, so they
are checked in the URL; and the peer of the finished connection is checked once more. Every phase has a time limit and
so has the whole (facts §11): headers that drip in do not hold it up. Bodies are counted after decompression while they
stream in. A Content-Encoding nobody asked for is that file's trouble, not its host's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from mastomend.mastodon.configuration import IPNetwork
from mastomend.remote.addresses import is_refused
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.remote.signatures import Signer
from mastomend.retry_after import retry_after

_MAX_REDIRECTS = 3
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds (facts §11): DNS, connecting, TLS, silence while reading, the whole body."""

    dns_s: float = 5.0
    connect_s: float = 5.0
    silence_s: float = 10.0
    body_s: float = 30.0

    @property
    def whole_s(self) -> float:
        """One question with all its redirects."""
        return self.headers_s + self.body_s

    @property
    def headers_s(self) -> float:
        """From the question to the end of the headers."""
        return self.dns_s + 2 * self.connect_s + self.silence_s


#: What a server may call its encoding, and whether there is something to unpack.
_ENCODINGS = {"": False, "identity": False, "none": False, "gzip": True, "x-gzip": True}


_GZIP = b"\x1f\x8b"


class _Gunzip:
    """Unpacks gzip a piece at a time, so that what unfolds without end is stopped."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(31)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What that chunk unfolds to."""
        while chunk:
            yield self._decoder.decompress(chunk, _CHUNK)
            chunk = self._decoder.unconsumed_tail
            if self._decoder.eof and self._decoder.unused_data.startswith(
                _GZIP
            ):  # there may be several, one behind another
                chunk, self._decoder = self._decoder.unused_data, zlib.decompressobj(31)

    @property
    def is_whole(self) -> bool:
        """Whether its end was seen."""
        return self._decoder.eof


class _RefusedAddress(OSError):
    pass


class _GuardedResolver(AbstractResolver):
    def __init__(self, inner: AbstractResolver, allowed: Sequence[IPNetwork], timeout_s: float) -> None:
        self._inner = inner
        self._allowed = allowed
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        async with asyncio.timeout(self._timeout_s):
            found = await self._inner.resolve(host, port, family)
        good = [result for result in found if not is_refused(result["host"], self._allowed)]
        if found and not good:
            raise _RefusedAddress(f"{host} resolves to a private address")
        return good

    async def close(self) -> None:
        await self._inner.close()


class GuardedClient:
    """An HTTP client for URLs nobody vouches for. Use it as an async context manager."""

    def __init__(
        self,
        user_agent: str,
        allowed_private: Sequence[IPNetwork] = (),
        *,
        proxy: str | None = None,
        limits: TimeLimits = TimeLimits(),
        connections: int = 64,
        resolver: AbstractResolver | None = None,
        ssl: Any = True,
        signer: Signer | None = None,
    ) -> None:
        self._user_agent = user_agent
        self._signer = signer
        self._allowed = allowed_private
        self._proxy = proxy
        self._limits = limits
        self._connections = connections
        self._resolver = resolver
        self._ssl = ssl
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> GuardedClient:
        inner = self._resolver or ThreadedResolver()
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            resolver=inner if self._proxy else _GuardedResolver(inner, self._allowed, self._limits.dns_s),
            ttl_dns_cache=60,
            ssl=self._ssl,
        )
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=None,
            sock_connect=self._limits.connect_s,
            sock_read=self._limits.silence_s,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip"},
            skip_auto_headers=("Accept",),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, ask: Ask) -> Fetched | NotFetched:
        """The body of that URL. Never raises for what a stranger does."""
        try:
            async with asyncio.timeout(self._limits.whole_s):
                return await self._follow(ask)
        except _RefusedAddress as error:
            return NotFetched(Failure.PRIVATE_ADDRESS, str(error))
        except TimeoutError as error:
            return NotFetched(Failure.TIMEOUT, str(error) or "no answer in time")
        except aiohttp.ClientHttpProxyError as error:  # its text holds the proxy's URL, and that may hold a password
            return NotFetched(Failure.CONNECT, f"the proxy answered HTTP {error.status}")
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            return NotFetched(Failure.TLS, _words(error))
        except aiohttp.ClientConnectorDNSError as error:
            cause = error.os_error
            if isinstance(cause, _RefusedAddress):
                return NotFetched(Failure.PRIVATE_ADDRESS, str(cause))
            return NotFetched(Failure.DNS, _words(error))
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _RefusedAddress):
                return NotFetched(Failure.PRIVATE_ADDRESS, str(error.os_error))
            return NotFetched(Failure.CONNECT, _words(error))
        except zlib.error:
            return NotFetched(Failure.BAD_ENCODING, "its compression is broken")
        except (aiohttp.InvalidURL, ValueError) as error:
            return NotFetched(Failure.BAD_URL, _words(error))
        except (aiohttp.ClientError, OSError) as error:
            return NotFetched(Failure.BROKEN_OFF, _words(error))

    async def _follow(self, ask: Ask) -> Fetched | NotFetched:
        assert self._session is not None, "use the client as an async context manager"
        current = URL(ask.url)
        for hop in range(_MAX_REDIRECTS + 1):
            if refusal := self._refuse(current):
                return replace(refusal, detail=f"it redirects us on: {refusal.detail}") if hop else refusal
            headers = self._headers(ask, current)
            async with asyncio.timeout(self._limits.headers_s):
                asked = await self._session.get(current, headers=headers, allow_redirects=False, proxy=self._proxy)
            async with asked as response:
                self._check_peer(response)
                if response.status in (301, 302, 303, 307, 308):
                    location = response.headers.get("Location", "")
                    if not location:
                        return NotFetched(Failure.HTTP_STATUS, f"HTTP {response.status} without Location")
                    current = current.join(URL(location))
                    continue
                if failure := _status_failure(response):
                    return failure
                return await self._body(response, ask)
        return NotFetched(Failure.TOO_MANY_REDIRECTS, f"more than {_MAX_REDIRECTS} redirects")

    def _headers(self, ask: Ask, url: URL) -> dict[str, str]:
        headers = {}
        if ask.accept is not None:
            headers["Accept"] = ask.accept
        if ask.crawler:
            headers["User-Agent"] = f"{self._user_agent} Bot"
        if ask.signed and self._signer is not None:
            headers |= self._signer.headers(url, datetime.now(UTC))
        return headers

    def _refuse(self, url: URL) -> NotFetched | None:
        try:
            host = url.host
        except ValueError:  # what looks like IDNA and is none
            host = None
        if url.scheme not in ("http", "https") or not host:
            return NotFetched(Failure.BAD_URL, "not an http or https URL with a host")
        if host.endswith((".onion", ".i2p")):
            return NotFetched(Failure.PRIVATE_ADDRESS, "a hidden service")
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return None  # a name: the resolver decides
        if self._proxy is None and is_refused(host, self._allowed):
            return NotFetched(Failure.PRIVATE_ADDRESS, f"{host} is a private address")
        return None

    def _check_peer(self, response: aiohttp.ClientResponse) -> None:
        transport = response.connection.transport if response.connection else None
        peer = transport.get_extra_info("peername") if transport else None
        if self._proxy is None and peer and is_refused(str(peer[0]), self._allowed):
            raise _RefusedAddress(f"connected to {peer[0]}, a private address")

    async def _body(self, response: aiohttp.ClientResponse, ask: Ask) -> Fetched | NotFetched:
        too_big = NotFetched(Failure.TOO_BIG, f"more than {ask.max_bytes} bytes")
        if (response.content_length or 0) > ask.max_bytes and not ask.truncate:
            return too_big
        parts: list[bytes] = []
        size = 0
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            return NotFetched(Failure.BAD_ENCODING, "sent in an encoding nobody asked for")
        unpacked = _Gunzip() if _ENCODINGS[encoding] else None
        async with asyncio.timeout(self._limits.body_s):
            async for chunk in response.content.iter_chunked(_CHUNK):
                for piece in (chunk,) if unpacked is None else unpacked.pieces(chunk):
                    size += len(piece)
                    parts.append(piece)
                    if size > ask.max_bytes:
                        break
                if size > ask.max_bytes:
                    if not ask.truncate:
                        return too_big
                    break
            else:
                if unpacked is not None and not unpacked.is_whole:
                    return NotFetched(Failure.BAD_ENCODING, "its compression is broken")
        body = b"".join(parts)
        kind = response.headers.get("Content-Type", "").encode("ascii", "replace").decode("ascii")
        return Fetched(body[: ask.max_bytes], str(response.url), kind)


def _status_failure(response: aiohttp.ClientResponse) -> NotFetched | None:
    status = response.status
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return None
    if status == 404:
        return NotFetched(Failure.NOT_FOUND, detail)
    if status == 410:
        return NotFetched(Failure.GONE, detail)
    if status in (401, 403, 451):
        return NotFetched(Failure.FORBIDDEN, detail)
    if status in (429, 503):
        failure = Failure.RATE_LIMITED if status == 429 else Failure.SERVER_ERROR
        return NotFetched(failure, detail, retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
    return NotFetched(Failure.SERVER_ERROR if status >= 500 else Failure.HTTP_STATUS, detail)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()).encode("utf-8", "replace").decode()
    return re.sub(r"//[^/@\s]*@", "//", text)[:200]
