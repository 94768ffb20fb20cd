"""`check` is exact: on every schema, on disk and in a bucket, with every kind, not one finding too many or too few."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from broken import table
from conftest import MakeInstance, opened
from population import populate
from tool import called

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.instance import VERSIONS, SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.inventory import expected, held
from mastomend.inventory.findings import load
from mastomend.mastodon.kinds import AVATARS
from mastomend.outcomes import Outcome
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.ports import MISSING, UNREADABLE


@pytest.mark.parametrize("storage", ["disk", "s3"])
@pytest.mark.parametrize("version", VERSIONS)
def test_check_is_exact(make_instance: MakeInstance, version: str, storage: str) -> None:
    prefixed = {"key_prefix": "some/prefix"} if storage == "s3" and version != "4.2" else {}
    instance = make_instance(version, storage, **prefixed)
    populate(instance)
    sound = check(opened(instance))
    assert list(load(sound.findings)) == []
    assert sound.broken == 0
    assert (sound.version.name, sound.version.note) == (version, ""), "the schema is the one that was meant"
    assert sum(k.expected for k in sound.kinds) == len(instance.files)
    assert {k.kind for k in sound.kinds if k.expected} == {k.kind for k in sound.kinds}
    assert ("imports/data" in {k.kind for k in sound.kinds}) == (version in ("4.2", "4.3"))

    chance = random.Random(version)
    damage = {}
    for key in sorted(instance.files):
        what = chance.choice(["fine", "missing", "empty", "truncated", "grown"])
        if what in ("truncated", "grown") and "/original/" not in key:
            continue  # sizes of derived styles are stored nowhere
        if what == "missing":
            instance.media.delete(key)
        elif what == "empty":
            instance.media.write(key, b"")
        elif what == "truncated":
            instance.media.write(key, instance.files[key][:-1])
        elif what == "grown":
            instance.media.write(key, instance.files[key] + b"x")
        else:
            continue
        damage[key] = "truncated" if what == "grown" else what
    report = check(opened(instance))
    found = {finding.key: finding.state.value for finding in load(report.findings)}
    assert found == damage
    for state in ("missing", "empty", "truncated"):
        counted = sum(k.states[s] for k in report.kinds for s in k.states if s == state)
        assert counted == sum(1 for s in damage.values() if s == state)
    counted_sql = f"SELECT count(DISTINCT (kind, id)) AS n FROM '{report.findings}'"
    assert report.broken == table(counted_sql)[0]["n"]
    assert sum(k.records_broken_local for k in report.kinds) == table(f"{counted_sql} WHERE is_local")[0]["n"]


def test_a_bucket_listed_in_ranges_is_the_same_bucket(
    make_instance: MakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance("4.5", "s3", key_prefix="some/prefix")
    populate(instance)
    monkeypatch.setattr(held, "RANGE", 1)
    monkeypatch.setattr(expected, "_SAMPLE", 1)
    whole = check(opened(instance), CheckOptions(list_concurrency=1))
    parts = check(opened(instance), CheckOptions(list_concurrency=8))
    assert (whole.broken, parts.broken) == (0, 0)
    assert parts.requests.list > 2 * whole.requests.list, "it was listed in parts"
    lost = sorted(instance.files)[::7]
    for key in lost:
        instance.media.delete(key)
    report = check(opened(instance), CheckOptions(list_concurrency=8))
    assert sorted(finding.key for finding in load(report.findings)) == lost


def test_files_behind_a_directory_that_cannot_be_entered_are_findings_that_name_it(make_instance: MakeInstance) -> None:
    """A link that leads to itself is in the way of root, too."""
    instance = make_instance()
    keys = [
        key
        for n in range(3)
        for key in instance.add_image(AVATARS, picture(n), domain="a.example", username=f"u{n}", uri=f"x:{n}")[1]
    ]
    root = instance.folder / "public/system"
    folder = root / "cache/accounts/avatars"
    folder.rename(root / "elsewhere")
    folder.symlink_to(folder)
    report = check(opened(instance))
    assert {finding.key: finding.state.value for finding in load(report.findings)} == dict.fromkeys(keys, "unservable")
    assert report.obstacles == [(f"{folder} cannot be read: Too many levels of symbolic links", 3)]
    shown = command(instance, "check")
    assert "Nothing else is broken; 3 could not be looked at." in shown.stdout
    assert shown.returncode == 1, "what was not seen is not whole"
    assert "Too many levels" in shown.stdout
    document = json.loads(command(instance, "check", "--json").stdout)
    assert document["obstacles"][0]["files"] == 3
    assert (document["unseen"], document["totals"]["records_broken"], document["exit_code"]) == (3, 0, 1)
    assert document["totals"]["files"]["present"] == 0, "neither broken nor present"
    kept = repair(opened(instance), RepairOptions(apply=True))
    assert kept.outcomes == {Outcome.REFUSED: 3}
    folder.unlink()
    (root / "elsewhere").rename(folder)
    assert check(opened(instance)).obstacles == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not enter")
def test_the_obstacle_is_the_first_directory_that_may_not_be_entered(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/c/file").write_bytes(b"x")
    (tmp_path / "a/b").chmod(0o700)
    store = FilesystemStore(str(tmp_path), 1)
    os.seteuid(65534)
    try:
        assert store.sizes(["a/b/c/file", "a/none"]) == [UNREADABLE, MISSING]
        assert store.obstacle("a/b/c/file").startswith(f"{tmp_path}/a/b may not be entered by this user")
    finally:
        os.seteuid(0)


def command(instance: SimulatedInstance, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["--env", str(instance.env), "--state", str(instance.state), *arguments]
    return called(words, {**os.environ, "COLUMNS": "400"})


def test_some_kinds_only(make_instance: MakeInstance) -> None:
    instance = make_instance()
    populate(instance)
    report = check(opened(instance), CheckOptions(kinds=("accounts", "custom_emojis/images")))
    assert {k.kind for k in report.kinds if k.expected} == {
        "accounts/avatars",
        "accounts/headers",
        "custom_emojis/images",
    }


def test_an_unsafe_file_name_is_a_finding_and_never_a_path(make_instance: MakeInstance) -> None:
    instance = make_instance()
    (instance.folder / "public" / "system" / "secret").write_bytes(b"x" * 5)
    new = instance.insert(
        "accounts",
        username="evil",
        domain="evil.example",
        avatar_file_name="../../../../../../../secret",
        avatar_content_type="image/png",
        avatar_file_size=5,
    )
    (finding,) = load(check(opened(instance)).findings)
    assert (finding.id, finding.key, finding.state.value) == (new, "", "missing")
    assert "would leave its directory" in finding.detail
