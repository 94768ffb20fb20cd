"""One line that names what this machine lacks and the tests therefore left out."""

from __future__ import annotations

import os
import shutil

PROGRAMS = (
    "ffmpeg",
    "ffprobe",
    "sidekiq",
    "npm",
    "vipsthumbnail",
    "vips",
    "heif-enc",
    "openssl",
    "pgbouncer",
    "systemd-analyze",
)

missing = [name for name in PROGRAMS if not shutil.which(name)] + (["root"] if os.geteuid() else [])
print(f"skipped for want of: {', '.join(missing)}" if missing else "nothing was skipped")
