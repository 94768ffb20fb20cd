"""A listing in ranges is the listing, whatever the bucket holds and wherever it is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastomend.errors import StorageError
from mastomend.storage.memory import MemoryStore
from mastomend.storage.ports import Held
from mastomend.storage.ranges import list_in_ranges

NAMES = st.text(st.sampled_from("ab/019é\U0001f600~"), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.sets(NAMES, max_size=40), st.lists(NAMES, max_size=8), st.integers(1, 6))
def test_nothing_is_missed_and_nothing_comes_twice(names: set[str], cuts: list[str], connections: int) -> None:
    store = MemoryStore()
    store.objects = {f"p/{name}": b"x" * n for n, name in enumerate(sorted(names))}
    store.objects["other/key"] = b""
    bounds = [f"p/{cut}" for cut in cuts]
    listed = Counter(held for chunk in list_in_ranges(store, "p/", bounds, connections) for held in chunk)
    assert listed == Counter(Held(key, len(data)) for key, data in store.objects.items() if key.startswith("p/"))


class Broken:
    """A storage whose last range cannot be listed."""

    def list_between(self, prefix: str, after: str | None, until: str | None) -> Iterator[Sequence[Held]]:
        yield [Held(f"{after}", 1)]
        if until is None:
            raise StorageError("cut off")


@pytest.mark.parametrize("connections", [1, 4])
def test_a_range_that_cannot_be_listed_is_no_short_listing(connections: int) -> None:
    with pytest.raises(StorageError, match="cut off"):
        list(list_in_ranges(Broken(), "p/", ["p/b", "p/c"], connections))


def test_a_listing_nobody_reads_to_its_end_leaves_no_thread_behind() -> None:
    store = MemoryStore()
    store.objects = {f"p/{n:05}": b"" for n in range(2_000)}
    listing = list_in_ranges(store, "p/", [f"p/{n:05}" for n in range(0, 2_000, 100)], 4)
    next(listing)
    listing.close()  # type: ignore[attr-defined]
