"""A repair that is killed, as by the kernel, at the n-th boundary around the journal. Run by test_kill.py."""

from __future__ import annotations

import sys
from pathlib import Path

from killing import around

from mastomend.actions import recovery as recovery_module
from mastomend.actions import run as run_module
from mastomend.actions.journal import Journal
from mastomend.commands.instance import open_instance
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.outcomes import Engine
from mastomend.restore.sources.mastodon import HandOverLimits

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
