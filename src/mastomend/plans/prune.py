"""How a cached record is let go: its row names no file any more, just as when Mastodon clears it, then its files go for good.

The row first: whoever looks meanwhile makes Mastodon fetch the file again, and never gets a broken one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mastomend.actions.actions import Action, Delete, ForgetCached, SetColumns
from mastomend.actions.plan import Plan, Rule
from mastomend.mastodon.clearing import emptied
from mastomend.mastodon.keys import Key
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Deferred, Evicted, Refused, Verdict
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf


def evict(
    subject: RowOf,
    kinds: Sequence[Kind],
    columns: Mapping[str, str | None],
    files: Iterable[tuple[Key, int]],
    why: Reason,
    forget: tuple[str, ...] = (),
) -> Plan:
    """The plan for one row. `columns` are those that are emptied, as they are now; `files` (key, size) those that are there."""
    before = {name: columns[name] for kind in kinds for name in emptied(kind)}
    held = list(files)
    actions: list[Action] = [SetColumns(subject.table, subject.id, before, dict.fromkeys(before))]
    actions += [Delete(key, size) for key, size in held]
    if forget:
        actions.append(ForgetCached(forget))
    verdict = Evicted(why, files=len(held), bytes=sum(size for _, size in held))
    return Plan(subject, verdict, tuple(actions), Rule.EVICT)


def spare(subject: RowOf, verdict: Verdict) -> Plan:
    """It stays, for that reason."""
    return Plan(subject, verdict, (), Rule.EVICT)


def untouchable(*, is_local: bool, in_flight: bool, suspended: bool, used: int | None, planned: int) -> Verdict | None:
    """Why a record that was to go stays, as it is now; None if it goes. `planned` is when it was used, as known then."""
    if is_local:
        return Refused(Reason.LOCAL, "it belongs to one of this server's own users")
    if in_flight:
        return Deferred(Reason.IN_FLIGHT, "Mastodon is changing it right now")
    if suspended:
        return Refused(Reason.SUSPENDED, "the account is suspended: Mastodon removes its files itself")
    if used is not None and used > planned:
        return Refused(Reason.USED, "it was fetched or changed since it was chosen")
    return None
