"""After an action failed, or a crash: back to the old truth, or on to the new one, as the plan's rule says (`plan.Rule`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mastomend.actions.actions import Action, Delete, PreserveFile, QuarantineFile, SetColumns, Writing
from mastomend.actions.journal import Journal, Kept
from mastomend.actions.perform import clear, happened, holds, perform
from mastomend.actions.plan import Plan, Rule, changes_a_row
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.trouble import Conflict, is_everybody_s, trouble
from mastomend.actions.world import World
from mastomend.errors import ObjectError
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Copied, Purged, Refused, SetAside, Verdict
from mastomend.storage.ports import MISSING
from mastomend.vocabulary import Done, Foreign, Owned


def is_left_over(plan: Plan, position: int) -> bool:
    """Whether that action only removes what no row means any more: where it fails, that is told and no more."""
    return isinstance(plan.actions[position], QuarantineFile | Delete) and changes_a_row(plan.actions[:position])


def achieved(plan: Plan, positions: Iterable[int], detail: str = "") -> Verdict:
    """The plan's verdict. Where every action stands for itself, with what was really done."""
    verdict = plan.verdict
    if plan.rule.is_whole or not isinstance(verdict, SetAside | Copied | Purged):
        return replace(verdict, detail=detail) if detail else verdict
    done = [plan.actions[position] for position in positions]
    size = sum(getattr(action, "size", None) or 0 for action in done)
    return replace(verdict, files=len(done), bytes=size, detail=detail)


def failed(plan: Plan, error: Exception) -> Verdict:
    """The verdict of a plan whose action met that."""
    if isinstance(error, Conflict) and plan.rule not in (Rule.MEND, Rule.EVICT):
        return Refused(error.reason, str(error), plan.verdict.source)
    verdict = trouble(error, plan.verdict.source)
    if plan.rule is Rule.TAKE_BACK:  # an undo is asked for again by hand
        return Refused(verdict.reason, verdict.detail)
    return verdict


def roll_back(world: World, journal: Journal, run: str, kept: Kept) -> None:
    """Back to the old truth: what was overwritten comes back, what was not there before goes to the quarantine.

    Once the row is changed the new truth holds and nothing is taken back. Where no row was to be changed, every file
    written is what its row already expects: it stays. May be repeated after a crash.
    """
    plan = kept.plan
    writes = [action for action in plan.actions if isinstance(action, Writing)]
    if plan.rule is not Rule.MEND or not writes or not changes_a_row(plan.actions) or changes_a_row(kept.performed):
        return
    preserved = {a.key: a.quarantine for a in plan.actions if isinstance(a, PreserveFile)}
    for action in reversed(writes):
        if not holds(world, action):
            continue
        store = world.store(action.place)
        older = preserved.get(action.key)
        if older is not None and store.sizes([older])[0] != MISSING:
            _move(world, action, older, action.key, private=False, replace=True)
        elif older is None and _may_leave(world, action.key, plan):
            _move(world, action, action.key, quarantine_key(run, action.key, world.key_prefix), private=True)
    journal.rolled_back(run, kept.number)


def _may_leave(world: World, key: Key, plan: Plan) -> bool:
    """Whether a file that we wrote may be put aside again. Not if the row was to name it and does."""
    renames = any(name.endswith("file_name") for a in plan.actions if isinstance(a, SetColumns) for name in a.after)
    match world.owners.of([key])[0]:
        case Owned(is_local=is_local):
            return not is_local and not renames
        case Foreign():
            return False
        case _:
            return True


def _move(world: World, action: Writing, source: Key, target: Key, *, private: bool, replace: bool = False) -> None:
    (answer,) = world.store(action.place).move([(source, target)], private=private, replace=replace)
    if answer is not None:
        raise answer


def recover(world: World, journal: Journal, run: str, kept: Kept, now: float) -> Done | None:
    """Settle a plan a crash left. What became of its subject, or None if it is as it was and may be planned again.

    What can be neither finished nor taken back is a verdict, too: it must not stop every later run.

    Raises:
        MastomendError: everybody's trouble; the plan stays open.
    """
    plan = kept.plan
    try:
        for position, action in enumerate(plan.actions):
            if position not in kept.done:
                clear(world, action)
        return _settle(world, journal, run, kept, now)
    except Exception as error:
        if is_everybody_s(error):
            raise
        told = failed(plan, error)
        return Done(
            plan.subject,
            replace(told, detail=f"a change that was cut off cannot be settled: {told.detail}"),
            plan.part,
        )


def _settle(world: World, journal: Journal, run: str, kept: Kept, now: float) -> Done | None:
    plan = kept.plan
    match plan.rule:
        case Rule.MEND if not all(holds(world, action) for action in plan.actions if isinstance(action, Writing)):
            lost = [p for p, action in _not_done(kept) if isinstance(action, SetColumns) and happened(world, action)]
            kept = _tick(journal, run, kept, lost)
            roll_back(world, journal, run, kept)
        case Rule.EVICT if not any(
            p in kept.done or happened(world, a) for p, a in enumerate(plan.actions) if isinstance(a, SetColumns)
        ):
            pass  # nothing has happened
        case Rule.MEND | Rule.EVICT | Rule.TAKE_BACK:
            return _finish(world, journal, run, kept, now)
        case Rule.SET_ASIDE | Rule.TRANSFER | Rule.PURGE:
            kept = _tick(journal, run, kept, [p for p, action in _not_done(kept) if happened(world, action)])
            if kept.done:
                return Done(plan.subject, achieved(plan, kept.done), plan.part)
    journal.abandon(run, kept.number)
    return None


def _finish(world: World, journal: Journal, run: str, kept: Kept, now: float) -> Done:
    plan = kept.plan
    for position, action in _not_done(kept):
        if not happened(world, action):
            (answer,) = perform(world, [action], now)
            if answer is not None:
                if isinstance(answer, Conflict | ObjectError) and is_left_over(plan, position):
                    continue
                done = [p for p, a in enumerate(plan.actions) if p in kept.done or happened(world, a)]
                roll_back(world, journal, run, replace(kept, done=frozenset(done)))
                return Done(plan.subject, failed(plan, answer), plan.part)
        kept = _tick(journal, run, kept, [position])
    return Done(plan.subject, plan.verdict, plan.part)


def _not_done(kept: Kept) -> list[tuple[int, Action]]:
    return [(position, action) for position, action in enumerate(kept.plan.actions) if position not in kept.done]


def _tick(journal: Journal, run: str, kept: Kept, positions: Sequence[int]) -> Kept:
    """Ticks that were lost, or are new."""
    journal.done(run, [(kept.number, position) for position in positions])
    return replace(kept, done=kept.done | set(positions))
