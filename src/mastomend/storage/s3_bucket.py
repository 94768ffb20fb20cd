"""What a bucket is asked, verb by verb, and what its answers mean. How long one is patient is the client's business.

What a listing says of how it goes on is not believed: it must go on. An answer for many objects is read object by object.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote
from xml.sax.saxutils import escape

import aiohttp

from mastomend.errors import MastomendError, ObjectError, StorageError, UnreadableError
from mastomend.storage.s3_answers import (
    Answer,
    Page,
    document,
    expect,
    namespace,
    parse_deleted,
    parse_page,
    parse_public,
    text,
)
from mastomend.storage.s3_client import ASIDE_S, S3Client, refusal_of
from mastomend.storage.s3_digests import Digests, Sent
from mastomend.storage.trouble import failure

_T = TypeVar("_T")
_CHUNK = 256 * 1024
_PAGE = 1_000
#: What one request may delete.
_DELETED_AT_ONCE = 1_000
#: So few are deleted one by one.
_FEW = 2
#: Codes in an answer for many that another try may change.
_MAY_PASS = frozenset({"InternalError", "ServiceUnavailable", "SlowDown", "OperationAborted", "RequestTimeout"})


class _StartRefusedError(Exception):
    """The store does not begin a listing behind that key."""

    def __init__(self, problem: MastomendError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class S3Bucket:
    """One bucket, asked through a client. Everything here runs in the client's loop."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self._name = name
        self._digests = Digests()
        self._digests_of_parts = Digests()

    async def size(self, key: str) -> int | None:
        """The object's size in bytes, None if there is none.

        Raises:
            ObjectError: this one cannot be looked at.
        """
        answer = await self._client.request("HEAD", key, heard=(404, 403, 400))
        assert isinstance(answer, Answer)
        if answer.status == 404:
            return None
        length = answer.headers.get("Content-Length", "")
        if answer.status == 200 and length.isdecimal():
            return int(length)
        # a refusal without a body, or an answer without a size: a read of one byte says why, or how many there are
        answer = await self._client.request(
            "GET", key, headers={"Range": "bytes=0-0"}, heard=(404, 416), take=_first_byte
        )
        assert isinstance(answer, Answer)
        if answer.status == 404:
            return None
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            total = answer.headers.get("Content-Length", "") if answer.status == 200 else ""
        if not total.isdecimal():
            raise UnreadableError(f"{self._client.name} at {key}: the store does not say how large it is.")
        return int(total)

    async def get(self, key: str) -> bytes | None:
        """All of an object, None if there is none."""

        def whole(answer: Answer) -> bytes:
            self._digests.check(answer.headers, hashlib.md5(answer.body, usedforsecurity=False).digest())
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
        answer = await self._client.request("GET", key, heard=(404,), read=read, take=take)
        if isinstance(answer, Answer):
            refusal = refusal_of(answer)
            if refusal.code == "NoSuchBucket":
                raise failure(self._client.name, refusal, method="GET", key=key, region=self._client.region)
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
        found = await self._client.request("GET", query=query, heard=(400,) if after else (), read=parse_page)
        if isinstance(found, Answer):
            raise _StartRefusedError(
                failure(self._client.name, refusal_of(found), method="GET", region=self._client.region)
            )
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
                        f"{self._client.name} gives the same page of its listing again and again.",
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

    async def put(self, key: str, sent: Sent, headers: Mapping[str, str]) -> None:
        """Store an object whole. What was damaged on the way the store refuses, or its answer shows it: it is sent again."""
        await self._client.request(
            "PUT",
            key,
            headers={**headers, "Content-MD5": sent.content_md5},
            body=sent,
            read=lambda answer: self._digests.check(answer.headers, sent.md5),
        )

    async def copy(self, source: str, target: str, headers: Mapping[str, str]) -> None:
        """Copy inside the bucket. The answer may be 200 and an error all the same."""
        answer = await self._client.request(
            "PUT",
            target,
            headers={**headers, "x-amz-copy-source": quote(f"/{self._name}/{source}", safe="/-_.~")},
            heard=(404,),
            read=lambda answer: expect(answer, "CopyObjectResult"),
        )
        if answer is not None:  # 404 is said of what is to be copied
            assert isinstance(answer, Answer)
            raise failure(self._client.name, refusal_of(answer), method="PUT", key=source, region=self._client.region)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already."""
        await self._client.request("DELETE", key, heard=(404,))

    async def delete_all(self, keys: Sequence[str]) -> list[ObjectError | None]:
        """Remove many objects with few requests. An answer for each: None when it is gone, or why it is not.

        What the store is silent about, or would do later, is asked for alone.

        Raises:
            StorageError, ConfigurationError: the storage as a whole fails.
        """
        answers: dict[str, ObjectError | None] = {}
        plain = [key for key in dict.fromkeys(keys) if all(c >= " " for c in key)]  # XML cannot hold the others
        for start in range(0, len(plain), _DELETED_AT_ONCE):
            answers |= await self._delete_together(plain[start : start + _DELETED_AT_ONCE])
        left = [key for key in dict.fromkeys(keys) if key not in answers]
        answers |= dict(zip(left, await self._client.each(left, self._delete_alone), strict=True))
        return [answers[key] for key in keys]

    async def _delete_alone(self, key: str) -> ObjectError | None:
        try:
            await self.delete(key)
        except ObjectError as error:
            return error
        return None

    async def _delete_together(self, keys: Sequence[str]) -> dict[str, ObjectError | None]:
        """What the store says of each key, as far as that is an answer."""
        if len(keys) < _FEW:
            return {}
        named = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{named}</Delete>'.encode()
        headers = {"Content-MD5": Sent.of(body).content_md5, "Content-Type": "application/xml"}
        answer = await self._client.request(
            "POST", query=[("delete", "")], headers=headers, body=body, heard=(400, 403, 405, 501)
        )
        try:
            said = parse_deleted(answer) if isinstance(answer, Answer) and answer.status < 300 else {}
        except ValueError:
            said = {}
        asked = set(keys)  # where it knows no such request, or does not allow it, all of them are asked for alone
        return {
            key: ObjectError(f"{self._client.name} at {key}: the store does not delete it ({code}).") if code else None
            for key, code in said.items()
            if key in asked and code not in _MAY_PASS
        }

    async def headers(self, key: str) -> Mapping[str, str] | None:
        """What the store says of an object, None if there is none."""
        answer = await self._client.request("HEAD", key, heard=(404,))
        assert isinstance(answer, Answer)
        return None if answer.status == 404 else answer.headers

    async def is_public(self, key: str) -> bool | None:
        """Whether the object's own permission lets everybody read it; None if the store does not tell."""
        answer = await self._client.request("GET", key, query=[("acl", "")], heard=(400, 403, 404, 405, 501))
        try:
            return parse_public(answer) if isinstance(answer, Answer) and answer.status < 300 else None
        except ValueError:
            return None

    async def creates_once(self, key: str, headers: Mapping[str, str]) -> bool:
        """Whether the second of two writes that shall only create is refused."""
        await self.put(key, Sent.of(b"1"), headers)
        sent = {**headers, "If-None-Match": "*"}
        answer = await self._client.request("PUT", key, headers=sent, body=b"2", heard=(412, 409, 400, 501))
        assert isinstance(answer, Answer)
        return answer.status in (412, 409)

    async def uploads(self, key: str) -> list[str]:
        """The ids of uploads in parts to that key that were cut off."""
        answer = await self._client.request("GET", query=[("uploads", ""), ("prefix", key)], heard=(403, 405, 501))
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
        await self._client.request("DELETE", key, query=[("uploadId", upload)], heard=(404, 403, 405, 501))

    async def _put_part(self, key: str, query: Sequence[tuple[str, str]], part: Callable[[], bytes]) -> str:
        sent = await asyncio.get_running_loop().run_in_executor(None, lambda: Sent.of(part()))

        def read(answer: Answer) -> str:
            self._digests_of_parts.check(answer.headers, sent.md5)
            return answer.headers.get("ETag", "")

        headers = {"Content-MD5": sent.content_md5}
        return str(await self._client.request("PUT", key, query=query, headers=headers, body=sent, read=read))

    async def put_parts(
        self, key: str, parts: Callable[[], Sequence[Callable[[], bytes]]], headers: Mapping[str, str]
    ) -> None:
        """Store a large object in parts; ended if it cannot be completed."""
        answer = await self._client.request(
            "POST", key, query=[("uploads", "")], headers=headers,
            read=lambda a: text(document(a.body, "InitiateMultipartUploadResult"), "UploadId"),
        )  # fmt: skip
        upload = str(answer)
        try:
            done = []
            for number, part in enumerate(parts(), 1):
                etag = await self._put_part(key, [("partNumber", str(number)), ("uploadId", upload)], part)
                done.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            body = f"<CompleteMultipartUpload>{''.join(done)}</CompleteMultipartUpload>".encode()
            await self._client.request(
                "POST", key, query=[("uploadId", upload)], body=body,
                read=lambda a: expect(a, "CompleteMultipartUploadResult"),
            )  # fmt: skip
        except BaseException:
            with contextlib.suppress(MastomendError, TimeoutError):
                async with asyncio.timeout(ASIDE_S):
                    await self.abort(key, upload)
            raise


async def _first_byte(response: aiohttp.ClientResponse) -> bytes:
    return await response.content.read(1)


def _before(key: str, prefix: str) -> str | None:
    """A key a little before that one, None for the beginning."""
    folder = key.rstrip("/").rpartition("/")[0]
    return folder if folder.startswith(prefix.rstrip("/")) and folder > prefix else None
