"""Ctrl-C, wherever it falls. Python tells its main thread between two steps of its own, which is not always soon, nor safe.

A module that is being read is read to its end first: extension modules cannot be left half made. A query is told to end, as
its other threads would go on to the end of what they do. What swallows it is told again.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import weakref
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")
_IMPORTING = "<frozen importlib._bootstrap>"
#: Until it is tried again where a module was being read, and until it is seen whether anybody took it.
_SOON_S, _LATER_S = 0.05, 1.0


class _Stoppable(Protocol):
    def interrupt(self) -> None: ...


_C = TypeVar("_C", bound=_Stoppable)
_at_work: weakref.WeakSet[Any] = weakref.WeakSet()
_heard = False


def listen() -> None:
    """From now on Ctrl-C and SIGTERM are `KeyboardInterrupt`, of the main thread. Called from it. What was begun in the
    background, deaf to a Ctrl-C that is meant for others, stays so.
    """
    signal.signal(signal.SIGALRM, _once_more)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def stoppable(connection: _C) -> _C:
    """A connection whose queries Ctrl-C ends."""
    _at_work.add(connection)
    return connection


def heard() -> bool:
    """Whether somebody wants this process to end."""
    return _heard


def taken() -> None:
    """It is being ended: nothing is told again."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.setitimer(signal.ITIMER_REAL, 0)


def again() -> None:
    """It fell where nothing can be raised."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is _once_more:
        signal.setitimer(signal.ITIMER_REAL, _SOON_S)


def run_loop(work: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run`, which answers Ctrl-C itself: it ends what is under way first."""
    import asyncio  # noqa: PLC0415 - as long to read as all the rest, and most commands ask nobody

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _stop
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(work)
    finally:
        if ours:
            signal.signal(signal.SIGINT, _stop)


def _stop(_: int, frame: FrameType | None) -> None:
    global _heard
    _heard = True
    for connection in list(_at_work):
        with contextlib.suppress(Exception):  # one that is closed
            connection.interrupt()
    if _is_reading(frame):
        signal.setitimer(signal.ITIMER_REAL, _SOON_S)
        return
    signal.setitimer(signal.ITIMER_REAL, _LATER_S)
    raise KeyboardInterrupt


def _once_more(number: int, frame: FrameType | None) -> None:
    """Unless what is being done is an answer to it."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, GeneratorExit):  # it ends what it has begun: look again later
            signal.setitimer(signal.ITIMER_REAL, _LATER_S)
            return
        error = error.__context__
    _stop(number, frame)


def _is_reading(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
