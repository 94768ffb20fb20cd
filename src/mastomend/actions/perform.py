"""Doing actions, many at once: what can be asked, moved, deleted or set together is.

An action that finds the world changed, or meets an obstacle of its own, has that as its answer; the others go on. Whatever
moves or deletes a file asks first, in one question for all of them, whom it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, assert_never

from mastomend.actions import proof
from mastomend.actions.actions import (
    MEDIA,
    Action,
    CancelJob,
    CopyFile,
    Delete,
    DeletePost,
    EnqueueJob,
    ForgetCached,
    Place,
    PreserveFile,
    PutFile,
    QuarantineFile,
    RestoreFile,
    RestorePost,
    SetColumns,
    SetServing,
    Transfer,
    Writing,
)
from mastomend.actions.quarantine import quarantine_prefix, waits_for
from mastomend.actions.trouble import Conflict, is_everybody_s
from mastomend.actions.world import ChangingStore, World
from mastomend.errors import UnreadableError
from mastomend.mastodon.keys import Key, below
from mastomend.reasons import Reason
from mastomend.storage.ports import MISSING, UNREADABLE
from mastomend.vocabulary import Foreign, Nobody, Owned, Ownership

#: What an action that was not done has for an answer.
Answer = Exception | None
_THREADS = 16
_Moving = TypeVar("_Moving", QuarantineFile, RestoreFile, Delete)


def perform(world: World, actions: Sequence[Action], now: float) -> list[Answer]:
    """Do them; they concern different subjects, so their order among each other is free. One answer for each.

    Raises:
        MastomendError: the storage, the database, Redis is lost, or a disk is full: some may have been done.
    """
    answers: list[Answer] = [None] * len(actions)
    groups: dict[tuple[type[Action], Place], list[int]] = {}
    for i, action in enumerate(actions):
        groups.setdefault((type(action), getattr(action, "place", MEDIA)), []).append(i)
    for group in groups.values():
        for i, answer in zip(group, _alike(world, [actions[i] for i in group], now), strict=True):
            answers[i] = answer
    return answers


def _alike(world: World, actions: Sequence[Action], now: float) -> Sequence[Answer]:
    match actions[0]:
        case QuarantineFile(place=place):
            return _quarantine(world, world.store(place), _all(actions, QuarantineFile))
        case RestoreFile(place=place):
            return _restore(world.store(place), _all(actions, RestoreFile))
        case Delete(place=place):
            return _delete(world, world.store(place), _all(actions, Delete))
        case DeletePost():
            return _conflicts(world.archive().delete(_all(actions, DeletePost)))
        case RestorePost():
            return _conflicts(world.archive().restore(_all(actions, RestorePost)))
        case SetColumns():
            return _conflicts(world.rows.set(_all(actions, SetColumns)))
        case SetServing():  # some requests each, and nothing that could be asked together
            with ThreadPoolExecutor(_THREADS, "serve") as threads:
                return list(threads.map(lambda action: _attempt(_one, world, action, now), actions))
        case _:
            return [_attempt(_one, world, action, now) for action in actions]


def _conflicts(said: Sequence[str | None]) -> list[Answer]:
    return [None if one is None else Conflict(one) for one in said]


_T = TypeVar("_T")


def _all(actions: Sequence[Action], sort: type[_T]) -> list[_T]:
    return [action for action in actions if isinstance(action, sort)]


def _attempt(act: Callable[..., None], *arguments: object) -> Answer:
    try:
        act(*arguments)
    except Exception as error:
        if is_everybody_s(error):
            raise
        return error
    return None


def _one(world: World, action: Action, now: float) -> None:  # noqa: C901 - one arm an action
    match action:
        case PutFile(key=key, data=data, content_type=content_type, place=place):
            if data is None:
                raise Conflict(f"{key} is not there as journaled")
            world.store(place).put(key, data, content_type)
        case CopyFile(key=key, source=source, digest=digest, place=place):
            store = world.store(place)
            if store.digest(source) != digest:
                raise Conflict(f"{source} is no longer the file that was to be copied")
            store.copy(source, key, private=False)
        case PreserveFile(key=key, quarantine=quarantine, place=place):
            _preserve(world.store(place), key, quarantine)
        case Transfer():
            if world.carrier is None:
                raise Conflict("only the command that began that copy can go on with it")
            world.carrier.carry()
        case SetServing(key=key, before=before, after=after, place=place):
            store = world.store(place)
            if store.serving(key) != before:
                raise Conflict(f"{key} is no longer handed out as it was")
            store.serve(key, after)
        case EnqueueJob(job=job, at=at):
            world.jobs.hand_over(job, now, at or None)
        case CancelJob(job=job):
            world.jobs.take_back(job)  # one that was begun is left to it: whether the row is still ours is asked there
        case ForgetCached(keys=keys):
            world.caches.forget(keys)
        case QuarantineFile() | RestoreFile() | Delete() | SetColumns() | DeletePost() | RestorePost():
            raise AssertionError("these are done together")
        case _:
            assert_never(action)


def _preserve(store: ChangingStore, key: Key, quarantine: Key) -> None:
    """Never over an older copy; one that is there counts only if it is the very file that is about to be overwritten."""
    (there,) = store.sizes([quarantine])
    if there == MISSING:
        store.copy(key, quarantine, private=True)
    elif there == UNREADABLE:
        raise UnreadableError(f"{quarantine} cannot be looked at: {store.obstacle(quarantine)}.")
    elif not same_bytes(store, key, quarantine):
        raise Conflict(f"another file is in the quarantine for {key}")


def same_bytes(store: ChangingStore, one: Key, other: Key) -> bool:
    """Whether two files are there and hold the same."""
    sizes = store.sizes([one, other])
    return sizes[0] == sizes[1] >= 0 and store.digest(one) == store.digest(other)


# --- moving and deleting ------------------------------------------------------------------------------------------


def _sorted_out(
    actions: Sequence[_Moving],
    judge: Callable[[_Moving, int], Answer | bool],
    do: Callable[[Sequence[_Moving]], Sequence[Answer]],
) -> list[Answer]:
    """`judge` says of each whether it is to be done (True), is done already (False), or why not; `do` does those left."""
    judged = [judge(action, i) for i, action in enumerate(actions)]
    done = iter(do([action for action, verdict in zip(actions, judged, strict=True) if verdict is True]))
    return [next(done) if verdict is True else verdict or None for verdict in judged]


def _quarantine(world: World, store: ChangingStore, actions: Sequence[QuarantineFile]) -> list[Answer]:
    owners = world.owners.of([action.proven or action.key for action in actions])
    sizes = store.sizes([action.key for action in actions])
    waiting = store.sizes([action.quarantine for action in actions])
    barred = proof.barred(world, actions, owners, sizes)
    taken: set[Key] = set()

    def judge(action: QuarantineFile, i: int) -> Answer | bool:
        if barred[i]:
            return Conflict(barred[i])
        if sizes[i] == MISSING and action.size is not None and waiting[i] == MISSING:
            return Conflict(f"{action.key} is gone")  # it was seen, and somebody else removed it
        if sizes[i] == MISSING:
            return False  # whoever removed it did our work
        if action.size is not None and sizes[i] != action.size:
            return Conflict(f"{action.key} is no longer the file that was seen")
        if waiting[i] != MISSING and not same_bytes(store, action.key, action.quarantine):  # a move that was cut off
            return Conflict(f"another file is in the quarantine for {action.key}")
        if action.quarantine in taken:
            return Conflict(f"another file goes to the quarantine for {action.key}")
        taken.add(action.quarantine)
        return True

    return _sorted_out(actions, judge, lambda left: _moved_aside(world, store, left))


def missed_of(world: World, waiting: Sequence[Key], key_prefix: str) -> dict[Key, Key]:
    """Of files in a quarantine, by their keys there, those a record expects in the instance's storage, and finds nothing."""
    base, ours = below(key_prefix), below(world.key_prefix)
    known = [
        (there, Key(ours + was.removeprefix(base)))
        for there in waiting
        if (was := waits_for(there, key_prefix)) is not None
    ]
    if not known:
        return {}
    owners = world.owners.of([was for _, was in known])
    owned = [pair for pair, owner in zip(known, owners, strict=True) if isinstance(owner, Owned)]
    sizes = world.store().sizes([was for _, was in owned])
    return {there: was for (there, was), size in zip(owned, sizes, strict=True) if size == MISSING}


def missed_by_a_record(key: Key) -> Conflict:
    """Why what waits in a quarantine stays there, for a file a record expects in vain."""
    said = (
        f"{key} is expected by a record and is not there: this stays until a repair, or an undo, has brought that back"
    )
    return Conflict(said, Reason.MISSED)


def _moved_aside(world: World, store: ChangingStore, left: Sequence[QuarantineFile]) -> list[Answer]:
    """Move them, then ask once more: what somebody has come to expect meanwhile goes back at once."""
    answers: list[Answer] = list(store.move([(a.key, a.quarantine) for a in left], private=True))
    proof.put_back(world, store, left, answers)
    asked = [i for i, a in enumerate(left) if answers[i] is None and not a.even_if_expected and a.place == MEDIA]
    owners = world.owners.of([left[i].key for i in asked]) if asked else []
    back = [i for i, owner in zip(asked, owners, strict=True) if isinstance(owner, Owned)]
    if back:
        returned = store.move([(left[i].quarantine, left[i].key) for i in back], private=False)
        for i, trouble in zip(back, returned, strict=True):
            answers[i] = trouble or Conflict(f"{left[i].key} is expected by a record")
    return answers


def _restore(store: ChangingStore, actions: Sequence[RestoreFile]) -> list[Answer]:
    at_keys = store.sizes([action.key for action in actions])
    waiting = store.sizes([action.quarantine for action in actions])

    def judge(action: RestoreFile, i: int) -> Answer | bool:
        if waiting[i] == MISSING:
            return Conflict(f"{action.quarantine} is no longer in the quarantine")
        if at_keys[i] == MISSING:
            return True
        if not same_bytes(store, action.key, action.quarantine):
            return Conflict(f"there is a file at {action.key} again")
        (left,) = store.delete([action.quarantine])  # a move that was cut off before its source went
        return left or False

    return _sorted_out(actions, judge, lambda left: store.move([(a.quarantine, a.key) for a in left], private=False))


def _delete(world: World, store: ChangingStore, actions: Sequence[Delete]) -> list[Answer]:
    """Of what waits in the quarantine it is asked whether somebody misses it; of anything else whose it is, and whether it is
    what was seen.
    """
    key_prefix = world.key_prefix if actions[0].place == MEDIA else ""  # a directory the media were in has none
    ours = quarantine_prefix(key_prefix)
    others = [action.key for action in actions if not action.key.startswith(ours)]
    waiting = [action.key for action in actions if action.key.startswith(ours) and not action.even_if_missed]
    missed = missed_of(world, waiting, key_prefix)
    owners: dict[Key, Ownership] = dict(zip(others, world.owners.of(others), strict=True)) if others else {}
    sizes = dict(zip(others, store.sizes(others), strict=True)) if others else {}

    def judge(action: Delete, _: int) -> Answer | bool:
        if action.key in missed:
            return missed_by_a_record(missed[action.key])
        if action.key not in owners:
            return True
        if not isinstance(owners[action.key], Nobody):
            whose = "is no key of Mastodon's" if isinstance(owners[action.key], Foreign) else "is expected by a record"
            return Conflict(f"{action.key} {whose}")
        if sizes[action.key] == MISSING:
            return False
        if sizes[action.key] != action.size:
            return Conflict(f"{action.key} is no longer the file that was seen")
        return True

    return _sorted_out(actions, judge, lambda left: store.delete([a.key for a in left]))


def holds(world: World, action: Action) -> bool:
    """Whether exactly the bytes that action writes are under its key."""
    if not isinstance(action, Writing):
        return False
    store = world.store(action.place)
    return store.sizes([action.key])[0] == action.size and store.digest(action.key) == action.digest


def happened(world: World, action: Action) -> bool:  # noqa: C901 - one arm an action
    """Whether the world is as that action makes it."""
    match action:
        case PutFile() | CopyFile():
            return holds(world, action)
        case Transfer():
            return False  # whether all of it is there only a comparison tells
        case PreserveFile(quarantine=quarantine, place=place):
            return world.store(place).sizes([quarantine])[0] >= 0
        case QuarantineFile(key=gone, quarantine=there, place=place):
            return _moved(world.store(place), gone, there)
        case RestoreFile(key=there, quarantine=gone, place=place):
            return _moved(world.store(place), gone, there)
        case Delete(key=key, place=place):
            return world.store(place).sizes([key])[0] == MISSING
        case SetServing(key=key, after=after, place=place):
            return world.store(place).serving(key) == after
        case EnqueueJob(job=job):
            return world.jobs.was_handed_over(job)
        case CancelJob(job=job):
            return not world.jobs.was_handed_over(job)
        case DeletePost(id=post):
            return not world.archive().exists(post)
        case RestorePost(id=post):
            return world.archive().exists(post)
        case ForgetCached():
            return False  # forgetting twice is forgetting
        case SetColumns(table=table, id=record_id):
            return world.rows.are(table, record_id, telling(action))
        case _:
            assert_never(action)


def telling(action: SetColumns) -> Mapping[str, str | None]:
    """What tells that a row was changed: the name of its file, if that changed; Mastodon itself may touch the rest meanwhile.

    Moments never tell: nearly everything moves them.
    """
    names = {name: value for name, value in action.after.items() if name.endswith("file_name")}
    lasting = {name: value for name, value in action.after.items() if not name.endswith("_at")}
    return names or lasting or action.after


def _moved(store: ChangingStore, gone: Key, there: Key) -> bool:
    at_source, at_target = store.sizes([gone, there])
    return at_source == MISSING and at_target >= 0


def clear(world: World, action: Action) -> None:
    """Remove what doing it left beside its target when it was cut off."""
    match action:
        case PutFile(key=key, place=place) | CopyFile(key=key, place=place):
            world.store(place).clear(key)
        case PreserveFile(quarantine=key, place=place):
            world.store(place).clear(key)
        case QuarantineFile(quarantine=key, place=place) | RestoreFile(key=key, place=place):
            world.store(place).clear(key)
        case _:
            return
