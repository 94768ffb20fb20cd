"""Media in an S3 bucket, asked through one client for every verb (`s3_client`, `s3_bucket`; docs/adr/0010).

What a look-up cannot see is `UNREADABLE`, and `obstacle` says why. Nothing a finding counts on comes from a listing that
may lag: `sizes` asks object by object.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arro3.core import RecordBatch

from mastomend.errors import HiddenError, MastomendError, ObjectError
from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.keys import Key, is_private
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.storage.obstacles import Obstacles
from mastomend.storage.ports import CACHE_CONTROL, MISSING, UNREADABLE, Requests, batch
from mastomend.storage.public import ask
from mastomend.storage.s3_answers import Page
from mastomend.storage.s3_billed import Billing
from mastomend.storage.s3_bucket import S3Bucket
from mastomend.storage.s3_client import Patience, S3Client
from mastomend.storage.s3_credentials import credentials_of
from mastomend.storage.s3_digests import Sent
from mastomend.vocabulary import Content, Sending, Serving

_CONCURRENCY = 32
_IN_MEMORY = 8 * 1024 * 1024
#: S3 takes at most 10,000 parts, each but the last of 5 MiB at least.
_PART = 8 * 1024 * 1024
_PARTS = 9_000
#: What an object has besides what is set: of itself, and what somebody else gave it.
_STAYS = re.compile(r"x-amz-meta-.*|x-amz-storage-class|content-(disposition|encoding|language)|expires")
#: A listing page takes longer than one object, and a store under load longer still.
_SILENCE_S = 120.0


class S3ObjectStore:
    """An S3-compatible bucket; writes carry Mastodon's ACL, Cache-Control and storage class."""

    def __init__(self, settings: S3Storage, patience: Patience = Patience()) -> None:
        self._settings = settings
        self._name = str(settings)
        self.requests = Requests()
        self._obstacles = Obstacles()
        self._client = S3Client(
            bucket_address(settings),
            self._name,
            settings.region,
            credentials_of(settings),
            self.requests,
            connections=_CONCURRENCY,
            patience=replace(
                patience,
                connect_s=max(settings.open_timeout_s, 1.0),
                silence_s=max(settings.read_timeout_s, _SILENCE_S),
            ),
        )
        self._bucket = S3Bucket(self._client, settings.bucket)

    def probe(self) -> bool:
        return self._client.run(self._first("")) is not None

    def close(self) -> None:
        self._client.close()

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        distinct = list(dict.fromkeys(keys))
        found = dict(zip(distinct, self._client.run(self._client.each(distinct, self._size)), strict=True))
        return [found[key] for key in keys]

    async def _size(self, key: str) -> int:
        if not key or "\0" in key:
            return MISSING  # a name no object can have
        try:
            size = await self._bucket.size(key)
        except ObjectError as error:
            if isinstance(error, HiddenError) and await self._is_unlisted(key):
                return MISSING
            self._obstacles.note(key, error)
            return UNREADABLE
        return MISSING if size is None else size

    async def _is_unlisted(self, key: str) -> bool:
        """Whether a listing, where one may be had, does not have that key: a refusal is then how absence is said."""
        try:
            return await self._first(key) != key
        except MastomendError:
            return False

    async def _first(self, prefix: str) -> str | None:
        """The first key there is with that prefix; pages may be empty and there is more all the same."""
        async with aclosing(self._bucket.pages(prefix, most=1)) as pages:
            async for page in pages:
                if page.keys:
                    return page.keys[0]
        return None

    def obstacle(self, key: str) -> str:
        return self._obstacles.of(key)

    def in_the_way(self, key: str) -> str:
        return ""

    def behind_s(self) -> float:
        return self._client.behind_s

    def old_versions(self) -> tuple[int, int] | None:
        return self._client.run(Billing(self._client).old_versions(""))

    def unfinished_uploads(self) -> tuple[int, int] | None:
        return self._client.run(Billing(self._client).unfinished(""))

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        pages = self._bucket.pages(prefix)
        try:
            while (page := self._client.run(_next(pages))) is not None:
                yield _objects(page)
        finally:
            self._client.run(_close(pages))

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        pages = self._bucket.pages(prefix, after)
        try:
            while (page := await self._client.aside(_next(pages))) is not None:
                yield _objects(page)
        finally:
            await self._client.aside(_close(pages))

    def folders(self, prefix: str = "") -> Sequence[str]:
        async def find() -> list[str]:
            async with aclosing(self._bucket.pages(prefix, delimiter="/")) as pages:
                return [folder async for page in pages for folder in page.folders]

        return sorted(folder.removeprefix(prefix).rstrip("/") for folder in self._client.run(find()))

    def read(self, key: Key) -> bytes | None:
        return self._client.run(self._bucket.get(key))

    def read_each(self, keys: Sequence[Key]) -> Sequence[bytes | ObjectError | None]:
        async def read(key: Key) -> bytes | ObjectError | None:
            try:
                return await self._bucket.get(key)
            except ObjectError as error:
                return error

        return self._client.run(self._client.each(keys, read))

    def fetch(self, key: Key, spare: Path) -> Content:
        size = self._client.run(self._bucket.size(key))
        if size is None:
            raise ObjectError(f"{self._name}: {key} does not exist.")
        if size <= _IN_MEMORY:
            data = self.read(key)
            if data is None:
                raise ObjectError(f"{self._name}: {key} does not exist.")
            return data
        with spare.open("wb") as file:
            if not self._client.run(self._bucket.stream(key, file.write, partial(_begin_anew, file))):
                raise ObjectError(f"{self._name}: {key} does not exist.")
        return spare

    def digest(self, key: Key) -> str | None:
        found = hashlib.sha256()

        def again() -> None:
            nonlocal found
            found = hashlib.sha256()

        there = self._client.run(self._bucket.stream(key, lambda piece: found.update(piece), again))
        return found.hexdigest() if there else None

    def _headers(self, key: Key, *, private: bool) -> dict[str, str]:
        headers: dict[str, str] = {}
        private = private or is_private(key, self._settings.key_prefix)
        if self._settings.permission is not None:
            headers["x-amz-acl"] = "private" if private else self._settings.permission
        if self._settings.storage_class:
            headers["x-amz-storage-class"] = self._settings.storage_class
        return headers

    def _all_headers(self, key: Key, content_type: str, *, private: bool) -> dict[str, str]:
        return {"Content-Type": content_type, "Cache-Control": CACHE_CONTROL, **self._headers(key, private=private)}

    def put(self, key: Key, data: Content, content_type: str, *, private: bool = False) -> None:
        headers = self._all_headers(key, content_type, private=private)
        if isinstance(data, Path) and data.stat().st_size >= self._settings.multipart_threshold:
            self._client.run(self._bucket.put_parts(key, partial(_parts, data), headers))
            return
        body = data if isinstance(data, bytes) else data.read_bytes()
        self._client.run(self._bucket.put(key, Sent.of(body), headers))

    def put_each(self, objects: Sequence[Sending]) -> Sequence[ObjectError | None]:
        measured = [(one, Sent.of(one.data)) for one in objects]  # here, where others can work meanwhile

        async def put(what: tuple[Sending, Sent]) -> ObjectError | None:
            one, sent = what
            try:
                await self._bucket.put(one.key, sent, self._all_headers(one.key, one.content_type, private=one.private))
            except ObjectError as error:
                return error
            return None

        return self._client.run(self._client.each(measured, put))

    def clear(self, key: Key) -> None:
        """A cut-off upload in parts is invisible, but its parts are kept, and paid for, until somebody ends it."""

        async def end() -> None:
            for upload in await self._bucket.uploads(key):
                await self._bucket.abort(key, upload)

        self._client.run(end())

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        headers = self._headers(target, private=private)
        self._client.run(self._bucket.copy(source, target, headers))

    def move(
        self, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        """A copy never carries a permission: each target gets its own."""

        async def copy(pair: tuple[Key, Key]) -> ObjectError | None:
            try:
                await self._bucket.copy(*pair, self._headers(pair[1], private=private))
            except ObjectError as error:
                return error
            return None

        async def work() -> list[ObjectError | None]:
            answers = await self._client.each(pairs, copy)
            copied = [source for (source, _), answer in zip(pairs, answers, strict=True) if answer is None]
            gone = iter(await self._bucket.delete_all(copied))
            return [next(gone) if answer is None else answer for answer in answers]

        return self._client.run(work())

    def delete(self, keys: Sequence[Key]) -> Sequence[ObjectError | None]:
        return self._client.run(self._bucket.delete_all(keys))

    @property
    def sets_permission(self) -> bool:
        """Whether a permission is sent with what is written (`S3_PERMISSION`)."""
        return self._settings.permission is not None

    def anonymous(self, key: Key) -> int:
        """The status that somebody without a key gets for that object."""
        (shown,) = ask([self._client.address.url(key)])
        return shown.status

    def is_public(self, key: Key) -> bool | None:
        """Whether the object's permission lets everybody read it; None if the store does not tell."""
        return self._client.run(self._bucket.is_public(key))

    def creates_once(self, key: Key) -> bool:
        """Whether an object that is there is not written over where that was asked for."""
        return self._client.run(self._bucket.creates_once(key, self._headers(key, private=True)))

    def serving(self, key: Key) -> Serving | None:
        headers = self._client.run(self._bucket.headers(key))
        if headers is None:
            return None
        public = self._client.run(self._bucket.is_public(key))
        return Serving(public, headers.get("Content-Type"), headers.get("Cache-Control"))

    def serve(self, key: Key, serving: Serving) -> None:
        """A copy onto itself, the only way to change headers; it sets the permission with them."""
        now = self.serving(key)
        if now is None:
            raise ObjectError(f"{self._name}: {key} does not exist.")
        is_public = now.is_public if serving.is_public is None else serving.is_public
        kept = self._client.run(self._bucket.headers(key)) or {}  # a copy onto itself drops what is not said again
        headers = {name: value for name, value in kept.items() if _STAYS.fullmatch(name.lower())}
        headers |= {"x-amz-metadata-directive": "REPLACE", **self._headers(key, private=is_public is False)}
        headers["Content-Type"] = serving.content_type or now.content_type or "application/octet-stream"
        if cache_control := serving.cache_control or now.cache_control:
            headers["Cache-Control"] = cache_control
        self._client.run(self._bucket.copy(key, key, headers))


async def _next(pages: AsyncGenerator[Page, None]) -> Page | None:
    return await anext(pages, None)


async def _close(pages: AsyncGenerator[Page, None]) -> None:
    """In the loop it runs in, and once a page that is still being read has been given up."""
    while pages.ag_running:  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    await pages.aclose()


def _objects(page: Page) -> RecordBatch:
    """Keys are what they are, also where they are foreign; what is no text cannot be one of Mastodon's."""
    keys = page.keys if all(map(str.isascii, page.keys)) else [k.encode("utf-8", "replace").decode() for k in page.keys]
    return batch(keys, page.sizes, page.modified)


def _begin_anew(file: Any) -> None:
    file.seek(0)
    file.truncate()


def _parts(path: Path) -> list[Callable[[], bytes]]:
    """What reads each part of a file."""
    size = path.stat().st_size
    part = max(_PART, -(-size // _PARTS))

    def read(start: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(part)

    return [partial(read, start) for start in range(0, size, part)]
