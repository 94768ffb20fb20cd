"""What a bucket holds, by the newest count of `usage`, for the bill."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timedelta

from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.commands.instance import Instance

#: A count of what the bucket holds that is older tells of no bill.
_COUNTED = timedelta(days=8)


def counted(instance: Instance, now: datetime) -> int | None:
    """Bytes by the newest count of `usage`."""
    counts = []
    for path in (instance.state / "scans").glob("*/usage.json"):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            counts.append((datetime.fromisoformat(kept["at"]), int(kept["bytes"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    young = [one for one in counts if now - one[0] <= _COUNTED]
    if not young:
        return None
    at, held = max(young)
    return max(0, held - _freed_since(instance, at))


def _freed_since(instance: Instance, at: datetime) -> int:
    """What prunings have freed since then: the count does not know of it."""
    if not journal_path(instance.state).exists():
        return 0
    with contextlib.closing(Journal(instance.state)) as journal:
        prunings = [run for run in journal.runs() if run.command == "prune" and run.finished_at]
    return sum(int(run.summary.get("bytes") or 0) for run in prunings if datetime.fromisoformat(run.started_at) > at)
