"""What our pipeline makes agrees with libvips' own program in size, format and dimensions (facts §3.3)."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest

from mastomend.demo.pictures import picture
from mastomend.images.decode import header, open_image
from mastomend.images.styles import produce
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.mastodon.processing import image_rules
from mastomend.mastodon.versions import Version


def box(width: int, height: int, pixels: int) -> str:
    """Mastodon's target for a pixel budget, worked out by hand."""
    return f"{round(math.sqrt(pixels * width / height))}x{round(math.sqrt(pixels * height / width))}"


@pytest.mark.skipif(shutil.which("vipsthumbnail") is None, reason="vipsthumbnail")
@pytest.mark.parametrize(
    ("kind", "style", "width", "height", "form", "pixels"),
    [
        (AVATARS, "original", 901, 700, "jpeg", None),
        (AVATARS, "original", 120, 80, "png", None),
        (HEADERS, "original", 2000, 1003, "jpeg", 750_000),
        (MEDIA_FILES, "small", 1200, 901, "png", 230_400),
        (MEDIA_FILES, "original", 4000, 2501, "jpeg", 8_294_400),
        (MEDIA_FILES, "small", 3000, 500, "webp", 230_400),
        (MEDIA_THUMBNAILS, "original", 900, 900, "jpeg", 230_400),
        (PREVIEW_CARDS, "original", 1200, 630, "webp", 230_400),
    ],
)
def test_it_agrees_with_vipsthumbnail(
    kind: Kind, style: str, width: int, height: int, form: str, pixels: int | None, tmp_path: Path
) -> None:
    rules = image_rules(kind, Version("4.5", ""), Limits())
    assert rules is not None
    data = picture(1, width, height, form)
    ours = produce(kind, rules, data).files[style]
    source, target = tmp_path / f"in.{form}", tmp_path / f"out.{form}"
    source.write_bytes(data)
    size = (
        ["--size", "400x400", "--smartcrop", "centre"]
        if pixels is None
        else ["--size", box(width, height, pixels) + ">"]
    )
    subprocess.run(
        ["vipsthumbnail", str(source), *size, "-o", str(target)], check=True, capture_output=True, timeout=60
    )
    theirs = target.read_bytes()
    assert header(ours) == header(theirs)
    difference = (open_image(ours) - open_image(theirs)).abs().avg()
    assert difference < 2, "the same picture, up to the encoder"
