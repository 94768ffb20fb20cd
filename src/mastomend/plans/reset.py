"""Letting Mastodon fetch a record again: its columns are emptied, and a job asks for it, or the next occasion does. Pure.

Mastodon downloads only what has no file name (facts §0.3). What will then fetch a record, and when, differs by kind; for
some nothing ever will, and those are refused rather than emptied.
"""

from __future__ import annotations

from collections.abc import Mapping

from mastomend.actions.actions import Action, EnqueueJob, QuarantineFile, SetColumns
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.mastodon.clearing import OCCASIONS, emptied
from mastomend.mastodon.jobs import Job
from mastomend.outcomes import Deferred, Source
from mastomend.plans.repair import subject
from mastomend.reasons import Reason
from mastomend.vocabulary import Target


def plan_reset(
    t: Target,
    columns: Mapping[str, str | None],
    present: Mapping[str, int],
    job: Job | None,
    at: float,
    run: str,
    key_prefix: str,
) -> Plan:
    """Empty the columns (guarded), put aside what no row will name any more, hand the job over.

    `columns` are the row's as text, `present` its keys that hold something; `at` is when the job may begin, 0 at once.
    """
    names = emptied(t.kind)
    actions: list[Action] = [
        SetColumns(t.kind.table, t.row.record.id, {n: columns[n] for n in names}, dict.fromkeys(names))
    ]
    actions += [QuarantineFile(f.key, quarantine_key(run, f.key, key_prefix)) for f in t.files if f.key in present]
    if job is not None:
        actions.append(EnqueueJob(job, at))
    if job is None:
        verdict = Deferred(Reason.RESET, f"Mastodon fetches it {OCCASIONS[t.kind.name]}", Source.ORIGIN)
    else:
        verdict = Deferred(Reason.HANDED_OVER, f"Mastodon has the job {job.jid}", Source.ORIGIN)
    return Plan(subject(t), verdict, tuple(actions), Rule.EVICT)
