"""Plans that take a run's plans back, each made by looking at the world as it is now.

A row goes back only if it still is as the run left it; a file comes back from the quarantine only where nothing is by now.
Whatever was changed since is a conflict, known before anything of that record is touched. An undo that stopped half way is
gone on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mastomend.actions.actions import (
    MEDIA,
    Action,
    Irreversible,
    PreserveFile,
    QuarantineFile,
    RestoreFile,
    RestorePost,
    SetColumns,
    SetServing,
    Writing,
    inverse,
)
from mastomend.actions.journal import Kept
from mastomend.actions.perform import happened, holds, same_bytes
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.run import BATCH, record_name
from mastomend.actions.trouble import Conflict, is_everybody_s, trouble
from mastomend.actions.world import World
from mastomend.outcomes import Refused, Restored, Verdict
from mastomend.reasons import Reason
from mastomend.storage.ports import MISSING
from mastomend.vocabulary import Owned


def of_different_rows(plans: Iterable[Kept]) -> Iterator[list[Kept]]:
    """Batches in which no row comes twice: an older change of a row is looked at when the newer ones are taken back."""
    some: list[Kept] = []
    rows: set[str] = set()
    for kept in plans:
        name = record_name(kept.plan.subject)
        if name in rows or len(some) == BATCH:
            yield some
            some, rows = [], set()
        some.append(kept)
        rows.add(name)
    if some:
        yield some


@dataclass(frozen=True, slots=True)
class TakingBack:
    """Makes the plans that take a run's plans back."""

    world: World
    run: str
    refused: dict[str, set[str]] = field(default_factory=dict)

    def foreseen(self, kept: Kept) -> Plan:
        """A dry run's plan: what came after it is still there, and would be gone by then, unless it is refused. Then what it
        changed stays, too, and what is about other columns or files is looked at as it is.
        """
        name = record_name(kept.plan.subject)
        columns = {column for action in kept.performed if isinstance(action, SetColumns) for column in action.after}
        stays = kept.is_followed and name in self.refused
        if stays and columns & self.refused[name]:
            self.refused[name] |= columns
            verdict = Refused(Reason.CONFLICT, "a later change of the same row stays")
            return Plan(kept.plan.subject, verdict, (), Rule.TAKE_BACK, kept.number)
        plan = self.plan(kept, rows=stays or not kept.is_followed, files=stays or not kept.is_replaced)
        if isinstance(plan.verdict, Refused):
            self.refused.setdefault(name, set()).update(columns)
        return plan

    def plan(self, kept: Kept, *, rows: bool = True, files: bool = True) -> Plan:
        """The plan that takes that one back. Without `rows`, or `files`, those are not looked at."""
        verdict: Verdict = Restored(Reason.UNDONE)
        actions: Sequence[Action] = ()
        try:
            found = [inverse(action, self.run, self.world.key_prefix) for action in kept.performed[::-1]]
            final = [one for one in found if isinstance(one, Irreversible)]
            possible = [one for one in found if not isinstance(one, Irreversible)]
            if not self.world.has(possible):
                named = {getattr(one, "place", MEDIA) for one in possible}
                away = ", ".join(sorted(place for place in named if place not in self.world.places))
                raise Conflict(f"{away} is not at hand: Mastodon's settings do not name it")
            actions = self._still_possible(kept, possible, look_at_rows=rows) if files else possible
            if final:
                told = "; ".join(str(one) for one in final)
                verdict = replace(verdict, detail=told) if actions else Refused(Reason.IRREVERSIBLE, told)
        except Conflict as conflict:
            verdict = Refused(conflict.reason, str(conflict))
        except Exception as error:
            if is_everybody_s(error):
                raise
            met = trouble(error)
            verdict = Refused(met.reason, met.detail)
        return Plan(kept.plan.subject, verdict, tuple(actions), Rule.TAKE_BACK, kept.number)

    def _still_possible(self, kept: Kept, actions: Sequence[Action], *, look_at_rows: bool) -> Sequence[Action]:
        """The inverse actions. Where an earlier undo has set the row back and no more, what is left of it.

        Raises:
            Conflict: the row was changed since, a file is no longer the one that was written, or what should come back
                is not in the quarantine. Known before anything is touched, so that a conflict leaves a record whole.
        """
        done = [action for action in kept.performed[::-1] if look_at_rows or not isinstance(action, SetColumns)]
        rows = [action for action in done if isinstance(action, SetColumns)]
        if rows and all(self.world.rows.are(row.table, row.id, row.before) for row in rows):
            return [action for action in actions if self._is_left(kept, action)]
        for action in done:
            if isinstance(action, SetColumns) and not self.world.rows.are(action.table, action.id, action.after):
                raise Conflict(f"{action.table} {action.id} was changed by somebody else meanwhile")
            if isinstance(action, Writing) and not holds(self.world, action):
                is_gone = self.world.store(action.place).sizes([action.key])[0] == MISSING
                raise Conflict(
                    f"{action.key} is {'there no more' if is_gone else 'no longer the file that was written'}"
                )
            if isinstance(action, RestoreFile):
                (there,) = self.world.store(action.place).sizes([action.key])
                if there == MISSING:
                    raise Conflict(f"{action.key} is there no more")
                if action.size is not None and there != action.size:
                    raise Conflict(
                        f"{action.key} is another file than the one that was brought back: it may have been mended since"
                    )
        self._look(actions)
        return [self._measured(action) for action in actions]

    def _measured(self, action: Action) -> Action:
        """What comes back, with its size: whoever takes this back moves nothing else."""
        if not isinstance(action, RestoreFile):
            return action
        return replace(action, size=self.world.store(action.place).sizes([action.quarantine])[0])

    def _is_left(self, kept: Kept, action: Action) -> bool:
        """Whether an undo that stopped half way, after the row, still has that to do.

        Raises:
            Conflict: what lies there is neither what the run wrote nor what it kept.
        """
        if not isinstance(action, QuarantineFile):
            return not happened(self.world, action)
        store = self.world.store(action.place)
        if store.sizes([action.key])[0] == MISSING:
            return False
        for done in kept.performed:
            if isinstance(done, Writing) and done.key == action.key and not holds(self.world, done):
                older = [a.quarantine for a in kept.performed if isinstance(a, PreserveFile) and a.key == action.key]
                if older and store.sizes(older)[0] == MISSING:
                    return False  # it is back already
                raise Conflict(f"{action.key} is no longer the file that was written")
        return True

    def _look(self, actions: Iterable[Action]) -> None:
        moving = [action.key for action in actions if isinstance(action, QuarantineFile)]
        for key, owner in zip(moving, self.world.owners.of(moving) if moving else (), strict=True):
            if isinstance(owner, Owned) and owner.is_local:
                said = f"{key} belongs to one of your own users, and no file of theirs is ever taken away"
                raise Conflict(said, Reason.OWN_FILE)
        shown = [action.key for action in actions if isinstance(action, SetServing) and action.after.is_public]
        for key, is_hidden in zip(shown, self.world.owners.hidden(shown) if shown else (), strict=True):
            if is_hidden:
                raise Conflict(f"{key} stays hidden: Mastodon keeps it from the public")
        moved_away = set(moving)
        for restored in actions:
            if isinstance(restored, RestorePost) and not self.world.archive().holds(restored.archive):
                said = f"the archive {restored.archive} is gone (cleanup removes it with its run)"
                raise Conflict(said, Reason.PURGED)
            if isinstance(restored, RestoreFile):
                store = self.world.store(restored.place)
                at_key, at_quarantine = store.sizes([restored.key, restored.quarantine])
                if at_quarantine == MISSING:
                    raise Conflict(f"{restored.key} is no longer in the quarantine (cleanup)", Reason.PURGED)
                is_there = at_key != MISSING and restored.key not in moved_away
                if is_there and not same_bytes(store, restored.key, restored.quarantine):
                    raise Conflict(f"there is a file at {restored.key} again")
