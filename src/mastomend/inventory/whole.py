"""Files of an inventory that nothing was found wrong with: all, a share, or some, by chance."""

from __future__ import annotations

from dataclasses import dataclass

from mastomend.inventory.crossing import Work
from mastomend.inventory.scan import Inventory
from mastomend.mastodon.columnar import quote, styles


@dataclass(frozen=True, slots=True)
class PublicLook:
    """Which of them are asked for as the public: that share (0 to 1), at most so many."""

    share: float = 1.0
    most: int | None = None


def whole_files(inventory: Inventory, wanted: PublicLook) -> list[Work]:
    """Those files; their sizes are not known (0)."""
    selects = []
    for table in inventory.expected:
        named = ", ".join(
            f"({n}, {quote(kind.name)}, {quote(style)})" for n, (kind, style) in enumerate(styles(table.kinds))
        )
        selects.append(
            f"SELECT v.kind, f.id, v.style FROM ({table.files()}) f JOIN (VALUES {named}) AS v(n, kind, style) USING (n) "
            f"WHERE f.key IS NOT NULL AND random() <= {float(wanted.share)}"
        )
    some = f"({' UNION ALL '.join(selects)}) ANTI JOIN findings USING (kind, id, style)"
    order = f" ORDER BY random() LIMIT {int(wanted.most)}" if wanted.most is not None else " ORDER BY kind, id"
    rows = inventory.work.connection.execute(f"SELECT kind, id, style FROM {some}{order}").fetchall()
    return [Work(kind, id_, style, 0) for kind, id_, style in rows]
