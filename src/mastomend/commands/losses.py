"""Whether what an inventory lacks looks like damage, or like a disk that is not mounted: what is looked at, and the stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mastomend.errors import SafetyStop
from mastomend.inventory import known
from mastomend.inventory.scan import Inventory
from mastomend.plans.loss import MANY_FILES, NONE_OF, mass_loss
from mastomend.storage.ports import Mounts, Store
from mastomend.vocabulary import Tree


def losses(
    inventory: Inventory, store: Store, name: str, key_prefix: str, percent: float, *, holds_anything: bool
) -> list[str]:
    """Why the numbers look like mass loss, in words; empty if they do not. The ledger must have been joined."""
    trees = [_looked_into(inventory, store, name, tree) for tree in known.missing(inventory, key_prefix)]
    return mass_loss(name, trees, percent, holds_anything=holds_anything)


def _looked_into(inventory: Inventory, store: Store, name: str, tree: Tree) -> Tree:
    """The tree with the sign that nothing can be in there, if there is one."""
    if isinstance(store, Mounts):
        return replace(tree, hole=_hole(inventory, store, tree) if tree.missing else None)
    if NONE_OF <= tree.expected == tree.missing:
        return replace(tree, hole=f"Nothing is below {tree.prefix} in {name}")
    return tree


def _hole(inventory: Inventory, store: Mounts, tree: Tree) -> str | None:
    """A disk may be mounted further down: the first folder below that should hold many files and is empty."""
    if (hole := store.hole(tree.prefix)) is not None:
        return hole
    for folder, n in known.missing_below(inventory, tree):
        hole = store.hole(folder)
        if hole is not None and (n >= MANY_FILES or not store.may_be_damage(folder)):
            return hole
    return None


def refuse(reasons: Sequence[str]) -> None:
    """Stop what would change anything.

    Raises:
        SafetyStop: there are reasons.
    """
    if reasons:
        raise SafetyStop(
            " ".join(reasons) + " This looks like a disk that is not mounted or a wrong bucket. Nothing was changed.",
            hint="Mount what is missing. If the files really are gone, run the same command with --max-missing 100%.",
        )
