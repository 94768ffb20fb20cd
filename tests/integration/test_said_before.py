"""What would stop a command in the end is said before it looks at everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance
from tool import run

from mastomend.demo.fediverse import Fediverse


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("usage", "--html", "/tmp"), "is a directory"),
        (("usage", "--html", "/proc/x.html"), "cannot be written"),
        (("usage", "--html", "/nowhere/x.html"), "is no directory"),
        (("check", "--textfile", "/proc"), "Nothing can be written into /proc"),
        (("repair", "--apply", "--textfile", "/nowhere"), "is no directory"),
        (("prune", "--attachments", "30d", "--access-log", "/nowhere.log"), "cannot be read"),
    ],
)
def test_arguments_that_cannot_be_used(make_instance: MakeInstance, words: tuple[str, ...], said: str) -> None:
    instance = make_instance()
    record(instance, name="alice")
    done = run(instance.env, *words, "-v")
    assert done.returncode == 2 and said in done.stderr and not done.stdout
    assert "accounts: rows" not in done.stderr and not list(instance.state.glob("scans/*")), "nothing was looked at"


@pytest.mark.parametrize("apply", [(), ("--apply",)])
def test_a_redis_that_does_not_answer(make_instance: MakeInstance, network: Fediverse, apply: tuple[str, ...]) -> None:
    """A repair goes on without it; whoever runs it knows before."""
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u", damage="missing")
    done = run(instance.env, "repair", *apply, "--max-missing", "100%", "-v")
    said, looked = done.stderr.find("Redis cannot be reached"), done.stderr.find("accounts: rows")
    assert 0 <= said < looked, done.stderr


def test_what_was_done_is_told_though_the_textfile_cannot_be_written(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk may be full by then."""
    import json

    from mastomend.cli import textfile
    from mastomend.cli.app import run as cli

    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u", damage="missing")
    folder = instance.folder / "textfile"
    folder.mkdir()

    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(textfile, "replace_text", full)
    words = [
        "--env",
        str(instance.env),
        "--state",
        str(instance.state),
        "--max-missing",
        "100%",
        "--textfile",
        str(folder),
    ]
    for command in (["repair", "--apply"], ["check"]):
        code = cli([*command, *words, "--json"])
        told = capsys.readouterr()
        answer = json.loads(told.out)
        assert code == answer["exit_code"] == 1 and answer["command"] == command[0]
        assert "cannot be written: No space left on device" in told.err
    assert answer["totals"]["records_broken"] == 0
