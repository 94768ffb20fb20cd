"""Who stands before something that lets only so many through, such as Mastodon's queue: the first goes first.

A gate is asked once for all that stand there, not once for each. They are patient for as long as anybody gets through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from mastomend.restore.case import Gate

_T = TypeVar("_T")


class Gates(Generic[_T]):
    """Lives in an event loop. `ask` asks a gate for so many, `through` tells one that waits what came of it."""

    def __init__(
        self,
        ask: Callable[[Gate, int], Awaitable[int]],
        through: Callable[[_T, bool | Exception], None],
        now: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._through = through
        self._now = now
        self._before: dict[Gate, deque[_T]] = {}
        self._shut: set[Gate] = set()  # those that let nobody through for as long as anybody was patient

    @property
    def waiting(self) -> int:
        """How many wait, before all gates."""
        return sum(map(len, self._before.values()))

    def stand(self, gate: Gate, one: _T) -> Coroutine[Any, Any, None] | None:
        """Stand there. Whoever is the first has to see that the gate is watched: what is returned is to be run."""
        before = self._before.get(gate)
        if before is not None:
            before.append(one)
            return None
        self._before[gate] = deque([one])
        return self._watch(gate, self._before[gate])

    async def _watch(self, gate: Gate, before: deque[_T]) -> None:
        patience = self._now() + (0.0 if gate in self._shut else gate.patience_s)
        try:
            while before:
                number = await self._ask(gate, len(before))
                self._release(before, number, True)
                if number:
                    self._shut.discard(gate)
                    patience = self._now() + gate.patience_s
                elif self._now() >= patience:
                    self._shut.add(gate)
                    self._release(before, len(before), False)
                if before:
                    await asyncio.sleep(gate.poll_s)
        except Exception as error:  # each way says what that means for its record
            self._release(before, len(before), error)
        finally:
            del self._before[gate]

    def _release(self, before: deque[_T], number: int, answer: bool | Exception) -> None:
        for _ in range(number):
            self._through(before.popleft(), answer)
