"""Decoders of this machine for what the bundled libvips cannot decode: HEVC is patented, so wheels come without it.

Asked in this order: a system libvips, libheif's own program, ffmpeg. Each gets the file and nothing else, bounded like every
program that reads a stranger's file.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mastomend.images.decode import UnusableImage
from mastomend.images.programs import run
from mastomend.images.styles import Decoder

_SECONDS = 60
_OUTPUT = 256 * 1024 * 1024


def decoders(ffmpeg: str | None) -> Sequence[Decoder]:
    """What this machine has."""
    found = []
    if vips := shutil.which("vips"):
        found.append([vips, "copy", "{source}", "{target}"])
    if convert := shutil.which("heif-convert") or shutil.which("heif-dec"):
        found.append([convert, "{source}", "{target}"])
    if ffmpeg is not None:
        guards = ["-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file"]
        found.append([ffmpeg, *guards, "-i", "file:{source}", "-frames:v", "1", "file:{target}"])
    return [partial(_decode, command) for command in found]


def _decode(command: Sequence[str], data: bytes) -> bytes | None:
    with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
        source, target = Path(folder) / "picture.heic", Path(folder) / "picture.png"
        source.write_bytes(data)
        words = [word.format(source=source, target=target) for word in command]
        try:
            done = run(words, seconds=_SECONDS, output=_OUTPUT)
        except UnusableImage:
            return None
        return target.read_bytes() if done.returncode == 0 and target.is_file() else None
