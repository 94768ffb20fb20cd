"""Whether what an inventory lacks looks like damage, or like a disk that is not mounted: what is looked at, and the stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_rows, read_some_ids
from mastomend.errors import SafetyStop
from mastomend.inventory import known
from mastomend.inventory.inspect import target
from mastomend.inventory.scan import Inventory
from mastomend.mastodon.kinds import Kind
from mastomend.plans.loss import MANY_FILES, NONE_OF, mass_loss
from mastomend.storage.ports import MISSING, Mounts, Store
from mastomend.vocabulary import Tree

#: Records of a kind that are looked at where a selection narrows what is judged.
_SAMPLE = 300


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


def sampled(database: MastodonDatabase, store: Store, kinds: Sequence[Kind], prefix: str, percent: float) -> list[str]:
    """The same of records taken at random, whatever is selected: what a selection leaves out tells of a wrong bucket, too."""
    if percent >= 100:
        return []
    reasons = []
    for kind in kinds:
        rows = read_rows(database, kind, read_some_ids(database, kind, _SAMPLE))
        files = [t.files[0] for row in rows.values() if not row.in_flight and (t := target(kind, row, prefix)).files]
        missing = sum(size == MISSING for size in store.sizes([file.key for file in files]))
        is_none = len(files) >= NONE_OF and missing == len(files)
        if is_none or (len(files) >= MANY_FILES and missing * 100 > percent * len(files)):
            reasons.append(f"Of {len(files):,} files of {kind.name} taken at random {missing:,} are missing.")
    return reasons
