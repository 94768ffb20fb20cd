"""Which files a deep check reads: a pure choice.

Every file has a fixed place in [0, 100) derived from its kind, id and style, and a slice of `percent` is taken
beginning at `seed × percent`. The same seed therefore always chooses the same files, however often a scan is
interrupted, and successive seeds walk through everything: ten nights of `--deep=10` read it all.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Which files a deep check reads. `percent` in (0, 100]."""

    percent: float = 100.0
    seed: int = 0

    def chooses(self, kind: str, record_id: int, style: str) -> bool:
        """Whether this file is in the slice."""
        place = zlib.crc32(f"{kind}/{record_id}/{style}".encode()) / 2**32 * 100
        return (place - self.seed * self.percent) % 100 < self.percent
