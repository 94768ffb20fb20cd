"""Whether what is missing looks like damage, or like a disk that is not mounted and a bucket that is the wrong one. Pure.

What a repair has seen before does not count: it is known to be damage. Judged per kind and, because `cache/` often lies on
a disk of its own, per tree; and where a disk shows that nothing can be there (a link that leads nowhere, a folder that is
gone, an empty mount point), whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mastomend.vocabulary import Tree

#: From so many files on a share says something.
MANY_FILES = 100
#: In a bucket there are no folders: of so many files not one being there is the sign.
NONE_OF = 10


def mass_loss(storage: str, trees: Sequence[Tree], max_missing_percent: float, *, holds_anything: bool) -> list[str]:
    """Why the numbers look like an unmounted disk rather than like damage; empty if they do not (product.md)."""
    if max_missing_percent >= 100:
        return []
    if not holds_anything and any(tree.expected for tree in trees):
        return [f"{storage} is empty, but the database expects files in it."]
    reasons = _holes(trees)
    by_kind: dict[str, list[Tree]] = {}
    for tree in trees:
        if not _is_behind_a_hole(tree):
            by_kind.setdefault(tree.kind, []).append(tree)
    for kind, parts in by_kind.items():
        whole = Tree(kind, kind, *(sum(n) for n in zip(*((t.expected, t.missing, t.lost) for t in parts), strict=True)))
        looked = [whole] if _is_too_much(whole, max_missing_percent) else parts
        reasons += [_share(tree) for tree in looked if _is_too_much(tree, max_missing_percent)]
    return reasons


def _holes(trees: Iterable[Tree]) -> list[str]:
    behind: dict[str, list[Tree]] = {}
    for tree in trees:
        if tree.hole is not None and _is_behind_a_hole(tree):
            behind.setdefault(tree.hole, []).append(tree)
    return [f"{hole}, but {_expected(here)} expected there." for hole, here in behind.items()]


def _expected(trees: Sequence[Tree]) -> str:
    number, kinds = sum(tree.missing for tree in trees), ", ".join(dict.fromkeys(tree.kind for tree in trees))
    return f"1 file of {kinds} is" if number == 1 else f"{number:,} files of {kinds} are"


def _is_behind_a_hole(tree: Tree) -> bool:
    return tree.hole is not None and tree.missing > tree.lost


def _is_too_much(tree: Tree, percent: float) -> bool:
    return tree.expected >= MANY_FILES and (tree.missing - tree.lost) * 100 > percent * tree.expected


def _share(tree: Tree) -> str:
    missing = tree.missing - tree.lost
    known = f", not counting {tree.lost:,} that a repair has tried before" if tree.lost else ""
    share = missing * 100 / tree.expected
    return f"{share:.0f} % of {tree.prefix.rstrip('/')} is missing ({missing:,} of {tree.expected:,} files{known})."
