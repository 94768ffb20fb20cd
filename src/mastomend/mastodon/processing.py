"""How Mastodon turns a downloaded image into the files it stores (facts §3): geometry, formats, limits. Pure.

The numbers live here; the pixels are moved by `images`. "Lazy" is Mastodon's own rule (facts §3.2): a remote file is
stored byte for byte unless the geometry demands a change or the style has another format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.kinds import (
    AVATARS,
    EMOJIS,
    HEADERS,
    MEDIA_FILES,
    MEDIA_THUMBNAILS,
    PREVIEW_CARDS,
    PROVIDER_ICONS,
    SITE_UPLOADS,
    Kind,
)
from mastomend.mastodon.versions import Version

MEBIBYTE = 1024 * 1024
MAX_PIXELS = 33_177_600
MAX_GIF_PIXELS = 921_600
#: Ours: Mastodon has no limit per side, and one row of 33 million pixels takes ten times the memory of a square.
MAX_SIDE = 32_767
#: Moving pictures (facts §3.3, §3.4): pixels and frames a second they may have, the frames that are kept, the box of a poster,
#: how many bits a second a pixel gets, and the frames a second of an animation that becomes a film.
MAX_MOVING_PIXELS = 8_294_400
MAX_FRAME_RATE = 120
MAX_MOVING_FRAMES = 36_000
POSTER_BOX = 640
BITS_PER_PIXEL = 0.11
GIFV_RATE = 30

_RASTER = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_HEIF = frozenset({"image/heic", "image/heif", "image/avif"})


class Engine(Enum):
    """The image engine of the server (facts §3.1)."""

    VIPS = "libvips"
    IMAGEMAGICK = "ImageMagick"


@dataclass(frozen=True, slots=True)
class CoverCrop:
    """Centre crop to exactly `width`×`height`; the file stays as it is when either side already fits (facts §3.2)."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """Shrink, aspect kept, until width·height fits; never enlarge."""

    pixels: int

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels after shrinking (facts §3.3)."""
        if width * height <= self.pixels:
            return width, height
        return (
            max(1, round((self.pixels * width / height) ** 0.5)),
            max(1, round((self.pixels * height / width) ** 0.5)),
        )


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No geometry rule."""


Geometry = CoverCrop | PixelBudget | Unchanged


@dataclass(frozen=True, slots=True)
class ImageRules:
    """How one kind's images are made. `small` is the budget of the `small` style, None where there is none.

    `crops` are further styles, all of them PNG. `blurhash_box` is the box an image is fitted into before it is hashed, None
    where it is hashed as it is; `gif_colours` how many colours a GIF has that is made anew, None for as many as it had.
    """

    content_types: frozenset[str]
    max_bytes: int
    original: Geometry
    small: PixelBudget | None = None
    static_geometry: Geometry = Unchanged()
    jpeg_quality: int | None = None
    enlarges: bool = True
    blurhash: bool = False
    blurhash_box: int | None = 100
    gif_colours: int | None = None
    crops: Mapping[str, CoverCrop] = field(default_factory=dict)


_SITE_CROPS = {
    "@1x": CoverCrop(1200, 630),
    "@2x": CoverCrop(2400, 1260),
    **{d.style: CoverCrop(int(d.style), int(d.style)) for d in SITE_UPLOADS.derived if d.style.isdecimal()},
}


def engine(version: Version, limits: Limits) -> Engine:
    """Which engine that server uses (facts §3.1)."""
    if version.number >= (4, 6):
        return Engine.VIPS
    if version.at_least_4_4:
        return Engine.IMAGEMAGICK if limits.use_libvips is False else Engine.VIPS
    return Engine.VIPS if version.number == (4, 3) and limits.use_libvips else Engine.IMAGEMAGICK


def image_rules(kind: Kind, version: Version, limits: Limits) -> ImageRules | None:
    """The rules for one kind on that server; None for kinds that hold no images Mastomend makes."""
    vips = engine(version, limits) is Engine.VIPS
    profile_bytes = 8 * MEBIBYTE if version.number >= (4, 6) or (version.at_least_4_4 and vips) else 2 * MEBIBYTE
    avatar = CoverCrop(400, 400)
    if kind is AVATARS:
        return ImageRules(
            _RASTER, profile_bytes, avatar, static_geometry=avatar, enlarges=vips, gif_colours=32 if vips else None
        )
    if kind is HEADERS:
        return ImageRules(_RASTER, profile_bytes, PixelBudget(750_000), gif_colours=32 if vips else None)
    box = 100 if vips else None
    quality = None if vips else 90
    if kind is MEDIA_FILES:
        return ImageRules(
            _RASTER | _HEIF,
            limits.max_image_bytes or 16 * MEBIBYTE,
            PixelBudget(8_294_400),
            small=PixelBudget(230_400),
            jpeg_quality=quality,
            blurhash=True,
            blurhash_box=box,
        )
    if kind is MEDIA_THUMBNAILS:
        return ImageRules(
            _RASTER | _HEIF,
            limits.max_image_bytes or 16 * MEBIBYTE,
            PixelBudget(230_400),
            jpeg_quality=quality,
            blurhash=True,
            blurhash_box=box,
        )
    if kind is EMOJIS:
        return ImageRules(
            frozenset({"image/png", "image/gif", "image/webp"}),
            limits.max_remote_emoji_bytes or 256 * 1024,
            Unchanged(),
        )
    if kind is PREVIEW_CARDS:
        card_bytes = 8 * MEBIBYTE if version.number >= (4, 6) or (version.number >= (4, 3) and vips) else 2 * MEBIBYTE
        geometry = PixelBudget(230_400) if vips else Unchanged()
        return ImageRules(_RASTER, card_bytes, geometry, jpeg_quality=quality, blurhash=True, blurhash_box=box)
    if kind is PROVIDER_ICONS:
        return ImageRules(_RASTER, MEBIBYTE, Unchanged())
    if kind is SITE_UPLOADS:
        return ImageRules(_RASTER | _HEIF, 16 * MEBIBYTE, Unchanged(), crops=_SITE_CROPS)
    return None


@dataclass(frozen=True, slots=True)
class MovingRules:
    """What the server allows: bytes of a stored video or sound, and pixel formats it copies without re-encoding."""

    max_bytes: int
    copied_pixel_formats: frozenset[str]


def moving_rules(version: Version, limits: Limits) -> MovingRules:
    """The rules for video, animations and audio (facts §3.3, §3.4)."""
    formats = {"yuv420p", "yuvj420p"} if version.at_least_4_4 else {"yuv420p"}
    return MovingRules(limits.max_video_bytes or 99 * MEBIBYTE, frozenset(formats))


#: The extension a new file name gets for a detected type, and those that may stay (facts §2.4).
EXTENSIONS: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpeg", "jpg"),
    "image/png": ("png",),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/avif": ("avif",),
    "image/heic": ("heic",),
    "image/heif": ("heif",),
    "video/mp4": ("mp4",),
    "audio/mpeg": ("mp3", "mpga"),
}
