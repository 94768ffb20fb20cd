"""`check` is exact: on every schema, on disk and in a bucket, with every kind, not one finding too many or too few."""

from __future__ import annotations

import random

import duckdb
import pytest
from conftest import MakeInstance, opened
from population import populate

from mastomend.commands.check import CheckOptions, check
from mastomend.demo.instance import VERSIONS
from mastomend.inventory import expected, held
from mastomend.inventory.findings import load


@pytest.mark.parametrize("storage", ["disk", "s3"])
@pytest.mark.parametrize("version", VERSIONS)
def test_check_is_exact(make_instance: MakeInstance, version: str, storage: str) -> None:
    instance = make_instance(version, storage, **({"key_prefix": "some/prefix"} if storage == "s3" else {}))
    populate(instance)
    sound = check(opened(instance))
    assert list(load(sound.findings)) == []
    assert sound.broken == 0
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
    records = duckdb.sql(f"SELECT count(DISTINCT (kind, id)) FROM '{report.findings}'").fetchall()[0][0]
    assert report.broken == records
    local = duckdb.sql(f"SELECT count(DISTINCT (kind, id)) FROM '{report.findings}' WHERE is_local").fetchall()[0][0]
    assert sum(k.records_broken_local for k in report.kinds) == local


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
