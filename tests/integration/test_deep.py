"""`check --deep`: files of the right size that do not decode, sampled by a seeded choice."""

from __future__ import annotations

import pytest
from conftest import MakeInstance, opened

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.deep_seed import next_seed
from mastomend.demo.pictures import picture
from mastomend.inventory.findings import load
from mastomend.inventory.sample import Sample
from mastomend.mastodon.kinds import AVATARS, EMOJIS, MEDIA_FILES


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_deep_finds_what_sizes_hide(make_instance: MakeInstance, storage: str) -> None:
    instance = make_instance("4.5", storage)
    broken = []
    for n, (kind, form) in enumerate(((AVATARS, "png"), (EMOJIS, "png"), (MEDIA_FILES, "jpeg"), (AVATARS, "gif"))):
        for sound in (True, False):
            identity = {"username": f"u{n}{sound}", "uri": f"x:{n}{sound}", "shortcode": f"e{n}{sound}"}
            known = instance.columns(kind.table)
            values = {k: v for k, v in identity.items() if k in known and (kind is not MEDIA_FILES)}
            _, keys = instance.add_image(kind, picture(n, 400, 400, form), **values)  # type: ignore[arg-type]
            if not sound:
                data = instance.files[keys[-1]]
                instance.media.write(keys[-1], data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))
                broken.append(keys[-1])
    assert check(opened(instance)).broken == 0
    report = check(opened(instance), CheckOptions(deep=Sample()))
    found = {f.key: f.state.value for f in load(report.findings)}
    assert found == dict.fromkeys(broken, "corrupt")
    assert report.deep_read == len(instance.files)


def test_slices_cover_everything_once_and_repeat() -> None:
    files = [("accounts/avatars", n, "original") for n in range(5000)]
    nights = [{f for f in files if Sample(10, seed).chooses(*f)} for seed in range(10)]
    assert set().union(*nights) == set(files)
    assert sum(len(night) for night in nights) == len(files), "no file is read twice in ten nights"
    assert all(350 < len(night) < 650 for night in nights)
    assert {f for f in files if Sample(10, 13).chooses(*f)} == nights[3]


def test_the_next_night_takes_the_next_slice(make_instance: MakeInstance) -> None:
    state = make_instance().state
    assert [next_seed(state) for _ in range(3)] == [0, 1, 2]
