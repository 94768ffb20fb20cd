"""kill -9 at every boundary of a batch: each file is at its key or in the quarantine, and the journal knows which."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from conftest import MakeInstance, opened
from runs import a_run
from tool import driven

from mastomend.actions.actions import QuarantineFile
from mastomend.actions.journal import Journal
from mastomend.commands.undo import undo

DRIVER = Path(__file__).parents[1] / "killed_set_aside.py"
RUN = "20261101T000000Z-dead"


def test_killed_at_every_boundary_of_a_batch(make_instance: MakeInstance) -> None:
    """Four files in batches of three."""
    instance = make_instance()
    instance.media.write("cache/accounts/avatars/kept", b"x")
    keys = [f"cache/accounts/avatars/000/000/{n:03}/original/stray.png" for n in range(4)]
    number = killed = 0
    while True:
        number += 1
        for key in keys:
            instance.media.write(key, key.encode())
        process = driven(DRIVER, instance.env, number, *keys)
        died = process.returncode == -signal.SIGKILL
        assert died or process.returncode == 0, process.stderr[-2000:]
        killed += died
        held = {key: instance.media.read(key) for key in instance.media.keys()}
        assert sorted(filter(None, held.values())) == sorted([b"x", *(key.encode() for key in keys)]), number
        moved = {key for key in keys if key not in held}
        with a_run(instance, "20261102T000000Z-next") as (_, journal, _):
            assert journal.unsettled() == []
            done = [kept.plan.actions[0] for kept in journal.plans(RUN)] if journal.highest(RUN) else []
        assert {action.key for action in done if isinstance(action, QuarantineFile)} == moved, f"boundary {number}"
        with contextlib.closing(Journal(instance.state)) as journal:
            known = any(run.id == RUN for run in journal.runs())
        if known:
            assert undo(opened(instance), RUN, apply=True).reverted == len(moved)
        assert all(instance.media.read(key) == key.encode() for key in keys)
        (instance.state / "journal.sqlite3").unlink()
        for left in instance.state.glob("journal.sqlite3-*"):
            left.unlink()
        if not died:
            break
    assert killed > 25, "the driver did not reach every boundary"
