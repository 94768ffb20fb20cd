"""One line that names what this machine lacks and the tests therefore left out."""

from __future__ import annotations

import os
import shutil
import subprocess

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


def builds(name: str) -> bool:
    """Whether that builder of containers is there, and answers."""
    return bool(shutil.which(name)) and not subprocess.run([name, "info"], capture_output=True, check=False).returncode


missing = [name for name in PROGRAMS if not shutil.which(name)] + (["root"] if os.geteuid() else [])
if not any(map(builds, ("docker", "podman", "buildah"))):
    missing.append("a builder of containers")
print(f"skipped for want of: {', '.join(missing)}" if missing else "nothing was skipped")
