"""One client for every verb an S3 bucket is asked: one address, one signature, one patience.

All requests are tasks of one event loop in a thread of its own; callers in other threads hand theirs over and wait, and a
thousand look-ups are one hand-over. **Patience is a matter of time, not of tries**: a store that is overloaded, cut off or
restarting is asked again for minutes, with jitter, as `Retry-After` says, whatever the verb. What fails for one object
while others succeed is that object's trouble; only when nothing succeeds any more is the storage lost.

What a listing says of how it goes on is not believed, either: it must go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from mastomend.errors import MastomendError, ObjectError, StorageError, UnreadableError
from mastomend.mastodon.bucket import BucketAddress
from mastomend.retry_after import retry_after
from mastomend.storage.ports import Requests
from mastomend.storage.s3_answers import Answer, Page, document, expect, namespace, parse_page, text
from mastomend.storage.sigv4 import EMPTY, Credentials, ToSign, query_string, signed_headers
from mastomend.storage.trouble import Refusal, code_of, failure, unreachable

_T = TypeVar("_T")
_CHUNK = 256 * 1024
#: Bytes a second below which an upload is no upload any more: how long one may take.
_SLOWEST = 16 * 1024
#: Seconds for what is asked by the way: whether the storage is well, what is tidied up on the way out.
_ASIDE_S = 10.0
_ERROR_BYTES = 64 * 1024
_PAGE = 1_000
Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long one request is repeated; how long for one object while others succeed; how long where nothing was
    ever reached; the first pause, which doubles up to the longest.
    """

    whole_s: float = 240.0
    one_object_s: float = 45.0
    first_contact_s: float = 10.0
    pause_s: float = 0.2
    longest_pause_s: float = 15.0


class _BrokenAnswerError(Exception):
    """The answer is not what was asked for, or is cut off."""


class _StartRefusedError(Exception):
    """The store does not begin a listing behind that key."""

    def __init__(self, problem: MastomendError) -> None:
        super().__init__(problem.message)
        self.problem = problem


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
        connect_s: float,
        silence_s: float,
        connections: int,
        patience: Patience = Patience(),
        connector: Callable[[], aiohttp.BaseConnector] = lambda: aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
    ) -> None:
        self._connector = connector
        self.address = address
        self.name = name
        self._region = region
        self._credentials = credentials
        self._requests = requests
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=silence_s)
        self._silence_s = silence_s
        self._connections = connections
        self._patience = patience
        self._successes = 0
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
                asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=3 * _ASIDE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=_ASIDE_S)
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
        body: bytes = b"",
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
                refusal = _refusal(answer)
                problem = failure(self.name, refusal, method=method, key=key, region=self._region)
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
            async with asyncio.timeout(_ASIDE_S):
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
        body: bytes,
        take: Callable[[aiohttp.ClientResponse], Awaitable[bytes]] | None,
    ) -> Answer:
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
        digest = hashlib.sha256(body).hexdigest() if body else EMPTY
        to_sign = ToSign(method, self.address.host, raw_path, asked, headers, digest)
        sent = signed_headers(credentials, self._region, to_sign, datetime.now(UTC))
        url = f"{self.address.scheme}://{self.address.host}{raw_path}" + (f"?{asked}" if asked else "")
        self._requests.list += "list-type" in asked
        self._requests.head += method == "HEAD"
        async with (
            self._room if key else contextlib.nullcontext(),
            asyncio.timeout(None if not body else self._silence_s + len(body) / _SLOWEST),
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
            return Answer(response.status, response.headers, content)

    # --- what is asked ------------------------------------------------------------------------------------------------

    async def size(self, key: str) -> int | None:
        """The object's size in bytes, None if there is none.

        Raises:
            ObjectError: this one cannot be looked at.
        """
        answer = await self.request("HEAD", key, heard=(404, 403, 400))
        assert isinstance(answer, Answer)
        if answer.status == 404:
            return None
        length = answer.headers.get("Content-Length", "")
        if answer.status == 200 and length.isdecimal():
            return int(length)
        # a refusal without a body, or an answer without a size: a read of one byte says why, or how many there are
        answer = await self.request("GET", key, headers={"Range": "bytes=0-0"}, heard=(404, 416), take=_first_byte)
        assert isinstance(answer, Answer)
        if answer.status == 404:
            return None
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            total = answer.headers.get("Content-Length", "") if answer.status == 200 else ""
        if not total.isdecimal():
            raise UnreadableError(f"{self.name} at {key}: the store does not say how large it is.")
        return int(total)

    async def get(self, key: str) -> bytes | None:
        """All of an object, None if there is none."""

        def whole(answer: Answer) -> bytes:
            return answer.body

        return await self._get(key, whole, None)

    async def stream(self, key: str, sink: Callable[[bytes], object], again: Callable[[], object]) -> bool:
        """An object piece by piece; `again` is called before each try. False if there is none."""

        async def take(response: aiohttp.ClientResponse) -> bytes:
            try:
                again()
                async for piece in response.content.iter_chunked(_CHUNK):
                    sink(piece)
            except OSError as error:
                if isinstance(error, ConnectionError | TimeoutError | aiohttp.ClientError | ssl.SSLError):
                    raise
                raise StorageError(
                    f"What the store sends cannot be put down here: {error.strerror or error}.",
                    hint="Is the disk for temporary files (TMPDIR) full?",
                ) from None
            return b""

        return await self._get(key, lambda _: True, take) or False

    async def _get(
        self,
        key: str,
        read: Callable[[Answer], _T],
        take: Callable[[aiohttp.ClientResponse], Awaitable[bytes]] | None,
    ) -> _T | None:
        answer = await self.request("GET", key, heard=(404,), read=read, take=take)
        if isinstance(answer, Answer):
            refusal = _refusal(answer)
            if refusal.code == "NoSuchBucket":
                raise failure(self.name, refusal, method="GET", key=key, region=self._region)
            return None
        return answer

    async def page(
        self, prefix: str, after: str | None = None, token: str | None = None, *, delimiter: str = "", most: int = _PAGE
    ) -> Page:
        """One page of a listing, in whatever order the store gives."""
        query = [("list-type", "2"), ("max-keys", str(most)), ("encoding-type", "url")]
        query += [("prefix", prefix)] if prefix else []
        query += [("delimiter", delimiter)] if delimiter else []
        query += [("continuation-token", token)] if token else [("start-after", after)] if after else []
        found = await self.request("GET", query=query, heard=(400,) if after else (), read=parse_page)
        if isinstance(found, Answer):
            raise _StartRefusedError(failure(self.name, _refusal(found), method="GET", region=self._region))
        return found

    async def pages(
        self, prefix: str, after: str | None = None, *, delimiter: str = "", most: int = _PAGE
    ) -> AsyncGenerator[Page, None]:
        """A whole listing, page by page, by the store's own tokens. Only keys above `after`.

        Raises:
            StorageError: it cannot be completed, or does not go on.
        """
        begin, token, last = after, None, after
        skips = ignores_tokens = False
        seen: set[str] = set()  # what pages began with, or empty ones lead to: what comes twice does not go on
        while True:
            try:
                page = await self.page(prefix, begin, token, delimiter=delimiter, most=most)
            except _StartRefusedError as refused:
                if begin is None or seen:
                    raise refused.problem from None
                # some stores refuse to begin behind certain keys: from a little before it then, or from the very first
                skips, begin = True, _before(begin, prefix)
                continue
            first = next(iter([*page.keys, *page.folders]), None)
            mark = f"token {page.token}" if first is None else f"key {first}"
            if mark in seen:
                if ignores_tokens or last is None or first is None:
                    raise StorageError(
                        f"{self.name} gives the same page of its listing again and again.",
                        hint="Its listing cannot be used; give one that was made otherwise with --listing.",
                    )
                ignores_tokens, begin, token = True, last, None
                continue
            seen.add(mark)
            last = max([*page.keys, *page.folders], default=last)
            yield page.above(after) if skips and after is not None else page
            if page.is_last:
                return
            token, begin = (None, last) if ignores_tokens or page.token is None else (page.token, None)

    async def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Store an object whole."""
        await self.request("PUT", key, headers=headers, body=body)

    async def copy(self, source: str, target: str, bucket: str, headers: Mapping[str, str]) -> None:
        """Copy inside the bucket. The answer may be 200 and an error all the same."""
        answer = await self.request(
            "PUT",
            target,
            headers={**headers, "x-amz-copy-source": quote(f"/{bucket}/{source}", safe="/-_.~")},
            heard=(404,),
            read=lambda answer: expect(answer, "CopyObjectResult"),
        )
        if answer is not None:  # 404 is said of what is to be copied
            assert isinstance(answer, Answer)
            raise failure(self.name, _refusal(answer), method="PUT", key=source, region=self._region)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already."""
        await self.request("DELETE", key, heard=(404,))

    async def uploads(self, key: str) -> list[str]:
        """The ids of uploads in parts to that key that were cut off."""
        answer = await self.request("GET", query=[("uploads", ""), ("prefix", key)], heard=(403, 405, 501))
        assert isinstance(answer, Answer)
        if answer.status >= 300:
            return []  # the parts cost a little; that they may not be listed is no reason to stop
        root = document(answer.body, "ListMultipartUploadsResult")
        space = namespace(root)
        return [
            one.findtext(f"{space}UploadId") or ""
            for one in root.findall(f"{space}Upload")
            if one.findtext(f"{space}Key") == key
        ]

    async def abort(self, key: str, upload: str) -> None:
        """End an upload in parts."""
        await self.request("DELETE", key, query=[("uploadId", upload)], heard=(404, 403, 405, 501))

    async def put_parts(
        self, key: str, parts: Callable[[], Sequence[Callable[[], bytes]]], headers: Mapping[str, str]
    ) -> None:
        """Store a large object in parts; ended if it cannot be completed."""
        answer = await self.request(
            "POST", key, query=[("uploads", "")], headers=headers,
            read=lambda a: text(document(a.body, "InitiateMultipartUploadResult"), "UploadId"),
        )  # fmt: skip
        upload = str(answer)
        try:
            done = []
            for number, part in enumerate(parts(), 1):
                query = [("partNumber", str(number)), ("uploadId", upload)]
                sent = await self.request("PUT", key, query=query, body=part())
                assert isinstance(sent, Answer)
                done.append(
                    f"<Part><PartNumber>{number}</PartNumber><ETag>{sent.headers.get('ETag', '')}</ETag></Part>"
                )
            body = f"<CompleteMultipartUpload>{''.join(done)}</CompleteMultipartUpload>".encode()
            await self.request(
                "POST", key, query=[("uploadId", upload)], body=body,
                read=lambda a: expect(a, "CompleteMultipartUploadResult"),
            )  # fmt: skip
        except BaseException:
            with contextlib.suppress(MastomendError, TimeoutError):
                async with asyncio.timeout(_ASIDE_S):
                    await self.abort(key, upload)
            raise


def _payload(body: bytes) -> io.BytesIO | bytes | None:
    """A body as aiohttp wants it: a large one piece by piece."""
    return (io.BytesIO(body) if len(body) > _CHUNK else body) or None


async def _first_byte(response: aiohttp.ClientResponse) -> bytes:
    return await response.content.read(1)


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


def _refusal(answer: Answer) -> Refusal:
    return Refusal(answer.status, code_of(answer.body), answer.body, answer.headers)


def _before(key: str, prefix: str) -> str | None:
    """A key a little before that one, None for the beginning."""
    folder = key.rstrip("/").rpartition("/")[0]
    return folder if folder.startswith(prefix.rstrip("/")) and folder > prefix else None
