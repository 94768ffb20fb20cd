"""Pictures as Mastodon makes them (facts §3): geometry, the lazy rule, formats, limits, hostile input."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blurhash_rs
import pytest
import pyvips

from mastomend.demo.pictures import picture
from mastomend.images.decode import UnusableImage, header, verify
from mastomend.images.elsewhere import decoders
from mastomend.images.load import Room, within_time
from mastomend.images.programs import run
from mastomend.images.styles import Size, blurhash, produce
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.mastodon.processing import image_rules
from mastomend.mastodon.versions import Version
from mastomend.outcomes import Deferred, Source
from mastomend.reasons import Reason
from mastomend.restore.answers import verdict_of_image

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


@pytest.mark.parametrize(
    ("size", "side"), [((300, 200), 200), ((128, 128), 128), ((120, 128), 120), ((600, 900), 267), ((900, 600), 267)]
)
def test_gif_avatars_are_never_enlarged_and_get_a_still(size: tuple[int, int], side: int) -> None:
    """D15: fitted into the box, cropped to the shorter side, 32 colours; the still is 400 by 400 all the same."""
    data = picture(3, *size, "gif", frames=4)
    found = made(AVATARS, data)
    original = found.files["original"]
    assert header(original).frames == 4
    assert (found.sizes["original"], found.sizes["static"]) == (Size(side, side), Size(400, 400))
    assert header(found.files["static"]).content_type == "image/png"
    colours = 2 << (original[10] & 7) if original[10] & 0x80 else 0
    assert 0 < colours <= 32


def test_a_busy_gif_avatar_does_not_grow() -> None:
    noise = [pyvips.Image.gaussnoise(200, 200, mean=128, sigma=60, seed=n).cast("uchar") for n in range(10)]
    image = pyvips.Image.arrayjoin(
        [one.bandjoin([one, one]).copy(interpretation="srgb") for one in noise], across=1
    ).copy()
    image.set_type(pyvips.GValue.gint_type, "page-height", 200)
    data = bytes(image.gifsave_buffer())
    assert len(made(AVATARS, data).files["original"]) < len(data)


def test_a_blurhash_is_made_in_a_box_and_without_transparency() -> None:
    """D16: 100 by 100 at most; the transparent part counts as what colour it has, not as black."""
    ink = [255, 0, 0]
    red = (pyvips.Image.black(400, 200, bands=3) + ink).cast("uchar").copy(interpretation="srgb")
    clear = red.bandjoin((pyvips.Image.black(400, 200) + 128).cast("uchar"))
    assert blurhash(bytes(clear.pngsave_buffer())) == blurhash(bytes(red.pngsave_buffer()))
    tall = picture(4, 40, 900)
    small = pyvips.Image.thumbnail_buffer(tall, 100)
    assert (small.width, small.height) == (4, 100)
    pixels = bytes(small.colourspace("srgb").extract_band(0, n=3).write_to_memory())
    assert blurhash(tall) == blurhash_rs.encode_rgb(pixels, 4, 100, 4, 4)
    whole = pyvips.Image.new_from_buffer(tall, "").colourspace("srgb").extract_band(0, n=3)
    assert blurhash(tall, None) == blurhash_rs.encode_rgb(bytes(whole.write_to_memory()), 40, 900, 4, 4)


@pytest.mark.parametrize("kind", [AVATARS, HEADERS, EMOJIS, PREVIEW_CARDS])
@pytest.mark.parametrize("brand", [b"ftypheic", b"ftypavif", b"ftypmif1"])
def test_the_type_is_checked_before_any_loader(kind: Kind, brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: Mastodon 4.7.2 blocks the HEIF loader for these; what is in the file is never looked at."""
    monkeypatch.setattr(pyvips.Image, "new_from_buffer", lambda *_, **__: pytest.fail("a loader was called"))
    with pytest.raises(UnusableImage) as caught:
        made(kind, b"\0\0\0\x18" + brand + b"\0\0\0\0mif1heic" + bytes(2000))
    assert caught.value.reason == "bad_type"


def heic() -> bytes:
    """A real one, from the real encoder."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.png", Path(folder) / "a.heic"
        source.write_bytes(picture(1, 640, 480))
        subprocess.run(["heif-enc", "-q", "50", str(source), "-o", str(target)], check=True, capture_output=True)
        return target.read_bytes()


needs_heic = pytest.mark.skipif(shutil.which("heif-enc") is None, reason="heif-enc")


@needs_heic
def test_what_nothing_here_decodes_is_no_broken_image() -> None:
    with pytest.raises(UnusableImage, match="libvips-tools") as caught:
        made(MEDIA_FILES, heic())
    assert verdict_of_image(caught.value, Source.ORIGIN) == Deferred(
        Reason.NEEDS_DECODER, str(caught.value), Source.ORIGIN
    )


@needs_heic
@pytest.mark.skipif(shutil.which("vips") is None, reason="vips")
def test_a_system_s_own_programs_decode_it() -> None:
    rules = image_rules(MEDIA_FILES, Version("4.5", ""), Limits())
    assert rules is not None
    found = produce(MEDIA_FILES, rules, heic(), decoders(shutil.which("ffmpeg")))
    assert (found.content_type, found.sizes["original"]) == ("image/jpeg", Size(640, 480))
    tile: list[bytes] = [picture(1, 512, 512)]  # what an old ffmpeg takes for the picture
    with pytest.raises(UnusableImage):
        produce(MEDIA_FILES, rules, heic(), [lambda _: tile[0]])


@pytest.mark.parametrize(("width", "height"), [(33_000_000, 1), (1, 33_000_000), (40_000, 10)])
def test_a_side_has_a_limit(width: int, height: int) -> None:
    """F32: a PNG whose header says so; not a pixel of it is decoded."""
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    data = b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    body = zlib.compress(bytes(1000))
    data += len(body).to_bytes(4, "big") + b"IDAT" + body + zlib.crc32(b"IDAT" + body).to_bytes(4, "big")
    data += b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
    with pytest.raises(UnusableImage) as caught:
        verify(data)
    assert caught.value.reason == "too_many_pixels"


def test_decoding_takes_turns() -> None:
    """As many pixels at once as fit, in order; one that is larger than all goes alone."""
    room, order = Room(100), []
    inside = [0, 0]
    lock = threading.Lock()

    def work(number: int) -> None:
        with room.for_pixels(number):
            with lock:
                inside[0] += min(number, 100)
                inside[1] = max(inside[1], inside[0])
                order.append(number)
            time.sleep(0.005)
            with lock:
                inside[0] -= min(number, 100)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, [60, 30, 50, 1000, 10, 10, 10, 90, 40] * 5))
    assert inside == [0, inside[1]] and inside[1] <= 100 and len(order) == 45


def test_what_takes_too_long_is_stopped() -> None:
    slow = pyvips.Image.gaussnoise(3000, 3000).gaussblur(20)
    with pytest.raises(pyvips.Error), within_time(slow, 0.0) as watched:
        watched.write_to_memory()
    with within_time(pyvips.Image.gaussnoise(300, 300)) as watched:
        assert watched.write_to_memory()


def test_a_program_that_complains_without_end_fills_no_memory(tmp_path: Path) -> None:
    loud = tmp_path / "loud"
    loud.write_text("#!/bin/sh\nwhile :; do head -c 1000000 /dev/zero >&2 || exit 3; done\n")
    loud.chmod(0o755)
    done = run([str(loud)], seconds=60)
    assert done.returncode != 0 and len(done.stderr) <= 4 * 1024 * 1024


def test_a_program_does_not_outlive_who_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sleeper"
    script.write_text("#!/bin/sh\nexec sleep 300\n")
    script.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []
    wait = subprocess.Popen.wait

    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is not None:
            started.append(self)
            raise KeyboardInterrupt
        return wait(self)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([str(script)], seconds=60)
    assert [process.returncode for process in started] == [-9]
