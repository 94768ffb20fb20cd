"""kill -9 at every boundary: nothing is lost, nothing is fetched twice that was done, no half file under a final key."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import driven

from mastomend.commands.check import check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS

DRIVER = Path(__file__).parents[1] / "killed_repair.py"


def prepare(instance: SimulatedInstance, network: Fediverse) -> dict[str, str]:
    """Three broken avatars: one with the same bytes, one with others (row changes), one with another type (new name)."""
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nrate = 0\nconcurrency = 1\n")
    paths = {}
    origin = network.origins.get("good.example") or network.add("good.example")
    for n, (stored, served) in enumerate(
        (
            (picture(1), picture(1)),
            (picture(3), picture(33)),
            (picture(4, 400, 400, "gif"), picture(44)),
        )
    ):
        origin.files[f"/{n}"] = served
        made = record(instance, AVATARS, stored, remote_url=origin.url(f"/{n}"), domain="good.example", name=f"u{n}")
        paths[str(made.id)] = f"{origin.address}/{n}"
        if n == 1:
            instance.media.write(made.key, b"half")
        else:
            instance.media.delete(made.key)
    return paths


#: Every boundary in `make soak`; otherwise every fourth one, for time.
STEP = 1 if os.environ.get("MASTOMEND_SOAK") else 6


@pytest.mark.parametrize(("storage", "step"), [("disk", STEP), ("s3", STEP + 1)])
def test_killed_at_every_boundary(make_instance: MakeInstance, network: Fediverse, storage: str, step: int) -> None:
    """In a bucket fewer of them: the order of journal and actions is the same code."""
    number, killed = 1 - step, 0
    while True:
        number += step
        instance = make_instance("4.5", storage)
        paths = prepare(instance, network)
        network.requests.clear()
        process = driven(DRIVER, instance.env, number)
        if process.returncode == 0:
            break  # this run had fewer boundaries: every one of them has been tried
        assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
        killed += 1
        served = {picture(1), picture(33), picture(44)}
        whole = served | set(instance.files.values()) | {b"half"}
        for key in instance.media.keys():
            data = instance.media.read(key)
            if "/original/" in key and "tmp" not in key:
                assert data in whole, f"half a file at {key} after boundary {number}"
        done = decided(instance)
        before = network.fetched()
        report = repair(opened(instance), RepairOptions(apply=True))
        after = network.fetched()
        assert check(opened(instance)).broken == 0, f"boundary {number}"
        for record_id in done:
            assert after[paths[record_id]] == before[paths[record_id]], f"fetched again after boundary {number}"
        assert report.outcomes.total() in (0, 3) or report.recovered, f"boundary {number}: {report.outcomes}"
        strays = [k for k in instance.media.keys() if k.endswith(".mastomend-tmp")]
        assert not strays, f"boundary {number}: {strays}"
    assert killed >= 25 // step, "the driver did not reach the journal"


def decided(instance: SimulatedInstance) -> set[str]:
    """Records that had an outcome when the run died."""
    journal = instance.state / "journal.sqlite3"
    if not journal.exists():
        return set()
    with sqlite3.connect(journal) as db:
        try:
            return {str(row[0]) for row in db.execute("SELECT id FROM outcomes")}
        except sqlite3.OperationalError:
            return set()
