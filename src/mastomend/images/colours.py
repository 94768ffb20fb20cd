"""The three colours a player is drawn in beside a cover: background, foreground, accent (facts §3.5).

Found as Mastodon finds them with libvips: a histogram of ten steps a channel of the image in a box of a hundred pixels. The
commonest colour of its outer quarter is the background. Two colours that stand out from it are looked for among the
commonest of the whole; where there are not two, the background is made lighter or darker.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import pyvips

from mastomend.images.load import within_time

_BOX = 100
_STEPS = 10
_COMMONEST = 10
_EDGE = 0.25
#: Contrasts (as the W3C measures them) below which a colour cannot be told from its background.
_ACCENT_CONTRAST, _TEXT_CONTRAST = 2.0, 3.0
#: How much lighter or darker the made ones are, in percent.
_SHADES = (35, 50)

Colour = tuple[float, float, float]


def cover_colours(data: bytes) -> dict[str, str]:
    """`background`, `foreground` and `accent` as `#rrggbb`."""
    image = pyvips.Image.thumbnail_buffer(data, _BOX).colourspace("srgb")
    with within_time(image.extract_band(0, n=3).cast("uchar")) as watched:
        image = watched.copy_memory()
    background = _commonest(_edges(image))[0]
    found = _standing_out(background, _commonest(image))
    found += [_shade(background, by) for by in _SHADES[: 2 - len(found)]]
    return {
        "background": _hexadecimal(background),
        "foreground": _hexadecimal(max(found, key=lambda colour: _contrast(background, colour))),
        "accent": _hexadecimal(max(found, key=_saturation)),
    }


def _edges(image: pyvips.Image) -> pyvips.Image:
    """What lies within a quarter of a side, as one image."""
    high, wide = int(image.height * _EDGE), int(image.width * _EDGE)
    if not high or not wide:
        return image
    middle = image.height - 2 * high
    top = image.crop(0, 0, image.width, high)
    bottom = image.crop(0, image.height - high, image.width, high)
    left = image.crop(0, high, wide, middle)
    right = image.crop(image.width - wide, high, wide, middle)
    return top.join(bottom, "vertical").join(left, "horizontal").join(right, "horizontal")


def _commonest(image: pyvips.Image) -> list[Colour]:
    """Its commonest colours, the first of all first; those that do not occur are none."""
    counts = image.hist_find_ndim(bins=_STEPS).bandunfold()
    _, more = counts.max(size=_COMMONEST, out_array=True, x_array=True, y_array=True)
    places = sorted(zip(more["out_array"], more["x_array"], more["y_array"], strict=True), key=lambda one: -one[0])
    width = 256 / _STEPS
    return [
        ((x // _STEPS + 0.5) * width, (y + 0.5) * width, (x % _STEPS + 0.5) * width)
        for number, x, y in places
        if number
    ]


def _standing_out(background: Colour, palette: Sequence[Colour]) -> list[Colour]:
    """At most two: the farthest that can be seen at all, then the farthest of the others that can be read."""
    distances = dict(zip(palette, _distances(background, palette), strict=True))
    found: list[Colour] = []
    for least in (_ACCENT_CONTRAST, _TEXT_CONTRAST):
        may = [c for c in palette if c not in found and distances[c] > 0 and _contrast(background, c) >= least]
        found += [max(may, key=distances.__getitem__)] if may else []
    return found


def _distances(background: Colour, palette: Sequence[Colour]) -> list[float]:
    """CIEDE2000 of each colour from the background."""

    def lab(colours: Sequence[Colour]) -> pyvips.Image:
        rows = pyvips.Image.new_from_array([[round(value) for value in colour] for colour in colours])
        bands = [rows.crop(i, 0, 1, len(colours)) for i in range(3)]
        return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb").colourspace("lab")

    apart = lab(palette).dE00(lab([background] * len(palette)))
    return [float(apart(0, y)[0]) for y in range(len(palette))]


def _luminance(colour: Colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((_luminance(one) + 0.05, _luminance(other) + 0.05))
    return high / low


def _saturation(colour: Colour) -> int:
    _, _, saturation = colorsys.rgb_to_hls(*(value / 255 for value in colour))
    return round(saturation * 100)


def _shade(colour: Colour, by: int) -> Colour:
    hue, light, saturation = colorsys.rgb_to_hls(*(value / 255 for value in colour))
    percent = round(light * 100)
    percent = min(100, percent + by) if percent < 50 else max(0, percent - by)
    red, green, blue = colorsys.hls_to_rgb(round(hue * 360) / 360, percent / 100, round(saturation * 100) / 100)
    return round(red * 255), round(green * 255), round(blue * 255)


def _hexadecimal(colour: Colour) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in colour)
