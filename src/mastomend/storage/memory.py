"""A storage in memory: the reference the conformance suite compares the real ones with."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path

from arro3.core import RecordBatch

from mastomend.errors import ObjectError
from mastomend.mastodon.keys import Key
from mastomend.storage.ports import CACHE_CONTROL, MISSING, Requests, batch
from mastomend.vocabulary import Content, Sending, Serving


class MemoryStore:
    """Objects in a dict; `content_types`, `cache_controls` and `private` record what writers asked for.

    `clock` gives the microseconds that `modified` is.
    """

    def __init__(self, page: int = 1_000, clock: Callable[[], int] = lambda: time.time_ns() // 1_000) -> None:
        self._clock = clock
        self.modified: dict[str, int] = {}
        self.cache_controls: dict[str, str] = {}
        self.page = page
        self.objects: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self.private: set[str] = set()
        self.requests = Requests()

    def probe(self) -> bool:
        return bool(self.objects)

    def close(self) -> None:
        pass

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        self.requests.head += len(keys)
        return [len(self.objects[key]) if key in self.objects else MISSING for key in keys]

    def obstacle(self, key: str) -> str:
        raise ValueError("nothing in memory is unreadable")

    def in_the_way(self, key: str) -> str:
        return ""

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        return self._pages(prefix, None)

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        for page in self._pages(prefix, after):
            await asyncio.sleep(0)
            yield page

    def _pages(self, prefix: str, after: str | None) -> Iterator[RecordBatch]:
        self.requests.list += 1
        folder = prefix.rstrip("/") + "/" if prefix else ""
        keys = sorted(key for key in self.objects if key.startswith(folder) and (after is None or key > after))
        for start in range(0, len(keys), self.page):
            page = keys[start : start + self.page]
            self.requests.list += start > 0
            yield batch(page, [len(self.objects[key]) for key in page], [self.modified.get(key) for key in page])

    def read(self, key: Key) -> bytes | None:
        return self.objects.get(key)

    def read_each(self, keys: Sequence[Key]) -> Sequence[bytes | ObjectError | None]:
        return [self.read(key) for key in keys]

    def fetch(self, key: Key, spare: Path) -> Content:
        if key not in self.objects:
            raise ObjectError(f"{key} does not exist.")
        return self.objects[key]

    def digest(self, key: Key) -> str | None:
        return hashlib.sha256(self.objects[key]).hexdigest() if key in self.objects else None

    def folders(self, prefix: str = "") -> Sequence[str]:
        below = [key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)]
        return sorted({rest.split("/")[0] for rest in below if "/" in rest})

    def put(self, key: Key, data: Content, content_type: str, *, private: bool = False) -> None:
        self.objects[key] = data if isinstance(data, bytes) else data.read_bytes()
        self.modified[key] = self._clock()
        self.cache_controls[key] = CACHE_CONTROL
        self.content_types[key] = content_type
        (self.private.add if private else self.private.discard)(key)

    def put_each(self, objects: Sequence[Sending]) -> Sequence[ObjectError | None]:
        for one in objects:
            self.put(one.key, one.data, one.content_type, private=one.private)
        return [None] * len(objects)

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        if source not in self.objects:
            raise ObjectError(f"{source} does not exist.")
        self.objects[target] = self.objects[source]
        self.modified[target] = self._clock()
        self.cache_controls[target] = self.cache_controls.get(source, "")
        self.content_types[target] = self.content_types.get(source, "")
        if private:
            self.private.add(target)
        else:
            self.private.discard(target)

    def clear(self, key: Key) -> None:
        """A cut-off write leaves nothing."""

    def move(
        self, pairs: Sequence[tuple[Key, Key]], *, private: bool, replace: bool = False
    ) -> Sequence[ObjectError | None]:
        answers: list[ObjectError | None] = []
        for source, target in pairs:
            try:
                if target in self.objects and not private and not replace:
                    raise ObjectError(f"{target} is there.")
                self.copy(source, target, private=private)
            except ObjectError as error:
                answers.append(error)
            else:
                answers += self.delete([source])
        return answers

    def delete(self, keys: Sequence[Key]) -> Sequence[ObjectError | None]:
        for key in keys:
            self.objects.pop(key, None)
        return [None] * len(keys)

    def serving(self, key: Key) -> Serving | None:
        if key not in self.objects:
            return None
        return Serving(key not in self.private, self.content_types.get(key), self.cache_controls.get(key))

    def serve(self, key: Key, serving: Serving) -> None:
        if key not in self.objects:
            raise ObjectError(f"{key} does not exist.")
        if serving.content_type is not None:
            self.content_types[key] = serving.content_type
        if serving.cache_control is not None:
            self.cache_controls[key] = serving.cache_control
        if serving.is_public is not None:
            (self.private.discard if serving.is_public else self.private.add)(key)
