"""Mastodon's web processes on this machine, as far as the kernel shows them."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: How Puma names itself and its workers: `puma 6.4 (tcp://…) [mastodon]`, `puma: cluster worker 0: …`.
_PUMA = b"puma"


def web_started(home: Path, proc: Path = Path("/proc")) -> list[float]:
    """When each of Puma's processes here began (seconds since 1970), but for those that run in another directory than `home`.

    There are none where it runs elsewhere, or in a container.
    """
    try:
        booted = time.time() - float((proc / "uptime").read_text(encoding="ascii").split()[0])
        found = [one for one in proc.iterdir() if one.name.isdecimal() and _is_puma(one) and _may_be_at(one, home)]
    except (OSError, ValueError):
        return []
    began = (_ticks(one) for one in found)
    return sorted(booted + ticks / os.sysconf("SC_CLK_TCK") for ticks in began if ticks is not None)


def _is_puma(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False
    return words[0].split(b" ")[0].rstrip(b":") == _PUMA


def _may_be_at(process: Path, home: Path) -> bool:
    try:
        return (process / "cwd").samefile(home)
    except OSError:  # another user's does not tell: Mastodon's, if that user owns Mastodon's directory
        return _owner(process) == _owner(home)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _ticks(process: Path) -> int | None:
    """When it began, in ticks since the machine did: field 22, behind a name that may hold anything."""
    try:
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
