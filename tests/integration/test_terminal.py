"""What people see on a real terminal, drawn by a terminal emulator (issue 10, G41 and G42)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte
import pytest
from broken import record
from conftest import MakeInstance

from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance


def on_terminal(words: list[str], columns: int, lines: int, cwd: Path, seconds: float = 300) -> tuple[int, list[str]]:
    """Run the tool on a terminal of that size; its exit code and everything that stayed on the screen or above it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
    process = subprocess.Popen(
        [sys.executable, "-m", "mastomend", *words], stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment
    )
    os.close(slave)
    screen = pyte.HistoryScreen(columns, lines, history=10_000)
    stream = pyte.ByteStream(screen)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
    os.close(master)
    code = process.wait(timeout=30)
    above = ["".join(line[x].data for x in range(columns)).rstrip() for line in screen.history.top]
    return code, [*above, *(line.rstrip() for line in screen.display)]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_g41_the_demo_shows_its_results(tmp_path: Path, columns: int, lines: int) -> None:
    code, shown = on_terminal(["demo", "--folder", str(tmp_path / "demo")], columns, lines, tmp_path)
    text = "\n".join(shown)
    assert code == 0, text
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
    assert "Tried before: 1 gone at their origin, 1 lost; 0 new: nothing to do." in done.stdout


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
