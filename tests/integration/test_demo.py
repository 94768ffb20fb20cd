"""The demo itself. Its first story is told by the tool (test_terminal.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mastomend.demo.moving_story import Moved, moving_story
from mastomend.demo.story import Checked, prepared, story
from mastomend.errors import ConfigurationError
from mastomend.progress import Silent


def test_the_story_of_the_move(tmp_path: Path) -> None:
    events = list(moving_story(tmp_path / "demo", Silent()))
    steps = [(e.report.step.value, e.report.copied.files, e.report.wrong) for e in events if isinstance(e, Moved)]
    (checked,) = (e.report for e in events if isinstance(e, Checked))
    files = steps[1][1]
    assert files > 150 and steps == [
        ("plan", 0, 0), ("copy", files, 0), ("copy", 1, 0), ("verify", 0, 0), ("finish", 0, 0), ("finish", 1, 0),
        ("rollback", 1, 0),
    ]  # fmt: skip
    assert checked.is_whole and checked.storage.startswith("s3://")
    proof = [e.report for e in events if isinstance(e, Moved)][3]
    assert proof.verified == proof.read_back == proof.seen == files + 1


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ConfigurationError, match="not empty"):
        next(story(tmp_path, "disk", Silent()))
    assert (tmp_path / "precious").exists()


def test_a_demo_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    with prepared(tmp_path / "demo"):
        (tmp_path / "demo/state").mkdir()
        with pytest.raises(ConfigurationError, match="A demo is running in"), prepared(tmp_path / "demo"):
            pass
        assert (tmp_path / "demo/state").exists()
    with prepared(tmp_path / "demo"):
        assert not (tmp_path / "demo/state").exists()
