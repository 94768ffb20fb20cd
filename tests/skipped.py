"""One line that names what this machine lacks and the tests therefore left out."""

from __future__ import annotations

import os
import shutil

missing = [name for name, there in (("ffprobe", shutil.which("ffprobe")), ("root", os.geteuid() == 0)) if not there]
print(f"skipped for want of: {', '.join(missing)}" if missing else "nothing was skipped")
