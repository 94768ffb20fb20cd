"""The guides, executed: each line of a shell block as it is printed, on a broken instance.

Only the place of Mastodon is another one. What cannot be had here (`sudo`, `systemctl`) is a stand-in that runs the rest of the
line or writes down that it was called; what a guide leaves to the reader (`…`) is filled in.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance
from moving import bucket_variables, shown_here, switch

from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import BucketMedia, SimulatedInstance
from mastomend.demo.services import S3Server
from mastomend.mastodon.kinds import EMOJIS, HEADERS, MEDIA_FILES

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
#: Guides about what this test does not have (an inventory of a bucket, Mastodon's own workers: each tested elsewhere), and
#: those with a test of their own below.
NOT_HERE = {"listing-files.md", "many-machines.md", "docker.md", "from-a-backup.md", "move-to-a-bucket.md"}
STAND_INS = {
    "sudo": 'while [ "${1#-}" != "$1" ]; do shift; [ "$1" = mastodon ] && shift; done\nexec "$@"',
    "systemctl": 'echo "systemctl $*" >> "$CALLED"',
    "rm": 'echo "rm $*" >> "$CALLED"',
    "pip": 'echo "pip $*" >> "$CALLED"',
}


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page, without what indents them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in text.splitlines()) for indent, text in found]


#: Guides about media in a bucket.
BUCKETS = {"s3-and-cdn.md"}


@pytest.fixture
def server(make_instance: MakeInstance, network: Fediverse, request: pytest.FixtureRequest) -> SimulatedInstance:
    """A server as the guides have it: `@user0@art.example` is broken, and others are."""
    callspec = getattr(request.node, "callspec", None)
    in_bucket = callspec is not None and callspec.params.get("name") in BUCKETS
    instance = make_instance("4.5", "s3") if in_bucket else shown_here(make_instance())
    art = network.add("art.example")
    record(instance, origin=art, damage="missing", name="user0")
    record(instance, HEADERS, origin=art, damage="missing", name="user1")
    record(instance, EMOJIS, origin=network.add("example.org"), damage="missing")
    artist = record(instance, origin=art, name="artist").id
    record(instance, MEDIA_FILES, origin=art, damage="missing", account_id=artist, shortcode="x")
    record(instance, damage="missing", name="alice")
    for number in range(8):
        record(instance, origin=art, name=f"sound{number}")
    instance.media.write("accounts/avatars/kept", b"x")
    return instance


def surroundings(server: SimulatedInstance, folder: Path) -> dict[str, str]:
    """The environment of a shell in which a guide is followed."""
    programs = folder / "bin"
    programs.mkdir()
    tool = f'exec {sys.executable} -m mastomend "$@"'
    for name, text in {**STAND_INS, "mastomend": tool}.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return {
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "CALLED": str(folder / "called"),
        "MASTOMEND_ENV": str(server.env),
    }


def lines(block: str, server: SimulatedInstance, folder: Path) -> list[str]:
    """Its commands, for the place where Mastodon is here, and folders of this test."""
    text = block.replace("/home/mastodon/live", str(server.folder)).replace(
        "/etc/systemd/system", str(folder / "units")
    )
    text = text.replace("systemd --apply", f"systemd --apply --user root --folder {folder / 'units'}")
    text = text.replace("systemd            #", "systemd --user root    #")
    text = text.replace("/var/lib/node_exporter/textfile", str(folder / "units")).replace("/opt/mastomend/bin/", "")
    text = text.replace("/usr/local/bin/mastomend --env", "mastomend --env")
    text = text.replace(f"{server.folder}/mastomend.env", str(server.folder / "own.env")).replace(
        "DB_USER=mastomend/", "DB_USER=postgres/"
    )
    text = text.replace("/tmp/mastomend", str(folder / "elsewhere"))
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


GUIDES = sorted(page.name for page in DOCS.glob("*.md") if blocks(page, "sh") and page.name not in NOT_HERE)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_is_followed(name: str, server: SimulatedInstance, tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    environment = surroundings(server, tmp_path)
    ran = 0
    if name in ("undo.md", "upgrade-and-uninstall.md"):  # there was a repair
        subprocess.run(["mastomend", "repair", "--apply", "-q"], env=environment, check=False, timeout=120)
    for block in blocks(DOCS / name, "sh"):
        for line in lines(block, server, tmp_path):
            if line.startswith(("MAILTO=", "PATH=")):
                continue
            if cron := re.fullmatch(r"\d+ [\d*]+ \* \* [\d*] mastodon (.+)", line):
                line = cron[1]  # what cron would run
            done = subprocess.run(
                ["bash", "-c", line], cwd=server.folder, env=environment, capture_output=True, text=True, timeout=120,
                check=False,
            )  # fmt: skip
            # 1 says that something is broken, which it is; anything else is a guide that does not work
            assert done.returncode in (0, 1), (line, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr and "Usage:" not in done.stderr, line
            ran += 1
    assert ran >= 1


def test_the_move_is_followed_to_its_end(server: SimulatedInstance, moto: S3Server, tmp_path: Path) -> None:
    """To a bucket that gives strangers what is public; the admin changes the lines where the guide says so."""
    bucket = BucketMedia(moto, "guide")
    variables = bucket_variables(moto, "guide")
    (named := tmp_path / "b2.env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    disk = server.media
    environment = surroundings(server, tmp_path)
    said: list[str] = []
    for block in blocks(DOCS / "move-to-a-bucket.md", "sh"):
        for line in lines(block.replace("/home/mastodon/b2.env", str(named)), server, tmp_path):
            if line.startswith("systemctl"):
                switch(server, variables, bucket)
            done = subprocess.run(
                ["bash", "-c", line], cwd=server.folder, env=environment, capture_output=True, text=True, timeout=120,
                check=False,
            )  # fmt: skip
            assert done.returncode in (0, 1) and "Traceback" not in done.stderr, (line, done.stdout, done.stderr)
            said.append(done.stdout)
    whole = {key: data for key, data in server.files.items() if disk.read(key) or bucket.read(key)}
    assert len(whole) > 8 and all(bucket.read(key) == data for key, data in whole.items())
    assert any("old files set aside" in one for one in said), said
    assert all(disk.read(key) == data for key, data in whole.items()), "the way back has copied them again"
    assert "systemctl restart mastodon-web" in (tmp_path / "called").read_text()


def test_the_guides_lead_to_what_they_say(server: SimulatedInstance, tmp_path: Path) -> None:
    """One user's picture is back, and nothing else."""
    environment = surroundings(server, tmp_path)
    (block,) = [one for one in blocks(DOCS / "one-user.md", "sh") if "--apply" in one]
    subprocess.run(["bash", "-c", lines(block, server, tmp_path)[-1]], env=environment, check=False, timeout=120)
    done = subprocess.run(
        ["mastomend", "check", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert '"records_broken": 4' in done.stdout.partition('"totals"')[2]


def test_the_roles_of_the_guide_are_enough(server: SimulatedInstance, tmp_path: Path) -> None:
    """The SQL of the guide, word for word: the first makes a role that can check, with the second it can repair."""
    environment = surroundings(server, tmp_path)
    to_check, to_repair = blocks(DOCS / "least-privilege.md", "sql")
    (database,) = re.findall(r"^DB_NAME=(.+)$", server.env.read_text(), re.MULTILINE)
    if server.db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'mastomend'").fetchone():
        server.db.execute("DROP OWNED BY mastomend; DROP ROLE mastomend")
    server.db.execute(to_check.replace("'…'", "'x'").replace("mastodon_production", database))
    own = {**environment, "DB_USER": "mastomend", "DB_PASS": "x"}

    def tool(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["mastomend", *words], env=own, capture_output=True, text=True, check=False, timeout=120)

    done = tool("check")
    assert done.returncode == 1 and "5 records are broken" in done.stdout, done.stderr
    refused = tool("repair", "--apply")
    grant = "GRANT SELECT ON public.domain_blocks, public.statuses TO mastomend;"
    assert refused.returncode == 3 and f"in psql:\n  {grant}\n" in refused.stderr
    printed = [line.strip() for line in refused.stderr.splitlines() if line.startswith("  GRANT")]
    assert printed[0] == grant and printed[1:] == [line for line in to_repair.splitlines() if "UPDATE" in line], (
        "all at once, and what the guide has"
    )
    server.db.execute("\n".join(printed))
    done = tool("repair", "--apply")
    assert "4 of 5 records mended" in done.stdout, done.stdout + done.stderr
    for words in (("show", "latest"), ("undo", "latest"), ("history", "--lost")):
        assert "Without names" not in tool(*words).stderr
    server.db.execute("DROP OWNED BY mastomend; DROP ROLE mastomend")


#: What `docker compose` does with what is said to it here: the tool with the variables of `env_file:`, in a folder where the
#: media are mounted; everything else is written down.
DOCKER = """
echo "docker $*" >> "$CALLED"
[ "$1" = compose ] || exit 0
while [ $# -gt 0 ] && [ "$1" != mastomend ]; do
  case "$1" in build) exit 0;; --entrypoint) exec "$2" "$SERVER/.env.production" > /dev/null;; esac
  shift
done
shift
unset MASTOMEND_ENV
set -a
. "$SERVER/.env.production"
set +a
cd "$HOME/container"
exec "$HOME/bin/mastomend" "$@"
"""


def test_the_policy_of_the_guide_allows_what_its_text_names() -> None:
    page = DOCS / "least-privilege.md"
    (policy,) = blocks(page, "json")
    statements = json.loads(policy)["Statement"]
    allowed = [action for one in statements for action in one["Action"]]
    assert set(re.findall(r"`(s3:\w+)`", page.read_text("utf-8"))) == set(allowed) and len(allowed) == len(set(allowed))
    for one in statements:  # a listing is of the bucket, everything else of its objects
        assert one["Effect"] == "Allow" and one["Resource"].endswith("/*") is ("s3:ListBucket" not in one["Action"])


def test_the_container_is_used_as_the_guide_says(server: SimulatedInstance, tmp_path: Path) -> None:
    """Every line of it, and of cron's, and of the uninstall, word for word."""
    environment = {**surroundings(server, tmp_path), "SERVER": str(server.folder)}
    for name, text in {"docker": DOCKER, "cd": ""}.items():
        (path := tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    (tmp_path / "container").mkdir()
    (tmp_path / "container" / "public").symlink_to(server.folder / "public")
    said: dict[str, str] = {}
    alias = ""
    for block in [*blocks(DOCS / "docker.md", "sh"), *blocks(DOCS / "docker.md", "text")]:
        for line in block.splitlines():
            if line.startswith(("#", "MAILTO=", "PATH=")):
                continue
            if line.startswith("alias "):
                alias = f"shopt -s expand_aliases\n{line}\n"
                continue
            if cron := re.fullmatch(r"\d+ [\d*]+ \* \* [\d*] root cd /opt/mastodon && (.+)", line):
                line = cron[1]  # what cron would run
            done = subprocess.run(
                ["bash", "-c", f"{alias}{line}"], cwd=server.folder, env=environment, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode in (0, 1) and "Traceback" not in done.stderr, (line, done.stdout, done.stderr)
            said[line] = done.stdout
    found = list(said.values())
    assert "5 records are broken" in said["docker compose run --rm --no-deps mastomend check"]
    assert any("4 of 5 records mended" in text for text in found), found
    assert said["docker compose --progress=quiet run --rm --no-deps -T mastomend check --new -q"] == "", (
        "cron would mail it"
    )
    called = (tmp_path / "called").read_text()
    assert "docker image rm mastomend" in called and "docker volume rm mastodon_mastomend" in called


def test_exit_4_and_what_the_guide_says_then(server: SimulatedInstance, tmp_path: Path) -> None:
    environment = surroundings(server, tmp_path)
    shutil.rmtree(server.folder / "public" / "system")
    (server.folder / "public" / "system").mkdir()
    stopped = subprocess.run(
        ["mastomend", "repair", "--apply"], env=environment, capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 4, stopped
    (block,) = blocks(DOCS / "exit-4.md", "sh")
    for line in lines(block, server, tmp_path):
        done = subprocess.run(
            ["bash", "-c", line], cwd=server.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, (line, done.stdout, done.stderr)
    assert "records mended" in done.stdout and sum(server.media.read(key) is not None for key in server.files) > 8


def test_what_prometheus_and_systemd_are_told(server: SimulatedInstance, tmp_path: Path) -> None:
    """The numbers an alarm asks for are written; the lines for the unit run as they are."""
    environment = surroundings(server, tmp_path)
    (tmp_path / "units").mkdir()
    page = DOCS / "nightly-check.md"
    for block in blocks(page, "ini"):
        settings = configparser.RawConfigParser(strict=False)
        settings.read_string(block)
        assert set(settings.sections()) <= {"Unit", "Service"}
        (line,) = [one for one in lines(block, server, tmp_path) if one.startswith("ExecStart=m")] or [""]
        command = line.removeprefix("ExecStart=")
        if command:
            done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "newly broken" in done.stdout, (done.stdout, done.stderr)
    subprocess.run(
        ["mastomend", "repair", "--apply", "--textfile", str(tmp_path / "units")], env=environment, check=False
    )
    written = "".join(path.read_text() for path in (tmp_path / "units").glob("*.prom"))
    asked = {name for block in blocks(page, "yaml") for name in re.findall(r"\bmastomend_\w+", block)}
    assert asked and {name for name in asked if f"\n{name}{{" not in written} == set()


def test_the_container_files_are_those_of_the_guide() -> None:
    guide, folder = DOCS / "docker.md", DOCS.parents[1] / "deploy" / "container"
    assert blocks(guide, "dockerfile") == [(folder / "Containerfile").read_text().rstrip("\n")]
    assert blocks(guide, "yaml") == [(folder / "docker-compose.override.yml").read_text().rstrip("\n")]
