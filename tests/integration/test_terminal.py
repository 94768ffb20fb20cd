"""What people see on a real terminal, drawn by a terminal emulator (issue 10, G41 and G42)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from broken import record
from conftest import MakeInstance
from terminal import on_terminal

from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance


def test_g41_the_demo_shows_its_results(tmp_path: Path) -> None:
    seen = on_terminal(["demo", "--folder", str(tmp_path / "demo")], 80, 24, tmp_path)
    text = seen.text
    assert seen.code == 0, text
    joined = re.sub(r"\s+", " ", text)
    for words in ("A small server", "Life is good", "The disk is full", "records are broken.", "mended", "Fair to others",
                  "Done in", "accounts/avatars", "outcome", "restored"):  # fmt: skip
        assert words in joined, words
    assert "━" not in text, "no finished bar is left"
    order = [
        joined.index(words)
        for words in ("A small server", "records are broken.", "mended", "Fair to others", "Done in")
    ]
    assert order == sorted(order)
    (broken, left) = (int(number) for number in re.findall(r"(\d+) records are broken", joined))
    (mended, tried) = (int(number) for number in re.findall(r"(\d+) of (\d+) records mended", joined)[0])
    assert broken == tried > 100 and left == tried - mended
    assert re.search(
        r"Tried before, last on [-\d: ]+: \d+ gone at their origin, \d+ refused; 0 new: nothing to do", joined
    )
    *_, named = re.findall(r"Most come from: (.*?) What it is", joined)
    assert set(re.findall(r"[\w.]+(?= \()", named)) == {
        "gone.example",
        "moved.example",
        "parked.example",
        "tricky.example",
    }
    assert (tmp_path / "demo" / ".env.production").is_file()


def broken_instance(make_instance: MakeInstance, network: Fediverse) -> SimulatedInstance:
    """A lost local file, one gone at its origin, one that can be had again."""
    instance = make_instance()
    origin = network.add("good.example")
    record(instance, origin=origin, damage="missing")
    gone = record(instance, origin=origin, name="gone", damage="missing")
    del origin.files["/gone"]
    record(instance, damage="missing")
    for folder in ("accounts/avatars", "cache/accounts/avatars"):
        instance.media.write(f"{folder}/kept", b"x")
    assert gone.id
    return instance


def test_g42_next_leads_somewhere(make_instance: MakeInstance, network: Fediverse) -> None:
    """Each command that is printed is run as it is printed, in a shell, until there is nothing to do."""
    instance = broken_instance(make_instance, network)
    base = ["--env", str(instance.env), "--state", str(instance.state)]
    line = shlex.join([sys.executable, "-m", "mastomend", *base, "check"])
    ran = []
    for _ in range(6):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in (0, 1), done.stderr
        words = shlex.split(line)
        ran.append(" ".join(words[words.index("--state") + 2 :]))
        found = re.search(r"^(?:Nothing was changed\. )?Next: (.+)$", done.stdout, re.MULTILINE)
        line = found[1] if found else ""
        if not found and "repair --apply" in ran[-1]:
            line = shlex.join([sys.executable, "-m", "mastomend", *base, "check"])
        if not line:
            break
        line = line.replace("mastomend --env", f"{shlex.quote(sys.executable)} -m mastomend --env", 1) if (
            line.startswith("mastomend ")
        ) else line  # fmt: skip
    assert ran == ["check", "repair", "repair --apply", "check"]
    assert re.search(r"Tried before, last on .*: 1 gone at their origin, 1 lost; 0 new: nothing to do\.", done.stdout)


def test_g42_next_never_leads_to_a_stop(make_instance: MakeInstance, network: Fediverse) -> None:
    import shutil

    instance = make_instance()
    origin = network.add("good.example")
    for _ in range(3):
        record(instance, origin=origin)
    shutil.rmtree(instance.folder / "public/system/cache")
    (instance.folder / "public/system/x").write_bytes(b"x")
    base = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    dry = subprocess.run([*base, "repair"], capture_output=True, text=True, timeout=60, check=False)
    assert "Next:" not in dry.stdout and "mounted" in dry.stdout
    line = dry.stdout.strip().splitlines()[-1].strip()
    assert line.endswith("repair --apply --max-missing 100%")
    words = shlex.split(line)
    done = subprocess.run(
        [*base, *words[words.index("repair") :]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_deferred_record_is_not_sent_round_in_circles(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nbackoff_s = 0.01\ntries = 1\n")
    origin = network.add("down.example")
    record(instance, origin=origin, name="a", damage="missing")
    origin.statuses["/a"] = 500
    instance.media.write("cache/accounts/avatars/kept", b"x")
    base = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    done = subprocess.run([*base, "repair", "--apply"], capture_output=True, text=True, timeout=60, check=False)
    assert "when they are due:\n" in done.stdout and "run the same command again" not in done.stdout
    done = subprocess.run([*base, "check"], capture_output=True, text=True, timeout=60, check=False)
    assert "1 to be tried again; 0 new." in done.stdout and "are due from" in done.stdout and "Next:" not in done.stdout
