"""A cover's colours (issue 10, D17)."""

from __future__ import annotations

import pytest
import pyvips

from mastomend.demo.pictures import picture
from mastomend.images.colours import _contrast, _luminance, cover_colours


def cover(background: list[int], *blocks: list[int]) -> bytes:
    """A picture of one colour with blocks of others in its middle."""
    image = (pyvips.Image.black(400, 400, bands=3) + background).cast("uchar").copy(interpretation="srgb")
    for n, ink in enumerate(blocks):
        block = (pyvips.Image.black(60, 120, bands=3) + ink).cast("uchar")
        image = image.insert(block, 120 + 70 * n, 140)
    return bytes(image.copy(interpretation="srgb").pngsave_buffer())


def rgb(text: str) -> tuple[float, float, float]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)


def near(text: str, colour: list[int]) -> bool:
    return all(abs(found - wanted) <= 26 for found, wanted in zip(rgb(text), colour, strict=True))


def test_the_background_is_what_lies_at_the_edges() -> None:
    found = cover_colours(cover([10, 20, 120], [250, 250, 250]))
    assert near(found["background"], [10, 20, 120])
    assert near(found["foreground"], [250, 250, 250]), "the highest contrast"
    found = cover_colours(cover([10, 20, 120], [240, 200, 20], [240, 200, 20]))
    assert near(found["accent"], [240, 200, 20]), "the strongest colour that stands out"


@pytest.mark.parametrize("plain", [[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 30]])
def test_colours_that_are_not_there_are_made(plain: list[int]) -> None:
    found = cover_colours(cover(plain))
    assert near(found["background"], plain)
    assert _contrast(rgb(found["background"]), rgb(found["foreground"])) > 1.5
    assert len({*found.values()}) >= 2


@pytest.mark.parametrize("seed", range(5))
def test_any_picture_has_them(seed: int) -> None:
    for form in ("png", "jpeg", "webp"):
        found = cover_colours(picture(seed, 300, 200, form))
        assert set(found) == {"background", "foreground", "accent"}
    small = cover_colours(picture(seed, 12, 12))
    assert all(0 <= _luminance(rgb(colour)) <= 1 for colour in small.values())
