"""Every screen as people see it, at 80×24, 120×40 and 40 columns, kept as golden files.

What differs from run to run (ids, times, durations, the folder's name) is written the same way every time, without changing its
length. `MASTOMEND_SCREENS=write` writes the files anew: look at what changed before you commit it.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from broken import record
from conftest import MakeInstance
from terminal import Seen, on_terminal

from mastomend.demo.fediverse import Fediverse, Origin
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, Kind

GOLDEN = Path(__file__).parents[1] / "golden" / "screens"
SIZES = {"80": (80, 24), "120": (120, 40), "40": (40, 24)}
#: Colours of a terminal's own palette that are readable on dark and on light.
COLOURS = {"default", "red", "green", "brown", "cyan"}
#: What differs, and how it is written; a line's end may stand between any two characters of it, where the terminal breaks it.
VARYING = (
    (r"\d{8}T\d{6}Z-[0-9a-f]{4}", "20260101T000000Z-0000"),
    (r"\d{8}T\d{6}Z", "20260101T000000Z"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-01-01 00:00"),
    (r"\d{4}-\d\d-\d\d", "2026-01-01"),
)
OTHERS = (
    (r"\(\d+\.\d([ \n])s\)", r"(0.0\1s)"),
    (r"127\.0\.0\.\d+:\d+", "127.0.0.1:80"),
    (r"(system\s+)belongs([ \n]+)to([ \n]+)\w+", r"\1belongs\2to\3mastodon"),
    (r"takes([ \n])about([ \n])\d+([ \n])s", r"takes\1about\g<2>1\3s"),
    (r"ffmpeg: \S+", "ffmpeg: /usr/bin/ffmpeg"),
)


def alike(text: str, folder: str) -> str:
    """The text as it would be in every run. An id may be cut by the edge of the screen, which is where no rule is needed."""
    named = folder[: -len("XXXXXXXX")] + "XXXXXXXX"
    for pattern, instead in ((re.escape(folder), named), *VARYING):
        text = re.sub(_broken(pattern), partial(_written_as, instead), text)
    for pattern, instead in OTHERS:
        text = re.sub(pattern, instead, text)
    return text


def _broken(pattern: str) -> str:
    """The pattern, with a line's end between any two characters, or in place of a space."""
    single = re.sub(r"(\\.|\[[^]]*\])\{(\d+)\}", lambda found: found[1] * int(found[2]), pattern)
    parts = re.findall(r"\\.|\[[^]]*\]|.", single)
    return r"\n?".join("[ \\n]" if part == " " else part for part in parts)


def _written_as(instead: str, found: re.Match[str]) -> str:
    left = iter(instead.replace(" ", ""))
    return "".join(one if one in " \n" else next(left) for one in found[0])


@pytest.fixture
def home(make_instance: MakeInstance, network: Fediverse) -> Iterator[Path]:
    """Where the settings of a broken instance lie, under a name whose length never changes."""
    instance: SimulatedInstance = make_instance()
    good, gone = network.add("good.example"), network.add("gone.example")
    numbers = itertools.count(101)

    def make(kind: Kind, name: str, origin: Origin | None, damage: str | None = None, **columns: Any) -> int:
        number = next(numbers)
        record_id = 109_000_000_000_000_000 + number
        made = record(
            instance, kind, picture(number), origin=origin, damage=damage, name=name, record_id=record_id, **columns
        )
        return made.id

    make(EMOJIS, "blob", good, "missing")
    artist = make(HEADERS, "artist", good, "missing")
    make(MEDIA_FILES, "picture", good, "truncated", account_id=artist, shortcode="x")
    make(AVATARS, "gone0", gone, "missing")
    make(AVATARS, "gone1", gone, "missing")
    gone.files.clear()
    make(AVATARS, "alice", None, "missing")
    for number in range(12):
        make(AVATARS, f"sound{number}", good)
    instance.media.write("accounts/avatars/kept", b"x")
    for name, moments in (
        ("accounts", "avatar"),
        ("accounts", "header"),
        ("media_attachments", "file"),
        ("custom_emojis", "image"),
    ):
        instance.db.execute(
            f"UPDATE {name} SET created_at = now() - interval '40 days', updated_at = now() - interval '40 days', "
            f"{moments}_updated_at = now() - interval '40 days'"
        )  # ages are the same whenever this runs
    place = Path(tempfile.mkdtemp(prefix="mm-screens-", dir="/tmp"))
    place.rmdir()
    place.symlink_to(instance.folder)
    (instance.folder / "bin").mkdir()
    (instance.folder / "bin" / "mastomend").symlink_to(Path(sys.executable).with_name("mastomend"))
    text = instance.env.read_text(encoding="utf-8").replace(str(instance.folder), str(place))
    instance.env.write_text(text + f"PAPERCLIP_ROOT_PATH={place}/public/system\n", encoding="utf-8")
    yield place
    place.unlink()


def compare(name: str, seen: Seen, folder: Path) -> None:
    """With the golden file, or write it."""
    path, text = GOLDEN / f"{name}.txt", alike(seen.text, str(folder)) + f"[exit code {seen.code}]\n"
    if name.startswith("undo-dry"):  # newest first, and several were mended at once
        text = "\n".join(sorted(text.splitlines())) + "\n"
    assert seen.code in (0, 1, 2) and "Traceback" not in text
    if os.environ.get("MASTOMEND_SCREENS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path}: MASTOMEND_SCREENS=write pytest {__file__} writes it anew"
    assert seen.colours <= COLOURS, seen.colours


LIMIT = ("--max-missing", "100%")
Look = Callable[..., Seen]


@pytest.fixture(params=list(SIZES))
def look(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Look:
    """Looks at a command's screen in one size, and compares it, if it has a name."""
    size = request.param
    columns, lines = SIZES[size]

    def look(name: str, *words: str, **variables: str) -> Seen:
        path = f"{home}/bin:{os.environ['PATH']}"  # so that its name is as long wherever it is
        state = {"XDG_STATE_HOME": str(tmp_path / "s"), "TZ": "UTC", "PATH": path, **variables}
        seen = on_terminal(list(words), columns, lines, home, variables=state)
        if not name:
            return seen
        compare(f"{name}-{size}", seen, home)
        assert all(len(line) <= columns for line in seen.lines)
        return seen

    return look


def test_screens_of_a_repair(look: Look) -> None:
    look("history-nothing", "history")
    look("check", "check", *LIMIT)
    look("show-scan", "show")
    look("show-scan-by", "show", "--by", "domain,outcome")
    plain = look("show-scan-plain", "show", NO_COLOR="1")
    assert plain.colours == {"default"}
    look("repair-dry", "repair", *LIMIT)
    mended = look("repair", "repair", "--apply", *LIMIT)
    (repaired,) = {word for word in mended.text.split() if re.fullmatch(r"\d{8}T\d{6}Z-\w+", word)}
    look("check-after", "check", *LIMIT)
    look("check-new", "check", "--new", *LIMIT)
    look("repair-again", "repair", *LIMIT)
    look("show-run", "show", repaired, "--outcome", "gone", "--outcome", "lost")
    look("show-run-by", "show", repaired, "--by", "outcome,reason")
    look("history", "history")
    look("history-run", "history", "latest")
    look("history-lost", "history", "--lost")
    look("undo-dry", "undo", "latest")
    look("undo", "undo", "latest", "--apply")
    look("cleanup-dry", "cleanup", "--older-than", "0d")


def test_screens_of_what_is_kept(home: Path, look: Look) -> None:
    look("", "repair", "--apply", *LIMIT)
    look("", "undo", "latest", "--apply")
    stray = home / "public/system/accounts/headers/000/000/007/original/gone.png"
    for path in (stray, home / "public/system/favicon.ico"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2_000)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    look("usage", "usage", "--price", "b2")
    look("prune", "prune", "--avatars", "30d", *LIMIT)
    look("prune-budget", "prune", "--budget", "2KB", *LIMIT)
    look("guard", "guard", "--disk", "40%", *LIMIT)
    look("prune-posts", "prune", "--statuses", "90d")
    look("orphans-first", "orphans", "--min-age", "1h", *LIMIT)
    look("orphans-second", "orphans", "--min-age", "1h", *LIMIT)
    look("orphans", "orphans", "--min-age", "1h", "--apply", *LIMIT)
    (home / "target").mkdir()
    (home / ".env.production").chmod(0o640)
    text = (home / ".env.production").read_text(encoding="utf-8")
    (home / ".env.production").write_text(f"{text}PAPERCLIP_ROOT_URL=http://127.0.0.1:9/system\n", encoding="utf-8")
    (home / "b2.env").write_text(
        "S3_ENABLED=true\nS3_BUCKET=my-media\nS3_ENDPOINT=http://127.0.0.1:9\nS3_ALIAS_HOST=files.example.social\n"
        "AWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY=never-shown\n"
    )
    look("migrate-plan", "migrate", "plan", "--to", str(home / "target"), "--write-test", *LIMIT)
    look("migrate-copy", "migrate", "copy", "--to", str(home / "target"), "--apply", *LIMIT)
    look("migrate-verify", "migrate", "verify", "--to", str(home / "target"))
    look("migrate-finish", "migrate", "finish", "--to", str(home / "target"))
    look("migrate-rollback", "migrate", "rollback", "--to", str(home / "target"))
    look("check-public", "check", "--public", *LIMIT)
    look("doctor", "--env", str(home / ".env.production"), "--state", str(home / "st"), "doctor")
    look("error-kind", "check", "avatar")
    look("error-undo", "undo", "2001")
    look("systemd", "--env", str(home / ".env.production"), "--state", str(home / "st"), "systemd", "--user", "root")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "check",
        "show",
        "repair",
        "usage",
        "orphans",
        "prune",
        "guard",
        "doctor",
        "migrate",
        "history",
        "undo",
        "cleanup",
        "systemd",
        "demo",
    ],
)
def test_help_screens(command: str, tmp_path: Path) -> None:
    for size, (columns, lines) in SIZES.items():
        seen = on_terminal([*([command] if command else []), "--help"], columns, lines, tmp_path)
        compare(f"help{f'-{command}' if command else ''}-{size}", seen, tmp_path)


def test_no_golden_file_is_left_over() -> None:
    """Each is one of a screen that is looked at."""
    source = Path(__file__).read_text(encoding="utf-8")
    for path in GOLDEN.glob("*.txt"):
        name = path.stem.rpartition("-")[0]
        assert f'look("{name}"' in source or name.partition("-")[0] == "help", path.name
