"""Video, animations and audio, through the ffmpeg Mastodon itself uses, by Mastodon's rules (facts §3.3).

A stranger's file is handed to ffmpeg as a file and may name no other: only the `file` protocol, and only container
formats that hold media, never playlists, which could name anything. Every run has a time limit; sizes and frame rates
are looked at before a frame is decoded.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mastomend.images.decode import UnusableImage, header
from mastomend.images.programs import guards, run
from mastomend.images.styles import Size, blurhash
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.media_types import AUDIO, GIFV, VIDEO
from mastomend.mastodon.processing import (
    BITS_PER_PIXEL,
    GIFV_RATE,
    MAX_FRAME_RATE,
    MAX_MOVING_FRAMES,
    MAX_MOVING_PIXELS,
    MAX_PIXELS,
    POSTER_BOX,
    MovingRules,
)
from mastomend.reasons import Reason

#: Containers that hold media themselves; playlists and device formats are left out on purpose.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,gif,mp3,wav,flac,aac,asf"
_PROBE_S = 30
_CONVERT_S = 900
_PROBE_BYTES = 1024 * 1024 * 1024
_PICTURE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Moving:
    """What was made: files by style in the working folder, `file_meta`, the attachment's type (facts §1)."""

    content_type: str
    files: Mapping[str, Path]
    meta: Mapping[str, Mapping[str, object]]
    blurhash: str | None
    media_type: int


@dataclass(frozen=True, slots=True)
class _Probe:
    formats: frozenset[str]
    duration: float
    bitrate: int
    video: Mapping[str, Any] | None
    audio: Mapping[str, Any] | None
    cover: Mapping[str, Any] | None


class Ffmpeg:
    """The two programs, found as Mastodon finds them."""

    def __init__(self, ffmpeg: str, ffprobe: str) -> None:
        self.program = self._ffmpeg = ffmpeg
        self._ffprobe = ffprobe

    def make(self, source: Path, rules: MovingRules, folder: Path) -> Moving:
        """Every style of a video, an animated GIF or a sound, in `folder`.

        Raises:
            UnusableImage: `not_media`, `too_many_pixels`, `too_fast` or `not_convertible`.
        """
        probe = self._probe(source)
        if probe.video is None:
            return self._audio(source, probe, rules, folder)
        return self._video(source, probe, rules, folder)

    def poster(self, source: Path, folder: Path) -> Path:
        """The first frame of a stored video as PNG: its `small` style.

        Raises:
            UnusableImage: as `make`.
        """
        target = folder / "small.png"
        scale = f"scale='min({POSTER_BOX},iw)':'min({POSTER_BOX},ih)':force_original_aspect_ratio=decrease"
        self._run(source, ["-vf", scale, "-frames:v", "1", "-an"], target, _PICTURE_BYTES)
        return target

    def cover(self, source: Path, folder: Path) -> Path | None:
        """The picture embedded in a sound, None if there is none.

        Raises:
            UnusableImage: as `make`.
        """
        cover = self._probe(source).cover
        if cover is None:
            return None
        if int(cover.get("width", 0)) * int(cover.get("height", 0)) > MAX_PIXELS:
            raise UnusableImage(Reason.TOO_MANY_PIXELS, f"a cover of {cover.get('width')}×{cover.get('height')} pixels")
        target = folder / "cover.png"
        self._run(source, ["-map", f"0:{cover['index']}", "-frames:v", "1", "-an"], target, _PICTURE_BYTES)
        return target

    def _video(self, source: Path, probe: _Probe, rules: MovingRules, folder: Path) -> Moving:
        video = probe.video
        assert video is not None
        width, height, rate = int(video.get("width", 0)), int(video.get("height", 0)), _rate(video)
        if width * height > MAX_MOVING_PIXELS:
            raise UnusableImage(Reason.TOO_MANY_PIXELS, f"{width}×{height} pixels are more than {MAX_MOVING_PIXELS}")
        if rate > MAX_FRAME_RATE:
            raise UnusableImage(Reason.TOO_FAST, f"{float(rate):.0f} frames a second are more than {MAX_FRAME_RATE}")
        original = folder / "original.mp4"
        if _may_be_copied(probe, rules):
            options = ["-c", "copy"]
        else:
            limit = rules.max_bytes * 8 / max(probe.duration, 1)
            bits = int(min(width * height * GIFV_RATE * BITS_PER_PIXEL, limit))
            options = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "192k"]
            options += ["-vf", "crop=floor(iw/2)*2:floor(ih/2)*2", "-b:v", str(bits), "-maxrate", str(bits)]
            options += ["-bufsize", str(2 * bits), "-frames:v", str(MAX_MOVING_FRAMES)]
        streams = ["-map", f"0:{video['index']}", "-map", "0:a:0?", "-map_metadata", "-1", "-movflags", "+faststart"]
        streams += ["-fs", str(rules.max_bytes)]
        self._run(source, [*streams, *options], original, rules.max_bytes)
        small = self.poster(original, folder)
        made = self._probe(original)
        if made.video is None:
            raise UnusableImage(Reason.NOT_CONVERTIBLE, "what ffmpeg made of it shows nothing")
        return Moving(
            "video/mp4",
            {ORIGINAL: original, "small": small},
            {
                ORIGINAL: _video_meta(probe),
                "small": _picture_meta(small),
            },  # of what came, not of what was made (facts §13.6)
            blurhash(small.read_bytes()),
            VIDEO if probe.audio is not None else GIFV,
        )

    def _audio(self, source: Path, probe: _Probe, rules: MovingRules, folder: Path) -> Moving:
        if probe.audio is None:
            raise UnusableImage(Reason.NOT_MEDIA, "neither moving pictures nor sound")
        if _is_video_container(source):
            raise UnusableImage(Reason.BAD_TYPE, "a video without pictures")
        original = folder / "original.mp3"
        options = ["-map", "0:a:0", "-vn", "-map_metadata", "-1", "-c:a", "libmp3lame", "-q:a", "2"]
        self._run(source, [*options, "-fs", str(rules.max_bytes)], original, rules.max_bytes)
        made = self._probe(original)
        meta = {ORIGINAL: {"duration": made.duration, "bitrate": made.bitrate}}
        return Moving("audio/mpeg", {ORIGINAL: original}, meta, None, AUDIO)

    def _probe(self, source: Path) -> _Probe:
        command = [self._ffprobe, "-v", "error", *guards(FORMATS), "-show_format", "-show_streams", "-of", "json"]
        done = run([*command, "-i", f"file:{source}"], seconds=_PROBE_S, memory=_PROBE_BYTES)
        if done.returncode != 0:
            raise UnusableImage(Reason.NOT_MEDIA, _words(done, source))
        found = json.loads(done.stdout)
        container, streams = found.get("format", {}), found.get("streams", [])
        pictures = [s for s in streams if s.get("codec_type") == "video"]
        covers = [s for s in pictures if s.get("disposition", {}).get("attached_pic")]
        sounds = [s for s in streams if s.get("codec_type") == "audio"]
        return _Probe(
            frozenset(str(container.get("format_name", "")).split(",")),
            float(container.get("duration") or 0),
            int(container.get("bit_rate") or 0),
            next((s for s in pictures if s not in covers), None),
            next(iter(sounds), None),
            next(iter(covers), None),
        )

    def _run(self, source: Path, options: Sequence[str], target: Path, output: int) -> None:
        command = [self._ffmpeg, "-nostdin", "-v", "error", "-y", *guards(FORMATS), "-i", f"file:{source}"]
        # what it writes at the end for a quick start comes on top of what it may write
        done = run([*command, *options, f"file:{target}"], seconds=_CONVERT_S, output=2 * output + _PICTURE_BYTES)
        if done.returncode != 0 or not target.exists() or not target.stat().st_size:
            raise UnusableImage(Reason.NOT_CONVERTIBLE, _words(done, source))


def _words(done: subprocess.CompletedProcess[bytes], source: Path) -> str:
    text = done.stderr.decode(errors="replace").replace(str(source), "it").strip()
    return " ".join(text.split())[-200:] or "ffmpeg refuses it"


def _may_be_copied(probe: _Probe, rules: MovingRules) -> bool:
    """Whether the streams stay as they are and only the container is written anew."""
    video, audio = probe.video or {}, probe.audio
    return (
        bool(probe.formats & {"mp4", "ogg"})
        and video.get("codec_name") == "h264"
        and (audio is None or audio.get("codec_name") == "aac")
        and video.get("pix_fmt") in rules.copied_pixel_formats
    )


def _rate(video: Mapping[str, Any]) -> Fraction:
    try:
        return Fraction(frame_rate(video) or "0")
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def frame_rate(video: Mapping[str, Any]) -> str:
    """The average, or where that is 0/0, the rate the stream is said to have."""
    average = str(video.get("avg_frame_rate") or "0/0")
    return str(video.get("r_frame_rate") or "") if average == "0/0" else average


def _shown_size(video: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height as it is seen: a film that lies on its side is turned."""
    width, height = int(video.get("width", 0)), int(video.get("height", 0))
    turned = [side.get("rotation") for side in video.get("side_data_list", ())] + [video.get("tags", {}).get("rotate")]
    is_on_its_side = any(
        str(angle).lstrip("-").partition(".")[0] in ("90", "270") for angle in turned if angle is not None
    )
    return (height, width) if is_on_its_side else (width, height)


def _is_video_container(source: Path) -> bool:
    """Whether the file says of itself that it is a film: MP4 and QuickTime do, unless they are a sound's."""
    with source.open("rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] not in (b"M4A ", b"M4B ", b"M4P ")


def _picture_meta(picture: Path) -> dict[str, object]:
    found = header(picture.read_bytes())
    return Size(found.width, found.height).meta()


def _video_meta(probe: _Probe) -> dict[str, object]:
    video = probe.video or {}
    width, height = _shown_size(video)
    return {
        "width": width,
        "height": height,
        "frame_rate": frame_rate(video),
        "duration": probe.duration,
        "bitrate": probe.bitrate,
    }
