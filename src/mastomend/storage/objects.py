"""Media in a bucket. S3 is asked through one client for every verb (`s3_client`), Azure through obstore (docs/adr/0010).

What a look-up cannot see is `UNREADABLE`, and `obstacle` says why. Nothing a finding counts on comes from a listing that
may lag: `sizes` asks object by object.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from arro3.core import RecordBatch

from mastomend.errors import ConfigurationError, HiddenError, MastomendError, ObjectError, StorageError
from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.configuration import AzureStorage, S3Storage
from mastomend.mastodon.keys import Key, is_private
from mastomend.storage.ports import CACHE_CONTROL, MISSING, UNREADABLE, Requests, batch
from mastomend.storage.s3_answers import Page
from mastomend.storage.s3_client import Patience, S3Client
from mastomend.storage.sigv4 import Credentials
from mastomend.storage.trouble import AZURE, Refusal, code_of, failure
from mastomend.vocabulary import Content

_CONCURRENCY = 32
_IN_MEMORY = 8 * 1024 * 1024
#: S3 takes at most 10,000 parts, each but the last of 5 MiB at least.
_PART = 8 * 1024 * 1024
_PARTS = 9_000
#: A listing page takes longer than one object, and a store under load longer still.
_SILENCE_S = 120.0
_REMEMBERED = 10_000


class _Obstacles:
    """Why keys could not be looked at, the newest of them."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, key: str, error: MastomendError) -> None:
        with self._lock:
            while len(self._words) >= _REMEMBERED:
                del self._words[next(iter(self._words))]
            self._words[key] = error.message.replace(f" at {key}", "").removesuffix(".")

    def of(self, key: str) -> str:
        return self._words.get(key, "it could not be looked at a moment ago")


class S3ObjectStore:
    """An S3-compatible bucket; writes carry Mastodon's ACL, Cache-Control and storage class."""

    def __init__(self, settings: S3Storage, patience: Patience = Patience()) -> None:
        self._settings = settings
        self._name = str(settings)
        self.requests = Requests()
        self._obstacles = _Obstacles()
        self._client = S3Client(
            bucket_address(settings),
            self._name,
            settings.region,
            _credentials(settings),
            self.requests,
            connect_s=max(settings.open_timeout_s, 1.0),
            silence_s=max(settings.read_timeout_s, _SILENCE_S),
            connections=_CONCURRENCY,
            patience=patience,
        )

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
            size = await self._client.size(key)
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
        async with aclosing(self._client.pages(prefix, most=1)) as pages:
            async for page in pages:
                if page.keys:
                    return page.keys[0]
        return None

    def obstacle(self, key: str) -> str:
        return self._obstacles.of(key)

    def in_the_way(self, key: str) -> str:
        return ""

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        pages = self._client.pages(prefix)
        try:
            while (page := self._client.run(_next(pages))) is not None:
                yield _objects(page)
        finally:
            self._client.run(_close(pages))

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        pages = self._client.pages(prefix, after)
        try:
            while (page := await self._client.aside(_next(pages))) is not None:
                yield _objects(page)
        finally:
            await self._client.aside(_close(pages))

    def folders(self, prefix: str = "") -> Sequence[str]:
        async def find() -> list[str]:
            async with aclosing(self._client.pages(prefix, delimiter="/")) as pages:
                return [folder async for page in pages for folder in page.folders]

        return sorted(folder.removeprefix(prefix).rstrip("/") for folder in self._client.run(find()))

    def read(self, key: Key) -> bytes | None:
        return self._client.run(self._client.get(key))

    def fetch(self, key: Key, spare: Path) -> Content:
        size = self._client.run(self._client.size(key))
        if size is None:
            raise ObjectError(f"{self._name}: {key} does not exist.")
        if size <= _IN_MEMORY:
            data = self.read(key)
            if data is None:
                raise ObjectError(f"{self._name}: {key} does not exist.")
            return data
        with spare.open("wb") as file:
            if not self._client.run(self._client.stream(key, file.write, partial(_begin_anew, file))):
                raise ObjectError(f"{self._name}: {key} does not exist.")
        return spare

    def digest(self, key: Key) -> str | None:
        found = hashlib.sha256()

        def again() -> None:
            nonlocal found
            found = hashlib.sha256()

        there = self._client.run(self._client.stream(key, lambda piece: found.update(piece), again))
        return found.hexdigest() if there else None

    def _headers(self, key: Key, *, private: bool) -> dict[str, str]:
        headers: dict[str, str] = {}
        private = private or is_private(key, self._settings.key_prefix)
        if self._settings.permission is not None:
            headers["x-amz-acl"] = "private" if private else self._settings.permission
        if self._settings.storage_class:
            headers["x-amz-storage-class"] = self._settings.storage_class
        return headers

    def put(self, key: Key, data: Content, content_type: str) -> None:
        headers = {"Content-Type": content_type, "Cache-Control": CACHE_CONTROL, **self._headers(key, private=False)}
        if isinstance(data, Path) and data.stat().st_size >= self._settings.multipart_threshold:
            self._client.run(self._client.put_parts(key, partial(_parts, data), headers))
            return
        body = data if isinstance(data, bytes) else data.read_bytes()
        self._client.run(self._client.put(key, body, headers))

    def clear(self, key: Key) -> None:
        """A cut-off upload in parts is invisible, but its parts are kept, and paid for, until somebody ends it."""

        async def end() -> None:
            for upload in await self._client.uploads(key):
                await self._client.abort(key, upload)

        self._client.run(end())

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        headers = self._headers(target, private=private)
        self._client.run(self._client.copy(source, target, self._settings.bucket, headers))

    def move(self, source: Key, target: Key, *, private: bool) -> None:
        self.copy(source, target, private=private)
        self._client.run(self._client.delete(source))


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
    return batch(keys, page.sizes)


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


def _credentials(settings: S3Storage) -> Callable[[], Any]:
    """What gives the access key: Mastodon's own, or where there is none, AWS's chain, as its SDK does."""
    if settings.access_key_id:
        fixed = Credentials(settings.access_key_id, settings.secret_access_key.reveal())

        async def own() -> Credentials:
            return fixed

        return own

    chain: list[Any] = []

    def find() -> Credentials:
        import botocore.session
        from botocore.exceptions import BotoCoreError

        try:
            if not chain:
                chain.append(botocore.session.get_session().get_credentials())
            frozen = chain[0].get_frozen_credentials() if chain[0] is not None else None
        except BotoCoreError as error:
            raise ConfigurationError(
                f"{settings}: AWS's credential chain fails ({type(error).__name__}).",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or check the role of this machine.",
            ) from None
        if frozen is None or not frozen.access_key:
            raise ConfigurationError(
                f"{settings}: there are no credentials: AWS_ACCESS_KEY_ID is not set, and AWS's own chain has none.",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env.production.",
            )
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    async def found() -> Credentials:
        return await asyncio.get_running_loop().run_in_executor(None, find)

    return found


class AzureObjectStore:
    """An Azure container. Blobs are written with their Content-Type only, as Mastodon does (facts §4.2)."""

    def __init__(self, settings: AzureStorage) -> None:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore

        self._obstore = obstore
        self._error = BaseError
        self._name = str(settings)
        self.requests = Requests()
        self._obstacles = _Obstacles()
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="objects")
        endpoint: dict[str, Any] = {"endpoint": settings.endpoint} if settings.endpoint else {}
        options: Any = {
            "allow_http": bool(settings.endpoint),
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=_SILENCE_S),
            "timeout": timedelta(seconds=900),
        }
        try:
            self._store = AzureStore(
                container_name=settings.container,
                account_name=settings.account,
                account_key=settings.access_key.reveal(),
                client_options=options,
                retry_config={"max_retries": 30, "retry_timeout": timedelta(seconds=240)},
                **endpoint,
            )
        except (BaseError, ValueError):
            raise ConfigurationError(
                f"{self._name}: the account or its key cannot be used.",
                hint="Check AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_ACCESS_KEY (base64) and AZURE_CONTAINER_NAME.",
            ) from None

    def probe(self) -> bool:
        try:
            self.requests.list += 1
            for page in self._obstore.list(self._store, chunk_size=1):
                return len(page) > 0
        except self._error as error:
            raise self._failure(error) from None
        return False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        self.requests.head += len(keys)
        return list(self._threads.map(self._size, keys))

    def _size(self, key: str) -> int:
        try:
            return int(self._obstore.head(self._store, key)["size"])
        except (FileNotFoundError, ValueError):  # a name no object can have, such as one with a zero byte
            return MISSING
        except self._error as error:
            found = self._failure(error, key)
            if not isinstance(found, ObjectError):
                raise found from None
            self._obstacles.note(key, found)
            return UNREADABLE

    def obstacle(self, key: str) -> str:
        return self._obstacles.of(key)

    def in_the_way(self, key: str) -> str:
        return ""

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        self.requests.list += 1
        pages = self._obstore.list(self._store, prefix.rstrip("/") or None, chunk_size=1000, return_arrow=True)
        try:
            for number, page in enumerate(pages):
                self.requests.list += number > 0
                yield RecordBatch.from_arrays([page["path"], page["size"]], names=["key", "size"])
        except self._error as error:
            raise self._failure(error) from None

    def read(self, key: Key) -> bytes | None:
        try:
            return bytes(self._obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except self._error as error:
            raise self._failure(error, key) from None

    def fetch(self, key: Key, spare: Path) -> Content:
        try:
            found = self._obstore.get(self._store, key)
            if found.meta["size"] <= _IN_MEMORY:
                return bytes(found.bytes())
            with spare.open("wb") as file:
                for piece in found.stream():
                    file.write(piece)
        except FileNotFoundError:
            raise ObjectError(f"{self._name}: {key} does not exist.") from None
        except self._error as error:
            raise self._failure(error, key) from None
        return spare

    def digest(self, key: Key) -> str | None:
        found = hashlib.sha256()
        try:
            for piece in self._obstore.get(self._store, key).stream():
                found.update(piece)
        except FileNotFoundError:
            return None
        except self._error as error:
            raise self._failure(error, key) from None
        return found.hexdigest()

    def folders(self, prefix: str = "") -> Sequence[str]:
        self.requests.list += 1
        try:
            found = self._obstore.list_with_delimiter(self._store, prefix.rstrip("/") or None)
        except self._error as error:
            raise self._failure(error) from None
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def clear(self, key: Key) -> None:
        """A cut-off upload leaves nothing under a key and nothing beside it."""

    def put(self, key: Key, data: Content, content_type: str) -> None:
        attributes: Any = {"Content-Type": content_type}
        try:
            self._obstore.put(self._store, key, data, attributes=attributes, use_multipart=isinstance(data, Path))
        except (self._error, FileNotFoundError) as error:
            raise self._failure(error, key) from None

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        try:
            self._obstore.copy(self._store, source, target)
        except FileNotFoundError:
            raise ObjectError(f"{self._name}: {source} does not exist.") from None
        except self._error as error:
            raise self._failure(error, source) from None

    def move(self, source: Key, target: Key, *, private: bool) -> None:
        self.copy(source, target, private=private)
        try:
            self._obstore.delete(self._store, source)
        except self._error as error:
            raise self._failure(error, source) from None

    def _failure(self, error: Exception, key: str = "") -> MastomendError:
        """obstore says everything in one text, and asks for minutes by itself before it says so."""
        text = str(error)
        status, method = _STATUS.search(text), _METHOD.search(text)
        where = f"{self._name} at {key}" if key else self._name
        if status is None:
            return StorageError(
                f"{where}: {text.splitlines()[0][:200] if text else type(error).__name__}",
                hint="Is the object store up and reachable? The same command goes on where it stopped.",
            )
        refusal = Refusal(int(status[1]), code_of(text.encode()))
        asked = method[1] if method else ""
        found = failure(self._name, refusal, method=asked, key=key, advice=AZURE)
        if refusal.may_pass and key and self._is_well():
            return ObjectError(found.message)
        return found

    def _is_well(self) -> bool:
        try:
            self.probe()
        except MastomendError:
            return False
        return True


#: How obstore tells what was answered to what.
_STATUS, _METHOD = re.compile(r"status code: (\d{3})"), re.compile(r"performing ([A-Z]+) ")
