"""Pictures for the simulated fediverse: each is different, small, and really an image."""

from __future__ import annotations

import random
from typing import Any

import pyvips


def picture(seed: int, width: int = 400, height: int = 400, form: str = "png", frames: int = 1) -> bytes:
    """An image file of that size; `form` is png, jpeg, webp, gif or avif; `frames` above 1 makes an animated GIF."""
    chance = random.Random(seed)
    images = [_frame(chance, width, height) for _ in range(frames)]
    image = images[0]
    if frames > 1:
        image = pyvips.Image.arrayjoin(images, across=1).copy()
        image.set_type(pyvips.GValue.gint_type, "page-height", height)
    match form:
        case "jpeg":
            return bytes(image.jpegsave_buffer(Q=80))
        case "webp":
            return bytes(image.webpsave_buffer(Q=80))
        case "gif":
            return bytes(image.gifsave_buffer(effort=1))
        case "avif":
            return bytes(image.heifsave_buffer(compression="av1", effort=0))
        case _:
            return bytes(image.pngsave_buffer(compression=3, palette=False))


def _frame(chance: random.Random, width: int, height: int) -> Any:
    """A gradient with a few blocks: compresses well, looks like something, never twice the same."""
    top = [chance.randrange(40, 230) for _ in range(3)]
    slope = [chance.randrange(-40, 40) for _ in range(3)]
    ramp = pyvips.Image.identity().resize(width / 256, vscale=height, kernel="nearest").crop(0, 0, width, height)
    image = (ramp.bandjoin([ramp, ramp]) * [s / 255 for s in slope] + top).cast("uchar")
    image = image.copy(interpretation="srgb")
    for _ in range(5):
        w, h = chance.randrange(width // 8, width // 2), chance.randrange(height // 8, height // 2)
        ink = [chance.randrange(256) for _ in range(3)]
        block = (pyvips.Image.black(w, h, bands=3) + ink).cast("uchar")
        image = image.insert(block, chance.randrange(width - w), chance.randrange(height - h))
    return image.copy(interpretation="srgb").copy_memory()
