"""Why objects of a bucket could not be looked at, the newest of them."""

from __future__ import annotations

import threading

from mastomend.errors import MastomendError

_REMEMBERED = 10_000


class Obstacles:
    """In words, by key."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, key: str, error: MastomendError) -> None:
        """Remember an error; the oldest is forgotten."""
        with self._lock:
            while len(self._words) >= _REMEMBERED:
                del self._words[next(iter(self._words))]
            self._words[key] = error.message.replace(f" at {key}", "").removesuffix(".")

    def of(self, key: str) -> str:
        """What stood before that key."""
        return self._words.get(key, "it could not be looked at a moment ago")
