"""What decoding takes at most, measured on processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.budget


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
def test_memory_has_a_bound_whatever_comes(form: str, tmp_path: Path) -> None:
    """F32: twelve threads, each with the largest picture there may be; the process stays below 700 MB in all."""
    script = tmp_path / "many.py"
    script.write_text(_MANY)
    for step in ("make", "measure"):  # in two processes: making one takes memory, too
        command = [sys.executable, str(script), step, form, str(tmp_path / "picture")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    megabytes = int(done.stdout)
    assert megabytes < 700, f"{megabytes} MB"


_MANY = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import mastomend.images, pyvips
from mastomend.images.styles import produce
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.kinds import MEDIA_FILES
from mastomend.mastodon.processing import image_rules
from mastomend.mastodon.versions import Version
step, form, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
if step == "make":
    side = (16_000, 2_000) if form == "webp" else (7_680, 4_320)
    image = pyvips.Image.black(*side, bands=3).copy(interpretation="srgb")
    match form:
        case "jpeg":
            data = image.jpegsave_buffer(interlace=True)
        case "png":
            data = image.pngsave_buffer(interlace=True, compression=1)
        case "webp":
            data = image.webpsave_buffer(effort=0)
        case _:
            data = image.heifsave_buffer(compression="av1", effort=0)
    path.write_bytes(data)
    sys.exit()
data = path.read_bytes()
rules = image_rules(MEDIA_FILES, Version("4.5", ""), Limits())
with ThreadPoolExecutor(12) as threads:
    list(threads.map(lambda _: produce(MEDIA_FILES, rules, data), range(4 if form == "avif" else 12)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
