"""What Mastodon's caches and the CDN must hear about a change (facts §10)."""

from __future__ import annotations

from mastomend.actions.actions import Action, CopyFile, EnqueueJob, ForgetCached, PutFile
from mastomend.actions.plan import Plan, changes_a_row
from mastomend.database.rows import read_cached_under
from mastomend.mastodon.jobs import busted_address, cache_buster_job
from mastomend.mastodon.urls import public_url
from mastomend.restore.case import Means
from mastomend.vocabulary import Target


def told(plan: Plan, t: Target, means: Means, run: str) -> list[Action]:
    """The actions that tell them, after those of the plan; none where Redis does not answer."""
    if not means.caches_answer:
        return []
    actions: list[Action] = []
    if changes_a_row(plan.actions):
        keys = read_cached_under(means.database, t.kind, t.row.record.id)
        actions += [ForgetCached(keys)] if keys else []
    if means.variables.get("CACHE_BUSTER_ENABLED") == "true":
        for action in plan.actions:
            if isinstance(action, PutFile | CopyFile):
                url = public_url(action.key, means.configuration, means.variables)
                address = busted_address(action.key, url, means.configuration.storage, means.database.version)
                actions.append(EnqueueJob(cache_buster_job(address, run)))
    return actions
