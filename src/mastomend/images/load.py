"""How much may be decoded at once, and for how long: the memory of the whole process, whatever strangers send.

A picture of 33 megapixels takes up to half a gigabyte while it is decoded (AVIF; others less), a thumbnail next to nothing.
So each one waits until it fits beside those under way, by its pixels. A still one that takes too long is stopped; an
animation is bounded by the pixels of all its frames.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mastomend.mastodon.processing import MAX_PIXELS

#: As many pixels as the largest picture has: that one alone, or as many smaller ones as make the same.
_AT_ONCE = MAX_PIXELS
SECONDS = 60.0


#: glibc's `M_MMAP_THRESHOLD`: what is larger than this goes back to the system when it is freed.
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 4 * 1024 * 1024


def give_memory_back() -> None:
    """Large buffers are not kept for later: each thread would keep its own, and twelve threads three times the memory."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, others need it not
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class Room:
    """Pixels that may be decoded at once; whoever came first goes first."""

    def __init__(self, pixels: int = _AT_ONCE) -> None:
        self._free = self._whole = pixels
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def for_pixels(self, number: int) -> Iterator[None]:
        """Wait until that many fit, and keep them for the block."""
        number, ticket = min(max(number, 1), self._whole), object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._free >= number)
            self._queue.popleft()
            self._free -= number
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += number
                self._changed.notify_all()


ROOM = Room()


@contextmanager
def within_time(image: Any, seconds: float = SECONDS) -> Iterator[Any]:
    """The same image for the block; what computes its pixels there is stopped, with an error, when it takes longer.

    Compute them in the block and keep nothing made of the image: libvips calls back while it computes, and what it calls
    lives as long as the block.
    """
    deadline = time.monotonic() + seconds
    watched = image.copy()

    def look(computed: Any, _: Any) -> None:
        if time.monotonic() > deadline:
            computed.set_kill(True)

    watched.set_progress(True)
    watched.signal_connect("eval", look)
    yield watched
    watched.set_progress(False)
