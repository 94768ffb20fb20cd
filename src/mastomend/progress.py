"""Progress is an injected observer that does nothing by default; the command line injects one that draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a long job tells whoever watches. `total` 0 means unknown."""

    def start(self, task: str, total: int) -> None:
        """A new task begins; the one before it is over."""
        ...

    def advance(self, n: int) -> None:
        """`n` more units of the current task are done."""
        ...

    def status(self, text: str, left_s: float = 0.0) -> None:
        """What came of the current task so far, and what it waits for; each replaces the one before. It takes `left_s` seconds
        more, at the least.
        """
        ...

    def note(self, text: str) -> None:
        """Something a person should know now."""
        ...


class Silent:
    """Nobody watches."""

    def start(self, task: str, total: int) -> None:
        pass

    def advance(self, n: int) -> None:
        pass

    def status(self, text: str, left_s: float = 0.0) -> None:
        pass

    def note(self, text: str) -> None:
        pass
