"""`check` and `repair` on Azure, against a real blob server."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from azurite import ContainerMedia, container
from broken import record
from conftest import MakeInstance, opened

from mastomend.commands.check import check
from mastomend.commands.orphans import orphans
from mastomend.commands.orphans_report import OrphansOptions, OrphansReport
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.commands.usage import count_usage
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS

_numbers = itertools.count()


def test_check_and_repair_on_azure(make_instance: MakeInstance, network: Fediverse, azure: str) -> None:
    instance = make_instance("4.5")
    settings = container(azure, f"media{next(_numbers)}")
    media = instance.media = ContainerMedia(settings)
    ours = opened(instance)
    ours = replace(ours, configuration=replace(ours.configuration, storage=settings))
    origin = network.add("s.example")
    keys: list[str] = []
    for n, kind in enumerate((AVATARS, HEADERS, EMOJIS)):
        data = picture(n, 300, 200, "png")
        keys += record(instance, kind, data, origin=origin, name=f"{n}").keys
    assert check(ours).broken == 0
    media.delete(keys[0])
    media.write(keys[1], b"half")
    media.write(keys[2], b"")
    moved = instance.files[keys[0]]
    report = check(ours)
    found = {k.kind: {s.value: n for s, n in k.states.items() if n} for k in report.kinds if k.records_broken}
    assert found == {
        "accounts/avatars": {"missing": 1}, "accounts/headers": {"truncated": 1}, "custom_emojis/images": {"empty": 1}
    }  # fmt: skip
    media.write(keys[0].removeprefix("cache/"), moved)
    mended = repair(ours, RepairOptions(apply=True, max_missing_percent=100))
    assert (mended.outcomes, mended.sources) == ({"restored": 3}, {"elsewhere": 1, "origin": 2})
    assert check(ours).broken == 0
    assert all(media.read(key) == instance.files[key] for key in keys[:3])
    assert media.content_type(keys[1]) == "image/png"
    taken = undo(ours, mended.run, apply=True)
    assert (taken.reverted, taken.conflicts) == (3, 0)
    assert media.read(keys[1]) == b"half" and media.read(keys[0]) is None


def test_orphans_and_usage_on_azure(make_instance: MakeInstance, azure: str) -> None:
    """Set aside and brought back with the type they had; what the store does not tell is said."""
    instance = make_instance("4.5")
    settings = container(azure, f"media{next(_numbers)}")
    media = instance.media = ContainerMedia(settings)
    here = opened(instance)
    here = replace(here, configuration=replace(here.configuration, storage=settings))
    expected = record(instance, AVATARS, picture(1), domain="a.example", name="u").key
    strays = {
        "accounts/headers/000/000/001/original/a.png": b"a" * 10,
        "cache/custom_emojis/images/000/000/002/original/b.png": b"b",
    }
    for key, data in {**strays, "favicon.ico": b"f", "other/x": b"o"}.items():
        media.write(key, data)
    before = {key: media.read(key) for key in media.keys()}
    found = count_usage(here)
    assert found.total.bytes == sum(len(data or b"") for data in before.values())
    assert found.untold == ["old versions of objects", "unfinished multipart uploads"]

    def later(seconds: int, *, apply: bool) -> OrphansReport:
        options = OrphansOptions(apply=apply, max_percent=100.0)
        return orphans(here, options, now=lambda: datetime.now(UTC) + timedelta(days=2, seconds=seconds))

    assert later(0, apply=False).ready == len(strays), "a count is a sighting, too"
    done = later(2, apply=True)
    assert (done.quarantined, done.left) == (len(strays), []) and media.read(expected) == instance.files[expected]
    assert {key for key in media.keys() if not key.startswith(".mastomend/")} == set(before) - set(strays)
    back = undo(here, done.run, apply=True)
    assert (back.reverted, back.conflicts) == (len(strays), 0)
    assert {key: media.read(key) for key in media.keys() if not key.startswith(".mastomend/")} == before
