"""A pruning that is killed at the n-th boundary. Run by test_kill_prune.py."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from killing import around

from mastomend.actions import run as run_module
from mastomend.actions.journal import Journal
from mastomend.commands import letting_go
from mastomend.commands.instance import open_instance
from mastomend.commands.prune import prune
from mastomend.commands.prune_report import PruneOptions
from mastomend.database.changes import GuardedRows
from mastomend.inventory.keeping import DAY, Policy
from mastomend.storage import filesystem

Journal.commit = around(Journal.commit)  # type: ignore[method-assign]
Journal.note = around(Journal.note)  # type: ignore[method-assign]
GuardedRows.set = around(GuardedRows.set)  # type: ignore[method-assign]
run_module.BATCH = 2
vars(letting_go)["BATCH"] = 2
store = filesystem.FilesystemStore
store._unlink = around(store._unlink)  # type: ignore[method-assign]
instance = open_instance(Path(sys.argv[1]), Path(sys.argv[1]).parent / "state", {})
options = PruneOptions(Policy({"attachments": DAY}), apply=True, max_missing_percent=100)
prune(instance, options, now=lambda: datetime(2027, 6, 1, tzinfo=UTC))
