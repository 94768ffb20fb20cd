"""Running a command and watching it: wall time, and the peak memory of it and all its children together."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_S = 0.1


def _descendants(root: int) -> list[int]:
    found, queue = [root], [root]
    while queue:
        parent = queue.pop()
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        except OSError:
            continue
        found += children
        queue += children
    return found


def _rss(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


@dataclass
class Run:
    """One finished command: wall time, peak resident bytes of its whole process tree (0 if not watched), stdout.

    `cpu_s` is its processor time, and `memory` what its tree held at every look."""

    seconds: float
    peak: int
    out: str
    cpu_s: float = 0.0
    memory: tuple[int, ...] = ()

    def memory_after(self, share: float) -> int:
        """Resident bytes when that share of the run was over; 0 if it was not watched."""
        return self.memory[min(int(share * len(self.memory)), len(self.memory) - 1)] if self.memory else 0


def run(command: list[str], *, memory: bool = True, env: dict[str, str] | None = None) -> Run:
    """Run a command to its end. Watching its memory costs processor time: leave it out where that would be missed."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL_S):
            seen.append(_rss(_descendants(process.pid)))

    watcher = threading.Thread(target=watch, daemon=True)
    if memory:
        watcher.start()
    out, err = process.communicate()
    seconds = time.perf_counter() - started
    ended.set()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command} failed:\n{err}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, max(seen, default=0), out, cpu, tuple(seen))


def drop_caches() -> bool:
    """Forget what the kernel has read; False where that is not allowed."""
    pressure = Path("/proc/sys/vm/vfs_cache_pressure")  # set low, it keeps what should be dropped
    try:
        os.sync()
        before = pressure.read_text()
        try:
            pressure.write_text("100\n")
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
        finally:
            pressure.write_text(before)
    except OSError:
        return False
    return True


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "python": platform.python_version(),
    }


def report(name: str, rows: list[dict[str, object]], **facts: object) -> None:
    """A table for people, then one JSON object."""
    columns = list(rows[0])
    widths = [max(len(c), *(len(str(r[c])) for r in rows)) for c in columns]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for row in rows:
        print("  ".join(str(row[c]).ljust(w) for c, w in zip(columns, widths, strict=True)))
    print(json.dumps({"bench": name, "machine": machine(), "rows": rows, **facts}))
