"""For drivers that are killed, as by the kernel, at the n-th boundary; `n` is their second argument."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

_lock = threading.Lock()
_left = int(sys.argv[2])


def boundary() -> None:
    """Die here if it is time."""
    global _left
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(original: Any) -> Any:
    """A function with a boundary before it and one behind it."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        boundary()
        result = original(*arguments, **named)
        boundary()
        return result

    return wrapped
