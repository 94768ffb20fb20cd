"""What `guard` sees of a bucket: what it holds, by the newest count of `usage`, and what a month of it costs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import datetime, timedelta

from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.commands.costs import price
from mastomend.commands.guard_report import GuardOptions, GuardReport
from mastomend.commands.instance import Instance
from mastomend.commands.policy import Wishes
from mastomend.plans.prices import dollars

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


def look_at_bill(
    instance: Instance, options: GuardOptions, report: GuardReport, wishes: Wishes, now: datetime
) -> Wishes:
    """What a month costs by the newest count; over its mark, what has to go is asked for."""
    known, held = price(instance), counted(instance, now)
    most = options.marks.bill_usd
    if known is None or held is None:
        if most is not None:
            what = (
                "no price is known (mastomend-prices.toml)"
                if known is None
                else "nothing was counted lately (run usage)"
            )
            report.warnings.append(f"What a month costs cannot be said: {what}.")
        return wishes
    report.usd_month = known.month(held)
    if most is None or report.usd_month is None or report.usd_month <= most:
        return wishes
    report.passed.append(f"A month costs {dollars(report.usd_month)}; the mark is {dollars(most)}.")
    fits = known.most_for(most, held)
    if fits is None:
        report.warnings.append(
            f"At {known.name} a month costs more than the mark whatever is kept: its minimum is billed."
        )
        return wishes
    report.needed = held - fits
    return replace(wishes, policy=replace(wishes.policy, to_free=held - fits))
