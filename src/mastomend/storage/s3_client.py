"""One client for every verb an S3 bucket is asked (`s3_bucket`): one address, one signature, one patience.

All requests are tasks of one event loop in a thread of its own; callers in other threads hand theirs over and wait, and a
thousand look-ups are one hand-over. **Patience is a matter of time, not of tries**: a store that is overloaded, cut off or
restarting is asked again for minutes, with jitter, as `Retry-After` says, whatever the verb. What fails for one object
while others succeed is that object's trouble; only when nothing succeeds any more is the storage lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from mastomend.errors import MastomendError, ObjectError, StorageError, UnreadableError
from mastomend.mastodon.bucket import BucketAddress
from mastomend.retry_after import retry_after
from mastomend.storage.ports import Requests
from mastomend.storage.s3_answers import Answer, parse_page
from mastomend.storage.s3_digests import Sent
from mastomend.storage.sigv4 import Credentials, ToSign, query_string, signed_headers
from mastomend.storage.trouble import Refusal, code_of, failure, unreachable

_T = TypeVar("_T")
_CHUNK = 256 * 1024
#: Bytes a second below which an upload is no upload any more: how long one may take.
_SLOWEST = 16 * 1024
#: Seconds for what is asked by the way: whether the storage is well, what is tidied up on the way out.
ASIDE_S = 10.0
_ERROR_BYTES = 64 * 1024
_PAGE = 1_000
Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long connecting may take, and silence; how long one request is repeated; how long for one object while
    others succeed; how long where nothing was ever reached; the first pause, which doubles up to the longest.
    """

    connect_s: float = 5.0
    silence_s: float = 30.0
    whole_s: float = 240.0
    one_object_s: float = 45.0
    first_contact_s: float = 10.0
    pause_s: float = 0.2
    longest_pause_s: float = 15.0


class _BrokenAnswerError(Exception):
    """The answer is not what was asked for, or is cut off."""


@dataclass(slots=True)
class _Attempts:
    """How one request has fared so far."""

    began: float
    successes: int
    tries: int = 0
    is_last: bool = False


class S3Client:
    """Asks one bucket. `credentials` is asked for every request; `connections` are for objects, listings come on top."""

    def __init__(
        self,
        address: BucketAddress,
        name: str,
        region: str,
        credentials: Callable[[], Awaitable[Credentials]],
        requests: Requests,
        *,
        connections: int,
        patience: Patience = Patience(),
        connector: Callable[[], aiohttp.BaseConnector] = lambda: aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
    ) -> None:
        self._connector = connector
        self.address = address
        self.name = name
        self.region = region
        self._credentials = credentials
        self._requests = requests
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s, sock_read=patience.silence_s)
        self._connections = connections
        self._patience = patience
        self._successes = 0
        #: How many seconds the store's clock is behind this machine's, by its latest answer.
        self.behind_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(connections)

    # --- threads ----------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something in the client's loop, from another thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def aside(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The same from another event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop.run_forever, name="bucket", daemon=True)
                self._thread.start()
        return self._loop

    def close(self) -> None:
        """Give back connections and the thread."""
        with self._starting:
            if self._thread is None:
                if not self._loop.is_closed():
                    self._loop.close()
                return
            with contextlib.suppress(TimeoutError):  # what cannot be ended in that time ends with the process
                asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=3 * ASIDE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=ASIDE_S)
            if not self._thread.is_alive():
                self._loop.close()
            self._thread = None

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def each(self, items: Sequence[_T], work: Callable[[_T], Awaitable[Any]]) -> list[Any]:
        """The same for many, as many at once as there are connections; in order.

        Raises:
            MastomendError: the first that is not one object's trouble; the others are not waited for.
        """
        rest = iter(range(len(items)))
        answers: list[Any] = [None] * len(items)

        async def worker() -> None:
            for i in rest:
                answers[i] = await work(items[i])

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._connections, len(items))):
                    tasks.create_task(worker())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return answers

    # --- one request, with patience -----------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        key: str = "",
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | Sent = b"",
        *,
        heard: Sequence[int] = (),
        read: Callable[[Answer], _T] | None = None,
        take: Callable[[aiohttp.ClientResponse], Awaitable[bytes]] | None = None,
    ) -> _T | Answer:
        """One request until it succeeds, or patience ends.

        `heard` are refusals that are answers, too; `read` turns an answer into what it means and raises ValueError if
        it is broken; `take` reads the body its own way, and what it raises is the caller's.

        Raises:
            ObjectError: it fails for this object. ConfigurationError, StorageError: for all.
        """
        attempts = _Attempts(time.monotonic(), self._successes)
        while True:
            attempts.tries += 1
            wait: float | None = None
            try:
                answer = await self._send(method, key, query, headers or {}, body, take)
                if answer.status < 300 or answer.status in heard:
                    meaning = answer if read is None or answer.status in heard else _meaning(read, answer)
                    self._successes += 1
                    return meaning
                refusal = refusal_of(answer)
                problem = failure(self.name, refusal, method=method, key=key, region=self.region)
                if not refusal.may_pass:
                    if key and answer.status == 401 and await self._is_well():
                        raise UnreadableError(f"{self.name} at {key}: this access key may not read it (401).")
                    raise problem
                throttled = answer.status in (429, 503) or refusal.code == "SlowDown"
                wait = retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
            except (ValueError, aiohttp.InvalidURL) as error:  # a name or a header that cannot be sent
                raise _cannot_be_sent(self.name, key, error) from None
            except (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError, _BrokenAnswerError) as error:
                throttled, problem = False, unreachable(self.name, *_sort(error))
            await self._rest(attempts, problem, key, wait, throttled=throttled)

    async def _rest(
        self, attempts: _Attempts, problem: MastomendError, key: str, wait: float | None, *, throttled: bool
    ) -> None:
        """Wait before the next try, or give up: one object sooner than the storage, if the storage is well otherwise."""
        limits = self._patience
        longest = limits.whole_s if self._successes or throttled else limits.first_contact_s
        of_one = min(longest, limits.one_object_s) if key and not throttled else longest
        pause = random.uniform(0.5, 1.0) * min(
            limits.longest_pause_s, limits.pause_s * 2 ** min(attempts.tries - 1, 20)
        )
        pause = pause if wait is None else max(wait, pause)
        spent = time.monotonic() - attempts.began
        said = f"{problem.message} It was asked {attempts.tries} times in {spent:.0f} s."
        if (
            key
            and (wait is None or attempts.is_last)
            and spent + pause > of_one
            and (self._successes > attempts.successes or await self._is_well())
        ):
            raise ObjectError(said)
        if spent + pause > longest:
            if attempts.is_last or wait is None:
                raise StorageError(said, hint=problem.hint)
            attempts.is_last, pause = True, max(longest - spent, 0)  # it wants more time than there is: once more, then
        await asyncio.sleep(pause)

    async def _is_well(self) -> bool:
        """Whether the storage answers something else: a listing of one key, or that it may not be listed."""
        try:
            async with asyncio.timeout(ASIDE_S):
                answer = await self._send("GET", "", [("list-type", "2"), ("max-keys", "1")], {}, b"", None)
            if answer.status == 200:
                parse_page(answer)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError, ValueError, StorageError):
            return False
        is_well = answer.status in (200, 403)
        self._successes += is_well
        return is_well

    async def _send(
        self,
        method: str,
        key: str,
        query: Query,
        headers: Mapping[str, str],
        what: bytes | Sent,
        take: Callable[[aiohttp.ClientResponse], Awaitable[bytes]] | None,
    ) -> Answer:
        sent_body = what if isinstance(what, Sent) else Sent.plain(what)
        body, digest = sent_body.body, sent_body.sha256
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        credentials = await self._credentials()
        asked = query_string(query)
        raw_path = self.address.raw_path(key)
        to_sign = ToSign(method, self.address.host, raw_path, asked, headers, digest)
        sent = signed_headers(credentials, self.region, to_sign, datetime.now(UTC))
        url = f"{self.address.scheme}://{self.address.host}{raw_path}" + (f"?{asked}" if asked else "")
        self._requests.list += "list-type" in asked
        self._requests.head += method == "HEAD"
        async with (
            self._room if key else contextlib.nullcontext(),
            asyncio.timeout(None if not body else self._patience.silence_s + len(body) / _SLOWEST),
            self._session.request(
                method,
                URL(url, encoded=True),
                headers=sent,
                data=_payload(body),
                allow_redirects=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            ) as response,
        ):
            if response.status < 300 and take is not None:
                content = await take(response)
            elif response.status < 300:
                content = await response.read()
            else:
                content = await response.content.read(_ERROR_BYTES)
            self._set_clock(response.headers.get("Date"))
            return Answer(response.status, response.headers, content)

    def _set_clock(self, date: str | None) -> None:
        """What the store's clock shows, from an answer."""
        with contextlib.suppress(ValueError, TypeError):
            if date:
                self.behind_s = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()


def _payload(body: bytes) -> io.BytesIO | bytes | None:
    """A body as aiohttp wants it: a large one piece by piece."""
    return (io.BytesIO(body) if len(body) > _CHUNK else body) or None


# --- failures -------------------------------------------------------------------------------------------------


def _sort(error: Exception) -> tuple[str, Exception]:
    """What sort of silence that was."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns", error
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls", error
    if isinstance(error, TimeoutError):
        return "timeout", error
    if isinstance(error, aiohttp.ClientConnectorError):
        return "connect", error
    return "broken", error


def _meaning(read: Callable[[Answer], _T], answer: Answer) -> _T:
    try:
        return read(answer)
    except ValueError as error:
        raise _BrokenAnswerError(str(error)) from None


def _cannot_be_sent(name: str, key: str, error: Exception) -> MastomendError:
    said = f"{name}: {key} cannot be asked for ({error})." if key else f"{name} cannot be asked ({error})."
    return ObjectError(said) if key else StorageError(said, hint="Check S3_ENDPOINT and S3_BUCKET.")


def refusal_of(answer: Answer) -> Refusal:
    """What an answer that is none says."""
    return Refusal(answer.status, code_of(answer.body), answer.body, answer.headers)
