"""Opening images from strangers: only the loaders Mastodon allows, only within its pixel limits (facts §3.1, §3.4).

The content type is what stands in the bytes (`sniff`), never what a header or a file name claims, and it is looked at
before any loader is. The limits are checked on the header, before a single pixel is decoded; what is decoded waits for
its room (`load`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyvips

from mastomend.images.load import ROOM, give_memory_back, within_time
from mastomend.mastodon.processing import MAX_GIF_PIXELS, MAX_PIXELS, MAX_SIDE
from mastomend.reasons import Reason

# libvips' own classes; everything else (SVG, PDF, ImageMagick's hundred formats) stays blocked in this process.
_ALLOWED = (
    "VipsForeignLoadJpeg",
    "VipsForeignLoadPng",
    "VipsForeignLoadWebp",
    "VipsForeignLoadHeif",
    "VipsForeignLoadNsgif",
)


class UnusableImage(Exception):
    """Not an image we may or can use. `reason` is a stable word for reports, the message is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


#: What may be decoded into memory as a whole: 12 MB at most.
_SMALL_PIXELS = 3_000_000
#: EXIF orientations from this one on lie on their side.
_FIRST_TURNED = 5


_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})


def sniff(data: bytes) -> str | None:
    """The content type of the image formats Mastodon knows, by their first bytes; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[i : i + 4] for i in range(16, length, 4))]
    if data[8:12] in (b"mif1", b"msf1", b"avif", b"avis") and any(brand in (b"avif", b"avis") for brand in brands):
        return "image/avif"
    if any(brand in _HEIC_BRANDS for brand in brands):
        return "image/heic"
    return "image/heif" if data[8:12] in (b"mif1", b"msf1") else None


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image says about itself. `width` and `height` in pixels of one frame, before any orientation.

    `turned`: its orientation exchanges the two.
    """

    content_type: str
    width: int
    height: int
    frames: int
    turned: bool = False

    @property
    def animated(self) -> bool:
        """More than one frame."""
        return self.frames > 1


_restricting = threading.Lock()


def _restrict_loaders() -> None:
    """Once per process, before the first image. Under a lock: half-way through everything is blocked."""
    with _restricting:
        _restrict_loaders_once()


@cache
def _restrict_loaders_once() -> None:
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _ALLOWED:
        pyvips.operation_block_set(name, False)
    give_memory_back()
    pyvips.cache_set_max(0)  # every image is seen once; a cache would only hold memory


def open_image(data: bytes, *, frames: int = 1, fail_on: str = "error") -> Any:
    """A libvips image whose header is read and whose pixels are not; `frames` -1 opens all of an animation.

    Raises:
        UnusableImage: `not_an_image` or `broken_image`.
    """
    if sniff(data) is None:
        raise UnusableImage(Reason.NOT_AN_IMAGE, _describe(data))
    _restrict_loaders()
    try:
        loader = pyvips.vips_lib.vips_foreign_find_load_buffer(pyvips.ffi.from_buffer(data), len(data))
        if loader == pyvips.ffi.NULL:
            raise UnusableImage(Reason.NOT_AN_IMAGE, _describe(data))
        name = pyvips.ffi.string(loader).decode()
        paged = any(word in name for word in ("Nsgif", "Webp", "Heif")) and frames != 1
        options = {"n": frames} if paged else {}
        return pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on=fail_on, **options)
    except pyvips.Error as error:
        raise UnusableImage(Reason.BROKEN_IMAGE, _words(error)) from None


def header(data: bytes) -> ImageHeader:
    """Type and size from the bytes, within Mastodon's limits.

    Raises:
        UnusableImage: `not_an_image`, `broken_image` or `too_many_pixels`.
    """
    return _header(open_image(data))


def _header(image: Any) -> ImageHeader:
    frames = int(image.get("n-pages")) if image.get_typeof("n-pages") else 1
    turned = bool(image.get_typeof("orientation")) and int(image.get("orientation")) >= _FIRST_TURNED
    found = ImageHeader(_content_type(image), image.width, image.height, frames, turned)
    if max(found.width, found.height) > MAX_SIDE:
        raise UnusableImage(
            Reason.TOO_MANY_PIXELS, f"{found.width}×{found.height}: a side is longer than {MAX_SIDE} pixels"
        )
    limit = MAX_GIF_PIXELS if found.content_type == "image/gif" else MAX_PIXELS
    if found.width * found.height > limit:
        raise UnusableImage(Reason.TOO_MANY_PIXELS, f"{found.width}×{found.height} pixels are more than {limit}")
    return found


def verify(data: bytes) -> ImageHeader:
    """Decode every pixel of the first frame.

    A small image is decoded into memory, which is one call; of a large one the last line is asked for, and to give
    that, every loader has to decode all before it.

    Raises:
        UnusableImage: as `header`, or the pixels do not decode.
    """
    image = open_image(data)
    found = _header(image)
    try:
        with ROOM.for_pixels(found.width * found.height):
            if found.width * found.height <= _SMALL_PIXELS:
                image.write_to_memory()
            else:
                with within_time(image.extract_area(0, found.height - 1, found.width, 1)) as last_line:
                    last_line.avg()
    except pyvips.Error as error:
        if found.content_type in ("image/heic", "image/heif"):
            raise UnusableImage(Reason.NEEDS_DECODER, "HEVC is not in the libvips that comes with Mastomend") from None
        raise UnusableImage(Reason.BROKEN_IMAGE, _words(error)) from None
    return found


def _content_type(image: Any) -> str:
    loader = str(image.get("vips-loader"))
    if loader.startswith("heif"):
        compression = str(image.get("heif-compression")) if image.get_typeof("heif-compression") else ""
        return "image/avif" if compression == "av1" else "image/heic"
    for prefix in ("jpeg", "png", "gif", "webp"):
        if loader.startswith(prefix):
            return f"image/{prefix}"
    raise UnusableImage(Reason.NOT_AN_IMAGE, f"{loader} is not a format Mastodon accepts")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _describe(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an image"
    if not data:
        return "an empty body"
    return "not an image Mastodon accepts"
