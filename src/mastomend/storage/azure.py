"""Media in an Azure container, through obstore (docs/adr/0007, 0010)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from arro3.core import DataType, RecordBatch

from mastomend.errors import ConfigurationError, MastomendError, ObjectError, StorageError
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import AzureStorage
from mastomend.storage.attempts import attempted
from mastomend.storage.obstacles import Obstacles
from mastomend.storage.ports import MISSING, UNREADABLE, Requests
from mastomend.storage.trouble import AZURE, Refusal, code_of, failure
from mastomend.vocabulary import Content, Sending, Serving

_CONCURRENCY = 32
_IN_MEMORY = 8 * 1024 * 1024
_SILENCE_S = 120.0


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
        self._obstacles = Obstacles()
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
                times = page["last_modified"].cast(DataType.int64())
                yield RecordBatch.from_arrays([page["path"], page["size"], times], names=["key", "size", "modified"])
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

    def put(self, key: Key, data: Content, content_type: str, *, private: bool = False) -> None:
        """A blob has no permission of its own (facts §1.1)."""
        attributes: Any = {"Content-Type": content_type}
        try:
            self._obstore.put(self._store, key, data, attributes=attributes, use_multipart=isinstance(data, Path))
        except (self._error, FileNotFoundError) as error:
            raise self._failure(error, key) from None

    def put_each(self, objects: Sequence[Sending]) -> Sequence[ObjectError | None]:
        return list(
            self._threads.map(
                lambda one: attempted(partial(self.put, private=one.private), one.key, one.data, one.content_type),
                objects,
            )
        )

    def read_each(self, keys: Sequence[Key]) -> Sequence[bytes | ObjectError | None]:
        return list(self._threads.map(lambda key: attempted(self.read, key), keys))

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        try:
            self._obstore.copy(self._store, source, target)
        except FileNotFoundError:
            raise ObjectError(f"{self._name}: {source} does not exist.") from None
        except self._error as error:
            raise self._failure(error, source) from None

    def move(
        self, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        def move(pair: tuple[Key, Key]) -> ObjectError | None:
            try:
                self.copy(*pair, private=private)
            except ObjectError as error:
                return error
            return self._delete(pair[0])

        return list(self._threads.map(move, pairs))

    def delete(self, keys: Sequence[Key]) -> Sequence[ObjectError | None]:
        return list(self._threads.map(self._delete, keys))

    def _delete(self, key: Key) -> ObjectError | None:
        try:
            self._obstore.delete(self._store, key)
        except FileNotFoundError:
            return None
        except self._error as error:
            found = self._failure(error, key)
            if not isinstance(found, ObjectError):
                raise found from None
            return found
        return None

    def serving(self, key: Key) -> Serving | None:
        """Its type and headers; who may read is a matter of the whole container."""
        try:
            found = self._obstore.get(self._store, key, options={"range": (0, 1)})
        except FileNotFoundError:
            return None
        except self._error as error:
            raise self._failure(error, key) from None
        told = {str(name): str(value) for name, value in found.attributes.items()}
        return Serving(None, told.get("Content-Type"), told.get("Cache-Control"))

    def serve(self, key: Key, serving: Serving) -> None:
        """A blob's headers change only as it is written anew."""
        data, now = self.read(key), self.serving(key)
        if data is None or now is None:
            raise ObjectError(f"{self._name}: {key} does not exist.")
        wanted = {
            "Content-Type": serving.content_type or now.content_type,
            "Cache-Control": serving.cache_control or now.cache_control,
        }
        attributes: Any = {name: value for name, value in wanted.items() if value}
        try:
            self._obstore.put(self._store, key, data, attributes=attributes)
        except self._error as error:
            raise self._failure(error, key) from None

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
