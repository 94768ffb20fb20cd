"""A check that is killed, as by the kernel, at the n-th boundary around its steps. Run by test_killed_check.py."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.instance import open_instance
from mastomend.inventory import expected, held
from mastomend.inventory.workspace import Workspace

_left = int(sys.argv[2])
step = Workspace.step


def boundary() -> None:
    """Die here if it is time."""
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def stepping(self: Workspace, name: str) -> Iterator[object]:
    boundary()
    with step(self, name) as connection:
        yield connection
        boundary()
    boundary()


def keeping(*arguments: object) -> None:
    boundary()
    keep(*arguments)  # type: ignore[arg-type]


keep = held.StorageListing._keep
held.StorageListing._keep = keeping  # type: ignore[method-assign,assignment]
Workspace.step = stepping  # type: ignore[method-assign, assignment]
expected._CHUNK = 16
expected._SAMPLE = 1
held.RANGE = 4
env = Path(sys.argv[1])
check(open_instance(env, env.parent / "state", {}), CheckOptions(list_concurrency=4))
