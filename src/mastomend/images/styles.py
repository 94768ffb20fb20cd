"""From one downloaded image to every file Mastodon stores for it, by Mastodon's own rules (facts §3).

The lazy rule comes first: whatever need not change stays byte for byte. Where libvips is asked to resize, it is asked
the way Mastodon asks it (`thumbnail`, which also applies the EXIF orientation); metadata other than the ICC profile
goes away as a side effect, as it does there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import blurhash_rs
import pyvips

from mastomend.images.decode import ImageHeader, UnusableImage, header, open_image, verify
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import HEIF_TYPES, MEDIA_FILES, PREVIEW_CARDS, Kind
from mastomend.mastodon.processing import MAX_PIXELS, CoverCrop, Geometry, ImageRules, PixelBudget, Unchanged

_BLURHASH_WIDTH = 100
_BLURHASH_COMPONENTS = 4
_MAX_FRAMES = 3_000
_CARD_QUALITY = 90
_PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def meta(self) -> dict[str, object]:
        """As `file_meta` states it (facts §3.5)."""
        return {
            "width": self.width,
            "height": self.height,
            "size": f"{self.width}x{self.height}",
            "aspect": self.width / self.height,
        }


@dataclass(frozen=True, slots=True)
class Produced:
    """All files of a record, by style, with what the row says about them."""

    content_type: str
    files: Mapping[str, bytes]
    sizes: Mapping[str, Size]
    blurhash: str | None

    @property
    def original(self) -> bytes:
        """The bytes whose length the row records."""
        return self.files[ORIGINAL]


def produce(kind: Kind, rules: ImageRules, data: bytes) -> Produced:
    """Every style of that kind from the origin's bytes.

    Raises:
        UnusableImage: `not_an_image`, `broken_image`, `too_many_pixels`, `bad_type` (an image, but not one this kind
            accepts) or `needs_ffmpeg` (an animation that becomes a video).
    """
    try:
        return _produce(kind, rules, data)
    except pyvips.Error as error:
        raise UnusableImage("broken_image", " ".join(str(error).split())[:200]) from None


def _produce(kind: Kind, rules: ImageRules, data: bytes) -> Produced:
    found = verify(data)
    if found.content_type not in rules.content_types:
        raise UnusableImage("bad_type", f"{found.content_type} is not accepted for {kind.name}")
    still_gif = False
    if kind is MEDIA_FILES and found.content_type == "image/gif":
        if found.animated:
            raise UnusableImage("needs_ffmpeg", "an animated GIF becomes a video")
        still_gif = True
    content_type = "image/jpeg" if kind is MEDIA_FILES and found.content_type in HEIF_TYPES else found.content_type
    if kind is PREVIEW_CARDS and content_type == "image/gif":
        original = _card_gif(data, found, rules)
    else:
        original = data if still_gif else _transform(data, found, rules.original, content_type, rules)
    files = {ORIGINAL: original}
    if any(d.style == "static" and (d.content_types is None or content_type in d.content_types) for d in kind.derived):
        files["static"] = _png(data, found, rules.static_geometry, rules)
    if rules.small is not None:
        files["small"] = (
            original if still_gif else _transform(original, header(original), rules.small, content_type, rules)
        )
    for style, crop in rules.crops.items():
        files[style] = _save(
            pyvips.Image.thumbnail_buffer(data, crop.width, height=crop.height, crop="centre"), _PNG, rules
        )
    sizes = {style: _size(found if content is data else header(content)) for style, content in files.items()}
    hashed = files.get("small", original)
    return Produced(content_type, files, sizes, blurhash(hashed) if rules.blurhash else None)


def _card_gif(data: bytes, found: ImageHeader, rules: ImageRules) -> bytes:
    """A card's GIF becomes a JPEG and keeps its name (facts §3.3)."""
    width, height = found.width, found.height
    if isinstance(rules.original, PixelBudget):
        width, height = rules.original.target(width, height)
    image = pyvips.Image.thumbnail_buffer(data, width, height=height, size="down")
    return bytes(image.jpegsave_buffer(keep="icc", Q=_CARD_QUALITY, interlace=True))


def _transform(data: bytes, found: ImageHeader, geometry: Geometry, content_type: str, rules: ImageRules) -> bytes:
    same_type = found.content_type == content_type
    match geometry:
        case Unchanged():
            return data if same_type else _save(open_image(data).autorot(), content_type, rules)
        case PixelBudget():
            if same_type and found.width * found.height <= geometry.pixels:
                return data
            # the target is in oriented pixels: thumbnail turns the image before it fits it into the box
            oriented = open_image(data).autorot()
            width, height = geometry.target(oriented.width, oriented.height)
            return _resize(data, found, width, height, content_type, rules, crop=False)
        case CoverCrop(width=width, height=height):
            if same_type and (found.width == width or found.height == height):
                return data
            return _cover(data, found, geometry, content_type, rules)
        case _:
            assert_never(geometry)


def _cover(data: bytes, found: ImageHeader, geometry: CoverCrop, content_type: str, rules: ImageRules) -> bytes:
    side = geometry.width if rules.enlarges else min(geometry.width, found.width, found.height)
    return _resize(data, found, side, side, content_type, rules, crop=True)


def _resize(
    data: bytes, found: ImageHeader, width: int, height: int, content_type: str, rules: ImageRules, *, crop: bool
) -> bytes:
    if content_type == "image/gif" and found.animated:
        return _animated(data, found, width, height, crop=crop)
    options: dict[str, Any] = {"crop": "centre"} if crop else {"size": "down"}
    image = pyvips.Image.thumbnail_buffer(data, width, height=height, **options)
    return _save(image, content_type, rules)


def _animated(data: bytes, found: ImageHeader, width: int, height: int, *, crop: bool) -> bytes:
    """Every frame on its own: libvips cannot crop a stack of pages."""
    if found.frames > _MAX_FRAMES:
        raise UnusableImage("too_many_frames", f"{found.frames} frames are more than {_MAX_FRAMES}")
    if found.frames * found.width * found.height > MAX_PIXELS:  # all frames are in memory at once here
        raise UnusableImage("needs_ffmpeg", f"{found.frames} frames of {found.width}×{found.height} pixels")
    whole = open_image(data, frames=-1).copy_memory()
    options: dict[str, Any] = {"crop": "centre"} if crop else {"size": "down"}
    frames = [
        whole.crop(0, n * found.height, found.width, found.height).thumbnail_image(width, height=height, **options)
        for n in range(found.frames)
    ]
    stacked = pyvips.Image.arrayjoin(frames, across=1).copy()
    stacked.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    for name in ("delay", "loop"):
        if name in whole.get_fields():
            stacked.set_type(whole.get_typeof(name), name, whole.get(name))
    return bytes(stacked.gifsave_buffer(keep="icc"))


def _png(data: bytes, found: ImageHeader, geometry: Geometry, rules: ImageRules) -> bytes:
    """A still PNG of the first frame."""
    if isinstance(geometry, CoverCrop):
        return _cover(data, _still(found), geometry, _PNG, rules)
    return _save(open_image(data).autorot(), _PNG, rules)


def _still(found: ImageHeader) -> ImageHeader:
    return ImageHeader(found.content_type, found.width, found.height, 1)


def _save(image: Any, content_type: str, rules: ImageRules) -> bytes:
    match content_type:
        case "image/jpeg":
            quality = {} if rules.jpeg_quality is None else {"Q": rules.jpeg_quality}
            return bytes(image.jpegsave_buffer(keep="icc", **quality))
        case "image/png":
            return bytes(image.pngsave_buffer(keep="icc"))
        case "image/webp":
            return bytes(image.webpsave_buffer(keep="icc"))
        case "image/gif":
            return bytes(image.gifsave_buffer(keep="icc"))
        case _:
            raise UnusableImage("bad_type", f"{content_type} cannot be written")


def _size(found: ImageHeader) -> Size:
    return Size(found.height, found.width) if found.turned else Size(found.width, found.height)


def blurhash(data: bytes) -> str:
    """The 4×4 blurhash of an image, from a version 100 pixels wide (facts §3.5)."""
    image = pyvips.Image.thumbnail_buffer(data, _BLURHASH_WIDTH, height=10_000, size="both")
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[0, 0, 0])
    image = image.cast("uchar")
    pixels = bytes(image.write_to_memory())
    return str(blurhash_rs.encode_rgb(pixels, image.width, image.height, _BLURHASH_COMPONENTS, _BLURHASH_COMPONENTS))
