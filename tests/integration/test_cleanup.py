"""`cleanup`: what is old goes, once and for good; what a run may still need, and what is not understood, stays."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened

from mastomend.actions.journal import Journal
from mastomend.cli.app import run as cli
from mastomend.commands.check import check
from mastomend.commands.cleanup import cleanup
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.settings import parse_age
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError
from mastomend.mastodon.kinds import AVATARS

NOW, MONTH = timedelta(0), timedelta(days=30)
APPLY = RepairOptions(apply=True, max_missing_percent=100)


def refreshed(instance: SimulatedInstance, network: Fediverse) -> str:
    """A repair that gave an avatar a new name and put its two old files aside; the run."""
    origin = network.add("good.example")
    made = record(instance, AVATARS, picture(1, form="gif"), origin=origin, name="a")
    instance.media.write(made.key, b"cut off")
    origin.files["/a"] = picture(2)
    instance.media.write("cache/accounts/avatars/kept", b"x")
    return repair(opened(instance), APPLY).run


def quarantined(instance: SimulatedInstance) -> set[str]:
    return {key for key in instance.media.keys() if ".mastomend/quarantine/" in key}


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_what_is_old_is_purged_and_the_dry_run_says_so_beforehand(
    make_instance: MakeInstance, network: Fediverse, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    run = refreshed(instance, network)
    check(opened(instance))
    aside = quarantined(instance)
    assert len(aside) == 2
    sizes = sum(len(instance.media.read(key) or b"") for key in aside)
    young = cleanup(opened(instance), MONTH, apply=True)
    assert (young.files, young.scans, young.runs, young.kept.files) == (0, 0, 0, 2)
    foreseen = cleanup(opened(instance), NOW, apply=False)
    assert quarantined(instance) == aside and (instance.state / "runs" / run).exists(), "nothing was done"
    done = cleanup(opened(instance), NOW, apply=True)
    for report in (foreseen, done):
        assert (report.files, report.bytes, report.kept.files, report.left) == (2, sizes, 0, [])
        assert report.scans == 2 and report.runs >= 1
    assert quarantined(instance) == set()
    assert not (instance.state / "runs" / run).exists() and not list((instance.state / "scans").iterdir())
    assert check(opened(instance)).broken == 0
    back = undo(opened(instance), run, apply=True)
    assert (back.reverted, back.conflicts) == (0, 1) and "no longer in the quarantine" in back.details[0]
    final = undo(opened(instance), done.run, apply=False)
    assert (final.reverted, final.conflicts, final.irreversible) == (0, 0, 2)


def test_what_may_still_be_needed_stays(make_instance: MakeInstance, network: Fediverse) -> None:
    """A run that was cut off, and files of a run this journal does not know; a scan that is under way."""
    instance = make_instance()
    run = refreshed(instance, network)
    with contextlib.closing(Journal(instance.state)) as journal:
        journal.commit(("UPDATE runs SET finished_at = NULL WHERE id = ?", (run,)))
    instance.media.write(".mastomend/quarantine/20200101T000000Z-aaaa/x", b"of another state directory")
    instance.media.write(".mastomend/quarantine/x", b"not one of ours")
    other = instance.state / "runs" / "notes"
    other.mkdir(parents=True)
    before = quarantined(instance)
    report = cleanup(opened(instance), NOW, apply=True)
    assert quarantined(instance) == before and other.exists()
    assert (report.files, report.kept.files, report.kept.unknown) == (0, 2, 2)


def test_one_file_that_cannot_go_is_said_and_the_others_go(
    make_instance: MakeInstance, network: Fediverse, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = make_instance()
    refreshed(instance, network)
    stuck, other = sorted(quarantined(instance))
    path = instance.folder / "public/system" / stuck
    data = path.read_bytes()
    really = Path.unlink

    def refusing(this: Path, missing_ok: bool = False) -> None:
        if this == path:
            raise PermissionError(1, "Operation not permitted")
        really(this, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", refusing)
        words = ["--env", str(instance.env), "--state", str(instance.state), "cleanup", "--older-than", "0d", "--apply"]
        assert cli([*words, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["quarantine"]["files"] == 1 and len(told["left"]) == 1 and "not permitted" in told["left"][0]
    assert (quarantined(instance), path.read_bytes()) == ({stuck}, data)
    assert other not in quarantined(instance)
    assert cli(words) == 0
    assert "1 file" in capsys.readouterr().out and not quarantined(instance)


def test_ages() -> None:
    assert [parse_age(text, "x") for text in ("30d", "12h", " 2W ")] == [MONTH, timedelta(hours=12), timedelta(weeks=2)]
    assert [parse_age(text, "x") for text in ("30 days", "1day", "2y")] == [MONTH, MONTH / 30, timedelta(days=730)]
    for wrong in ("", "d", "30", "-1d", "1.5d", "30m", "999999d", "3000y"):
        with pytest.raises(ConfigurationError, match="30d"):
            parse_age(wrong, "--older-than")
