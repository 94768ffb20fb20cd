"""An undo that is killed, as by the kernel, at the n-th boundary. Run by test_kill_undo.py."""

from __future__ import annotations

import sys
from pathlib import Path

from killing import around

from mastomend.actions import perform as perform_module
from mastomend.actions import recovery as recovery_module
from mastomend.actions import run as run_module
from mastomend.actions.journal import Journal
from mastomend.commands.instance import open_instance
from mastomend.commands.undo import undo

Journal.commit = around(Journal.commit)  # type: ignore[method-assign]
run_module.perform = around(perform_module.perform)  # type: ignore[attr-defined]
recovery_module.perform = run_module.perform  # type: ignore[attr-defined]
env = Path(sys.argv[1])
undo(open_instance(env, env.parent / "state", {}), sys.argv[3], apply=True)
