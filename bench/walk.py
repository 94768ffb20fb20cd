"""Walking a disk as `orphans` will: our processes against `find` and `os.walk`, on the tree of check_local.

python bench/walk.py FOLDER    (the folder given to check_local --folder)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import report

from mastomend.storage.filesystem import FilesystemStore


def ours(root: Path) -> int:
    store = FilesystemStore(str(root))
    found = sum(batch.num_rows for batch in store.list(""))
    store.close()
    return found


def find(root: Path) -> int:
    done = subprocess.run(["find", root, "-type", "f", "-printf", "%s %p\n"], capture_output=True, check=True)
    return done.stdout.count(b"\n")


def plain(root: Path) -> int:
    return sum(os.stat(os.path.join(folder, name)).st_size > -1 for folder, _, names in os.walk(root) for name in names)


def main(folder: str) -> None:
    root = Path(folder) / "system"
    rows: list[dict[str, object]] = []
    for who, walk in (("find", find), ("os.walk", plain), ("mastomend", ours)):
        seconds, files = [], walk(root)  # the first time warms the disk
        for _ in range(2):
            started = time.perf_counter()
            assert walk(root) == files
            seconds.append(time.perf_counter() - started)
        rows.append(
            {"who": who, "seconds": round(statistics.median(seconds), 2), "files/s": round(files / min(seconds))}
        )
    report("walk", rows, files=files)


if __name__ == "__main__":
    main(sys.argv[1])
