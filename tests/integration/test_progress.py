"""What is under way, on a terminal: one line for a step, from its first second on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance
from terminal import on_terminal

from mastomend.demo.fediverse import Fediverse

STEPS = """
import time
from mastomend.cli.progress import progress
with progress() as watching:
    watching.start("a quick one", 3)
    watching.advance(3)
    watching.start("comparing", 0)
    time.sleep(2)
    watching.start("repair", 10)
    watching.status("waiting for slow.example (3)")
    time.sleep(1.5)
    watching.advance(1)
    time.sleep(0.5)
    watching.start("twice", 0)
    watching.start("twice", 0)
    time.sleep(1.5)
print("The result.")
"""


@pytest.mark.parametrize("columns", [40, 80])
def test_a_step_is_shown_from_its_first_second_on(tmp_path: Path, columns: int) -> None:
    """Whether anything of it is done or not; and nothing of it is left on the screen."""
    script = tmp_path / "steps.py"
    script.write_text(STEPS)
    seen = on_terminal([], columns, 24, tmp_path, program=script)
    assert seen.text == "The result.\n"
    shown = "\n".join(seen.moments)
    assert "a quick one" not in shown and "comparing" in shown
    assert not any("comparing" in moment and "repair" in moment for moment in seen.moments), "one line at a time"
    assert any(
        "waiting for slow.example (3)" in moment and re.search(r"repair .*\b0/10", moment) for moment in seen.moments
    )
    assert re.search(r"repair .*\b1/10", shown)
    assert any("twice" in moment for moment in seen.moments) and all(m.count("twice") < 2 for m in seen.moments)
    assert all(len(moment.splitlines()) <= 2 for moment in seen.moments)


def test_whom_a_repair_waits_for_is_said_before_anybody_has_answered(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    slow = network.add("slow.example")
    slow.delay_s = 2.5
    for n in range(3):
        record(instance, origin=slow, name=f"u{n}", damage="missing")
    words = ["--env", str(instance.env), "--state", str(instance.state), "repair", "--apply", "--max-missing", "100%"]
    seen = on_terminal(words, 100, 24, instance.folder)
    waits = [moment for moment in seen.moments if "waiting for" in moment]
    assert waits and re.search(r"repair .*\b0/3", waits[0]), "nobody had answered yet"
    assert "3 restored" in seen.text or "3 of 3 records mended" in seen.text
    assert "waiting for" not in seen.text
