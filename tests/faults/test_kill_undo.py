"""kill -9 of an undo: the same command goes on, and in the end rows and files are as they were before the run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import driven

from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError

DRIVER = Path(__file__).parents[1] / "killed_undo.py"


def state(instance: SimulatedInstance) -> tuple[dict[str, bytes | None], list[dict[str, Any]]]:
    held = {key: instance.media.read(key) for key in instance.media.keys() if not key.startswith(".mastomend")}
    return held, instance.db.execute("SELECT * FROM accounts ORDER BY id").fetchall()


def repaired(instance: SimulatedInstance, network: Fediverse) -> str:
    """One that is overwritten and one that gets a new name; the run that does it."""
    origin = network.origins.get("good.example") or network.add("good.example")
    for n, (stored, served) in enumerate(((picture(3), picture(33)), (picture(4, 400, 400, "gif"), picture(44)))):
        made = record(instance, data=stored, remote_url=origin.url(f"/{n}"), domain="good.example", name=f"u{n}")
        origin.files[f"/{n}"] = served
        instance.media.write(made.key, b"half")
    return repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100)).run


@pytest.mark.parametrize(("storage", "first", "step"), [("disk", 1, 4), ("s3", 2, 7)])
def test_an_undo_that_is_killed_is_gone_on_with(
    make_instance: MakeInstance, network: Fediverse, storage: str, first: int, step: int
) -> None:
    number, killed = first - step, 0
    while True:
        number += step
        instance = make_instance("4.5", storage)
        empty = state(instance)
        run = repaired(instance, network)
        after = state(instance)
        assert after != empty
        process = driven(DRIVER, instance.env, number, run)
        if process.returncode != 0:
            assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
            killed += 1
            try:
                foreseen = undo(opened(instance), run, apply=False)
                done_by = undo(opened(instance), run, apply=True)
                assert foreseen.reverted == done_by.reverted, f"boundary {number}: what is said is what is done"
            except ConfigurationError as done:  # it had ended, all but its process
                assert "was taken back already" in done.message
        held, rows = state(instance)
        originals = [data for key, data in held.items() if "/original/" in key]
        assert originals == [b"half", b"half"], f"boundary {number}"
        assert [row["avatar_file_name"].rpartition(".")[2] for row in rows if row["avatar_file_name"]] == ["png", "gif"]
        assert not [key for key in held if key.endswith(".mastomend-tmp")]
        if process.returncode == 0:
            break
    assert killed >= 12 // step, "the driver did not reach the journal"
