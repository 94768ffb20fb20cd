"""kill -9 at every boundary of an eviction: no row names a file that is gone, and no byte is gone that is not journaled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from conftest import MakeInstance, opened
from runs import a_run
from tool import driven
from touches import Town

from mastomend.actions.actions import Delete
from mastomend.commands.check import check

DRIVER = Path(__file__).parents[1] / "killed_prune.py"
#: Every sixth boundary; all of them in `make soak`.
STEP = 1 if os.environ.get("MASTOMEND_SOAK") else 6


def test_killed_at_every_boundary_of_an_eviction(make_instance: MakeInstance) -> None:
    instance = make_instance()
    town = Town.of(instance)
    post = town.post()
    number, killed = 1, 0
    while True:
        made = [town.media(post) for _ in range(3)]
        held = set(instance.media.keys())
        process = driven(DRIVER, instance.env, number)
        died = process.returncode == -signal.SIGKILL
        assert died or process.returncode == 0, process.stderr[-2000:]
        killed += died
        rows = instance.db.execute(
            "SELECT file_file_name AS name FROM media_attachments WHERE file_file_name IS NOT NULL"
        )
        for row in rows:
            files = [key for key in instance.media.keys() if key.endswith(row["name"])]
            assert len(files) == 2, f"boundary {number}: a row names a file that is gone"
        gone = held - instance.media.keys()
        with a_run(instance, f"2026110{number % 8 + 1}T000000Z-{number:04x}") as (_, journal, _):
            assert journal.unsettled() == []
            settled = held - instance.media.keys()
            plans = [kept for run in journal.runs() for kept in journal.plans(run.id)]
            journaled = {action.key for kept in plans for action in kept.performed if isinstance(action, Delete)}
        assert gone <= settled <= journaled, f"boundary {number}"
        assert check(opened(instance)).broken == 0, f"boundary {number}"
        instance.db.execute("DELETE FROM media_attachments WHERE id = ANY(%s)", [made])
        for key in instance.media.keys():
            instance.media.delete(key)
        if not died:
            break
        number += STEP
    assert killed * STEP > 25, "the driver did not reach every boundary"
