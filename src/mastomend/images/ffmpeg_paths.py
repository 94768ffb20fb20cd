"""Where ffmpeg is, as Mastodon finds it (facts §3.1). Loads nothing else: a check by size needs no libvips."""

from __future__ import annotations

import shutil
from collections.abc import Mapping


def find_ffprobe(variables: Mapping[str, str]) -> str | None:
    """ffprobe as Mastodon finds it: `FFPROBE_BINARY`, then PATH (facts §3.1)."""
    return shutil.which(variables.get("FFPROBE_BINARY") or "ffprobe")


def find_ffmpeg(variables: Mapping[str, str]) -> str | None:
    """ffmpeg in the same way."""
    return shutil.which(variables.get("FFMPEG_BINARY") or "ffmpeg")
