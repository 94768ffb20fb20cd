"""A repair that is killed, as by the kernel, at the n-th boundary around the journal. Run by test_kill.py."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from mastomend.actions import recovery as recovery_module
from mastomend.actions import run as run_module
from mastomend.actions.journal import Journal
from mastomend.commands.instance import open_instance
from mastomend.commands.repair import RepairOptions, repair
from mastomend.outcomes import Engine
from mastomend.restore.handing_over import HandOverLimits

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
    def wrapped(*arguments: Any, **named: Any) -> Any:
        boundary()
        result = original(*arguments, **named)
        boundary()
        return result

    return wrapped


Journal.commit = around(Journal.commit)  # type: ignore[method-assign]
run_module.perform = around(run_module.perform)  # type: ignore[attr-defined]
recovery_module.perform = run_module.perform  # type: ignore[attr-defined]
env = Path(sys.argv[1])
engine = Engine(sys.argv[3]) if len(sys.argv) > 3 else Engine.DIRECT
limits = HandOverLimits(wait_s=0, rate=0)
repair(
    open_instance(env, env.parent / "state", {}),
    RepairOptions(apply=True, max_missing_percent=100, engine=engine, hand_over=limits),
)
