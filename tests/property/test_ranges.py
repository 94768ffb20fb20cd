"""A listing in ranges is the listing, whatever the bucket holds, wherever it is cut, whenever it is split."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

import pytest
from arro3.core import RecordBatch
from hypothesis import given, settings
from hypothesis import strategies as st

from mastomend.errors import StorageError
from mastomend.inventory.held import _without
from mastomend.storage import ranges
from mastomend.storage.memory import MemoryStore
from mastomend.storage.ports import Held, batch, held
from mastomend.storage.ranges import KeyRange, RangedListing, between, cut, list_in_ranges

NAMES = st.text(st.sampled_from("ab/019é\U0001f600~"), min_size=1, max_size=6)


def listed(store: RangedListing, parts: Sequence[KeyRange], connections: int) -> tuple[Counter[Held], list[KeyRange]]:
    events = list(list_in_ranges(store, parts, connections))
    done = [event for event in events if isinstance(event, KeyRange)]
    return Counter(one for event in events if isinstance(event, RecordBatch) for one in held(event)), done


def is_in(key: str, part: KeyRange) -> bool:
    above = part.after is None or key > part.after
    return above and (part.until is None or key <= part.until)


@settings(max_examples=200, deadline=None)
@given(st.sets(NAMES, max_size=60), st.lists(NAMES, max_size=8), st.integers(1, 6), st.integers(1, 5))
def test_nothing_is_missed_and_nothing_comes_twice(
    names: set[str], cuts: list[str], connections: int, page: int
) -> None:
    """With pages of a few keys and a split whenever somebody is idle: many more than there would ever be."""
    store = MemoryStore(page)
    store.objects = {f"p/{name}": b"x" * n for n, name in enumerate(sorted(names))}
    store.objects["other/key"] = b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_SPLIT_PAGES", 1)
        found, done = listed(store, cut("p/", [f"p/{one}" for one in cuts]), connections)
    wanted = {key: len(data) for key, data in store.objects.items() if key.startswith("p/")}
    assert found == Counter(Held(key, size) for key, size in wanted.items())
    for key in wanted:
        assert sum(is_in(key, part) for part in done) == 1, "what is said to be done covers everything once"


class Blocking:
    """A bucket whose first lister stops after some pages until a second one has begun: so there must be a second."""

    def __init__(self, keys: list[str], stop_after: int) -> None:
        self.keys, self.stop_after = keys, stop_after
        self.second = asyncio.Event()
        self.began: list[str | None] = []

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        self.began.append(after)
        if len(self.began) == 2:
            self.second.set()
        first = len(self.began) == 1
        for n, key in enumerate([key for key in self.keys if after is None or key > after]):
            if first and n == self.stop_after:
                async with asyncio.timeout(10):  # nobody took a part of the range
                    await self.second.wait()
            yield batch([key], [1])


def test_a_range_that_is_too_big_is_split_while_it_is_listed() -> None:
    keys = [f"p/{n * 50:03}/{m:03}" for n in range(20) for m in range(20)]
    bucket = Blocking(keys, ranges._SPLIT_PAGES + 1)
    found, done = listed(bucket, [KeyRange("p/")], 2)
    assert found == Counter(Held(key, 1) for key in keys)
    second = bucket.began[1]
    assert second is not None and keys[0] < second < keys[-1], "cut inside what the bucket holds"
    assert len(done) >= 2


def test_one_connection_asks_for_each_page_once() -> None:
    store = MemoryStore(10)
    store.objects = {f"p/{n:05}": b"" for n in range(95)}
    found, done = listed(store, [KeyRange("p/")], 1)
    assert (len(found), done, store.requests.list) == (95, [KeyRange("p/")], 10)


KEYS = st.text(st.sampled_from("/0123456789abz.-~é"), max_size=12)


@given(KEYS, KEYS)
def test_a_key_between_two_is_between_them(one: str, other: str) -> None:
    low, high = sorted((one, other))
    found = between(low, high)
    if found is not None:
        assert low < found < high
        assert not found.endswith("/") and "//" not in found, "not every client takes these"


def test_a_key_between_two_keys_of_mastodon_cuts_their_ids_in_half() -> None:
    found = between("cache/accounts/avatars/100/000", "cache/accounts/avatars/300/000")
    assert found is not None and found.startswith("cache/accounts/avatars/2")


@settings(max_examples=200)
@given(st.lists(NAMES, max_size=5), st.data())
def test_what_is_left_of_a_range_and_what_was_done_make_the_range(bounds: list[str], data: st.DataObject) -> None:
    parts = cut("p/", bounds)
    done = data.draw(st.lists(st.sampled_from(parts), unique=True))
    whole = data.draw(st.sampled_from([KeyRange("p/"), *parts]))
    left = _without(whole, [*done, KeyRange("other/")])
    for key in [*bounds, *(bound + "0" for bound in bounds), "", "\U0010ffff"]:
        if key:
            expected = is_in(key, whole) and not any(is_in(key, part) for part in done)
            assert sum(is_in(key, part) for part in left) == expected


class Broken:
    """A storage whose last range cannot be listed."""

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        yield batch([f"{after or 'p/'}1"], [1])
        if after == "p/c":
            raise StorageError("cut off")


@pytest.mark.parametrize("connections", [1, 4])
def test_a_range_that_cannot_be_listed_is_no_short_listing(connections: int) -> None:
    with pytest.raises(StorageError, match="cut off"):
        list(list_in_ranges(Broken(), cut("p/", ["p/b", "p/c"]), connections))


class Unordered:
    """A storage that does not list in byte order."""

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        yield batch(["p/b"], [1])
        yield batch(["p/a"], [1])


def test_a_storage_that_lists_in_no_order_is_noticed() -> None:
    with pytest.raises(StorageError, match="in no order"):
        list(list_in_ranges(Unordered(), [KeyRange("p/")], 2))
    found, _ = listed(Unordered(), [KeyRange("p/")], 1)
    assert len(found) == 2, "one connection needs no order"


def test_a_listing_nobody_reads_to_its_end_leaves_no_thread_behind() -> None:
    store = MemoryStore(10)
    store.objects = {f"p/{n:05}": b"" for n in range(2_000)}
    listing = list_in_ranges(store, cut("p/", [f"p/{n:05}" for n in range(0, 2_000, 100)]), 4)
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("list")]
