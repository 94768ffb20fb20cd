"""Pictures as Mastodon makes them (facts §3): geometry, the lazy rule, formats, limits, hostile input."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import pyvips

from mastomend.demo.pictures import picture
from mastomend.images.decode import UnusableImage, header, verify
from mastomend.images.styles import Size, produce
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.mastodon.processing import Engine, PixelBudget, engine, image_rules
from mastomend.mastodon.versions import Version

V45, V42 = Version("4.5", ""), Version("4.2", "")


def made(kind: Kind, data: bytes, version: Version = V45):  # type: ignore[no-untyped-def]
    rules = image_rules(kind, version, Limits())
    assert rules is not None
    return produce(kind, rules, data)


GEOMETRY = [
    (AVATARS, V45, (900, 600), "jpeg", {"original": (400, 400)}),
    (AVATARS, V45, (200, 100), "png", {"original": (400, 400)}),
    (AVATARS, V42, (300, 200), "png", {"original": (200, 200)}),
    (AVATARS, V42, (600, 900), "png", {"original": (400, 400)}),
    (HEADERS, V45, (3000, 1000), "jpeg", {"original": (1500, 500)}),
    (MEDIA_FILES, V45, (4000, 3000), "jpeg", {"original": (3326, 2494), "small": (554, 416)}),
    (MEDIA_FILES, V45, (900, 700), "avif", {"original": (900, 700), "small": (544, 423)}),
    (MEDIA_THUMBNAILS, V45, (1280, 720), "png", {"original": (640, 360)}),
    (EMOJIS, V45, (64, 48), "webp", {"original": (64, 48), "static": (64, 48)}),
    (PREVIEW_CARDS, V45, (1200, 630), "jpeg", {"original": (662, 348)}),
    (PREVIEW_CARDS, V42, (1200, 630), "jpeg", {"original": (1200, 630)}),
]


@pytest.mark.parametrize(("kind", "version", "size", "form", "sizes"), GEOMETRY)
def test_geometry(
    kind: Kind, version: Version, size: tuple[int, int], form: str, sizes: dict[str, tuple[int, int]]
) -> None:
    found = made(kind, picture(1, *size, form), version)
    for style, (width, height) in sizes.items():
        got: Size = found.sizes[style]
        assert abs(got.width - width) <= 1 and abs(got.height - height) <= 1, (style, got)
        assert header(found.files[style]).content_type.startswith("image/")
    assert set(found.files) == set(sizes)


@pytest.mark.parametrize(
    ("kind", "size", "form", "identical"),
    [
        (AVATARS, (400, 900), "png", True), (AVATARS, (900, 400), "png", True), (AVATARS, (401, 900), "png", False),
        (HEADERS, (1500, 500), "jpeg", True), (HEADERS, (1501, 500), "jpeg", False),
        (MEDIA_FILES, (640, 360), "jpeg", True), (MEDIA_FILES, (200, 200), "gif", True),
        (EMOJIS, (900, 900), "png", True), (PREVIEW_CARDS, (640, 360), "jpeg", True),
        (MEDIA_THUMBNAILS, (641, 360), "png", False),
    ],
)  # fmt: skip
def test_the_lazy_rule(kind: Kind, size: tuple[int, int], form: str, identical: bool) -> None:
    data = picture(2, *size, form)
    assert (made(kind, data).files["original"] == data) is identical


def test_gif_avatars_keep_their_frames_and_get_a_still() -> None:
    found = made(AVATARS, picture(3, 300, 200, "gif", frames=4))
    assert header(found.files["original"]).frames == 4
    assert (found.sizes["original"], found.sizes["static"]) == (Size(400, 400), Size(400, 400))
    assert header(found.files["static"]).content_type == "image/png"


def test_an_animated_gif_attachment_waits_for_ffmpeg() -> None:
    with pytest.raises(UnusableImage) as caught:
        made(MEDIA_FILES, picture(3, 90, 60, "gif", frames=2))
    assert caught.value.reason == "needs_ffmpeg"


def test_heif_becomes_jpeg_and_orientation_is_applied() -> None:
    assert made(MEDIA_FILES, picture(1, 90, 60, "avif")).content_type == "image/jpeg"
    turned = pyvips.Image.new_from_buffer(picture(1, 1000, 500, "jpeg"), "").copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    found = made(HEADERS, bytes(turned.resize(2).jpegsave_buffer()))
    assert found.sizes["original"].height > found.sizes["original"].width


def test_blurhash_and_meta() -> None:
    found = made(MEDIA_FILES, picture(1, 900, 600, "jpeg"))
    assert found.blurhash is not None and len(found.blurhash) == 36 and found.blurhash[0] == "U"
    assert found.sizes["original"].meta() == {"width": 900, "height": 600, "size": "900x600", "aspect": 1.5}


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"), (b"<!DOCTYPE html><html>", "not_an_image"), (SVG, "not_an_image"),
        (b"%PDF-1.4", "not_an_image"), (picture(1)[:900], "broken_image"), (picture(1, form="jpeg")[:1500], "broken_image"),
        (picture(1, 2000, 600, "gif"), "too_many_pixels"), (picture(1, form="avif"), "bad_type"),
    ],
)  # fmt: skip
def test_hostile_or_useless_bytes(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableImage) as caught:
        made(AVATARS, data)
    assert caught.value.reason == reason


def test_a_pixel_bomb_is_refused_on_its_header() -> None:
    bomb = bytes(pyvips.Image.black(30_000, 30_000, bands=1).pngsave_buffer(compression=9, bitdepth=1))
    assert len(bomb) < 2_000_000
    with pytest.raises(UnusableImage) as caught:
        verify(bomb)
    assert caught.value.reason == "too_many_pixels"


def test_loaders_are_restricted_without_a_race() -> None:
    """Many threads opening the very first images of a process: none may meet a half-set restriction."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from mastomend.demo.pictures import picture\nfrom mastomend.images.decode import verify\n"
        "data = picture(1)\nwith ThreadPoolExecutor(16) as t: print(len(list(t.map(verify, [data] * 64))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "64", done.stderr
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(verify, [picture(1)] * 8))) == 8


def test_engines_and_budget() -> None:
    assert engine(V42, Limits()) is Engine.IMAGEMAGICK
    assert engine(Version("4.3", ""), Limits()) is Engine.IMAGEMAGICK
    assert engine(Version("4.3", ""), Limits(use_libvips=True)) is Engine.VIPS
    assert engine(V45, Limits(use_libvips=False)) is Engine.IMAGEMAGICK
    assert engine(Version("4.6", ""), Limits(use_libvips=False)) is Engine.VIPS
    assert PixelBudget(230_400).target(1280, 720) == (640, 360)
    assert PixelBudget(230_400).target(100, 100) == (100, 100)


def test_an_animation_that_would_not_fit_in_memory_waits_for_ffmpeg() -> None:
    frame = pyvips.Image.black(960, 960, bands=3).cast("uchar").copy(interpretation="srgb")
    stack = pyvips.Image.arrayjoin([frame, frame.invert()] * 30, across=1).copy()
    stack.set_type(pyvips.GValue.gint_type, "page-height", 960)
    with pytest.raises(UnusableImage) as caught:
        made(AVATARS, bytes(stack.gifsave_buffer(effort=1)))
    assert caught.value.reason == "needs_ffmpeg"
