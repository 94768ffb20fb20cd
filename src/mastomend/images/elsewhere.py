"""Decoders of this machine for what the bundled libvips cannot decode: HEVC is patented, so wheels come without it.

Asked in this order: a system libvips, libheif's own program, ffmpeg. Each gets the file and nothing else, bounded like every
program that reads a stranger's file.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mastomend.images.decode import UnusableImage
from mastomend.images.programs import guards, run
from mastomend.images.styles import Decoder

#: Each may take as much memory as a film: they are few, and wait for one another.
_ONE_AT_A_TIME = threading.Lock()
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
        options = ["-nostdin", "-v", "error", "-y", *guards("mov,mp4,m4a,3gp,3g2,mj2")]
        found.append([ffmpeg, *options, "-i", "file:{source}", "-frames:v", "1", "file:{target}"])
    return [partial(_decode, command) for command in found]


def _decode(command: Sequence[str], data: bytes) -> bytes | None:
    with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
        source, target = Path(folder) / "picture.heic", Path(folder) / "picture.png"
        source.write_bytes(data)
        words = [word.format(source=source, target=target) for word in command]
        try:
            with _ONE_AT_A_TIME:
                done = run(words, seconds=_SECONDS, output=_OUTPUT)
        except UnusableImage:
            return None
        return target.read_bytes() if done.returncode == 0 and target.is_file() else None
