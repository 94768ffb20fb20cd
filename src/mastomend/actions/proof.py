"""What a move away from a storage nobody uses any more rests on: the instance's own has the file, before and after.

Two storages may be one without anybody seeing it: by links, by mounts, by two names of a bucket. Then the proof is the very
file that is moved, and goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.actions.actions import MEDIA, QuarantineFile
from mastomend.actions.trouble import Conflict
from mastomend.actions.world import ChangingStore, World
from mastomend.vocabulary import Foreign, Owned, Ownership


def barred(
    world: World, actions: Sequence[QuarantineFile], owners: Sequence[Ownership], sizes: Sequence[int]
) -> list[str]:
    """Why each of them must not be moved away, by whom it belongs to and what proves that it may be; '' where it may."""
    named = [action.proven for action in actions if action.proven is not None]
    found = dict(zip(named, world.store().sizes(named), strict=True)) if named else {}

    def why(action: QuarantineFile, owner: Ownership, size: int) -> str:
        if action.proven is None:
            return _of_its_owner(action, owner)
        if action.place == MEDIA or not isinstance(owner, Owned):
            return f"{action.proven} is expected by no record"
        if size >= 0 and found[action.proven] != size:
            return f"{action.proven} is not in the storage Mastodon uses, or is another file"
        return ""

    return [why(*one) for one in zip(actions, owners, sizes, strict=True)]


def _of_its_owner(action: QuarantineFile, owner: Ownership) -> str:
    match owner:
        case Owned(is_local=True):
            return f"{action.key} belongs to a local record"
        case Owned() if not action.even_if_expected:
            return f"{action.key} is expected by a record"
        case Foreign():
            return f"{action.key} is no key of Mastodon's"
    return ""


def put_back(
    world: World, store: ChangingStore, moved: Sequence[QuarantineFile], answers: list[Exception | None]
) -> None:
    """What went with its proof goes back at once; its answer says so."""
    proven = [(i, a, a.proven) for i, a in enumerate(moved) if a.proven is not None and answers[i] is None]
    sizes = world.store().sizes([named for _, _, named in proven]) if proven else []
    gone = [(i, a) for (i, a, _), size in zip(proven, sizes, strict=True) if size < 0]
    returned = store.move([(a.quarantine, a.key) for _, a in gone], private=False) if gone else []
    for (i, a), trouble in zip(gone, returned, strict=True):
        answers[i] = trouble or Conflict(f"{a.key} is the very file Mastodon uses: both storages are one")
