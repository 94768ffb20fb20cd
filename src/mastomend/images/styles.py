"""From one downloaded image to every file Mastodon stores for it, by Mastodon's own rules (facts §3).

The lazy rule comes first: whatever need not change stays byte for byte. Where libvips is asked to resize, it is asked
the way Mastodon asks it (`thumbnail`, which also applies the EXIF orientation); metadata other than the ICC profile
goes away as a side effect, as it does there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import blurhash_rs
import pyvips

from mastomend.images.decode import ImageHeader, UnusableImage, header, open_image, sniff, verify
from mastomend.images.load import ROOM, within_time
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import HEIF_TYPES, MEDIA_FILES, PREVIEW_CARDS, Kind
from mastomend.mastodon.processing import MAX_PIXELS, CoverCrop, Geometry, ImageRules, PixelBudget, Unchanged
from mastomend.reasons import Reason

_BLURHASH_BOX = 100
_BLURHASH_COMPONENTS = 4
_MAX_FRAMES = 3_000
_CARD_QUALITY = 90
_PNG = "image/png"

#: Makes a PNG of an image libvips cannot decode here; None if it cannot, either.
Decoder = Callable[[bytes], bytes | None]


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


def produce(kind: Kind, rules: ImageRules, data: bytes, decoders: Sequence[Decoder] = ()) -> Produced:
    """Every style of that kind from the origin's bytes. `decoders` are asked for what libvips here cannot decode.

    Raises:
        UnusableImage: `not_an_image`, `broken_image`, `too_many_pixels`, `bad_type` (an image, but not one this kind
            accepts), `needs_ffmpeg` (an animation that becomes a video) or `needs_decoder`.
    """
    content_type = sniff(data)
    if content_type is not None and content_type not in rules.content_types:
        raise UnusableImage(Reason.BAD_TYPE, f"{content_type} is not accepted for {kind.name}")
    try:
        found, data = _decodable(data, decoders)
        with ROOM.for_pixels(found.width * found.height * min(found.frames, _MAX_FRAMES) if found.animated else (
            found.width * found.height
        )):  # fmt: skip
            return _produce(kind, rules, data, found)
    except pyvips.Error as error:
        raise UnusableImage(Reason.BROKEN_IMAGE, " ".join(str(error).split())[:200]) from None


def _decodable(data: bytes, decoders: Sequence[Decoder]) -> tuple[ImageHeader, bytes]:
    """The image's header, and bytes that can be decoded here: its own, or a PNG somebody else has made of it."""
    try:
        return verify(data), data
    except UnusableImage as error:
        if error.reason != Reason.NEEDS_DECODER:
            raise
        claimed = header(data)
        for decode in decoders:
            if (decoded := decode(data)) is None:
                continue
            found = verify(decoded)
            if sorted((found.width, found.height)) == sorted((claimed.width, claimed.height)):  # not just a tile of it
                # what had to be turned is turned by now; it is still the type it came as
                return replace(found, content_type=claimed.content_type), decoded
        said = "no program here decodes HEVC: install libvips-tools (Debian, Ubuntu), or an ffmpeg of version 7"
        raise UnusableImage(Reason.NEEDS_DECODER, said) from None


def _produce(kind: Kind, rules: ImageRules, data: bytes, found: ImageHeader) -> Produced:
    if found.content_type not in rules.content_types:
        raise UnusableImage(Reason.BAD_TYPE, f"{found.content_type} is not accepted for {kind.name}")
    still_gif = False
    if kind is MEDIA_FILES and found.content_type == "image/gif":
        if found.animated:
            raise UnusableImage(Reason.NEEDS_FFMPEG, "an animated GIF becomes a video")
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
    hash_ = blurhash(hashed, rules.blurhash_box) if rules.blurhash else None
    return Produced(content_type, files, sizes, hash_)


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
    if content_type == "image/gif" and rules.gif_colours is not None:
        return _fitted_gif(data, found, geometry, rules)
    return _resize(data, found, side, side, content_type, rules, crop=True)


def _fitted_gif(data: bytes, found: ImageHeader, geometry: CoverCrop, rules: ImageRules) -> bytes:
    """As ffmpeg makes it there: fitted into the box, never enlarged, then cropped to its shorter side (facts §3.3)."""
    scale = min(1.0, geometry.width / found.width, geometry.height / found.height)
    side = max(1, min(round(found.width * scale), round(found.height * scale)))
    return _animated(data, found, side, side, rules, crop=True)


def _resize(
    data: bytes, found: ImageHeader, width: int, height: int, content_type: str, rules: ImageRules, *, crop: bool
) -> bytes:
    if content_type == "image/gif" and found.animated:
        return _animated(data, found, width, height, rules, crop=crop)
    options: dict[str, Any] = {"crop": "centre"} if crop else {"size": "down"}
    image = pyvips.Image.thumbnail_buffer(data, width, height=height, **options)
    return _save(image, content_type, rules)


def _animated(data: bytes, found: ImageHeader, width: int, height: int, rules: ImageRules, *, crop: bool) -> bytes:
    """Every frame on its own: libvips cannot crop a stack of pages."""
    if found.frames > _MAX_FRAMES:
        raise UnusableImage(Reason.TOO_MANY_FRAMES, f"{found.frames} frames are more than {_MAX_FRAMES}")
    if found.frames * found.width * found.height > MAX_PIXELS:  # all frames are in memory at once here
        raise UnusableImage(Reason.NEEDS_FFMPEG, f"{found.frames} frames of {found.width}×{found.height} pixels")
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
    return _gif(stacked, rules)


def _gif(image: Any, rules: ImageRules) -> bytes:
    """With as many colours as Mastodon's own would have."""
    depth = {} if rules.gif_colours is None else {"bitdepth": (rules.gif_colours - 1).bit_length()}
    return bytes(image.gifsave_buffer(keep="icc", **depth))


def _png(data: bytes, found: ImageHeader, geometry: Geometry, rules: ImageRules) -> bytes:
    """A still PNG of the first frame."""
    if isinstance(geometry, CoverCrop):
        return _cover(data, _still(found), geometry, _PNG, rules)
    return _save(open_image(data).autorot(), _PNG, rules)


def _still(found: ImageHeader) -> ImageHeader:
    return ImageHeader(found.content_type, found.width, found.height, 1)


def _save(image: Any, content_type: str, rules: ImageRules) -> bytes:
    with within_time(image) as watched:
        match content_type:
            case "image/jpeg":
                quality = {} if rules.jpeg_quality is None else {"Q": rules.jpeg_quality}
                return bytes(watched.jpegsave_buffer(keep="icc", **quality))
            case "image/png":
                return bytes(watched.pngsave_buffer(keep="icc"))
            case "image/webp":
                return bytes(watched.webpsave_buffer(keep="icc"))
            case "image/gif":
                return _gif(watched, rules)
            case _:
                raise UnusableImage(Reason.BAD_TYPE, f"{content_type} cannot be written")


def _size(found: ImageHeader) -> Size:
    return Size(found.height, found.width) if found.turned else Size(found.width, found.height)


def blurhash(data: bytes, box: int | None = _BLURHASH_BOX) -> str:
    """The 4×4 blurhash of an image, fitted into that box if there is one, without its transparency (facts §3.5)."""
    image = open_image(data) if box is None else pyvips.Image.thumbnail_buffer(data, box)
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.extract_band(0, n=3)
    image = image.cast("uchar")
    with within_time(image) as watched:
        pixels = bytes(watched.write_to_memory())
    return str(blurhash_rs.encode_rgb(pixels, image.width, image.height, _BLURHASH_COMPONENTS, _BLURHASH_COMPONENTS))
