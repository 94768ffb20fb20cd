"""A run that sets many files aside and is killed at the n-th boundary of its batches. Run by test_kill_batch.py."""

from __future__ import annotations

import sys
from pathlib import Path

from killing import around, boundary

from mastomend.actions import run as run_module
from mastomend.actions.actions import QuarantineFile
from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.commands.instance import open_instance
from mastomend.commands.parts import changing_parts, ground
from mastomend.mastodon.keys import Key
from mastomend.outcomes import SetAside
from mastomend.reasons import Reason
from mastomend.storage import filesystem
from mastomend.vocabulary import ObjectAt

RUN = "20261101T000000Z-dead"

Journal.commit = around(Journal.commit)  # type: ignore[method-assign]
Journal.note = around(Journal.note)  # type: ignore[method-assign]
run_module.BATCH = 3
store = filesystem.FilesystemStore
store._rename = around(store._rename)  # type: ignore[method-assign]
store._sync = around(store._sync)  # type: ignore[method-assign]
instance = open_instance(Path(sys.argv[1]), Path(sys.argv[1]).parent / "state", {})
keys = sorted(sys.argv[3:])
with (
    ground(instance, RUN, lambda text: None) as where,
    run_module.run(where, "test", "all", RUN) as made,
    changing_parts(instance) as parts,
):
    made.begin(parts.world())
    plans = (
        Plan(
            ObjectAt(Key(key)),
            SetAside(Reason.EXPIRED, files=1),
            (QuarantineFile(Key(key), quarantine_key(RUN, key)),),
            Rule.SET_ASIDE,
        )
        for key in keys
    )
    for _ in made.execute(plans):
        boundary()
