"""What the ledger knows of the broken records of an inventory, and where what is missing lies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from arro3.core import Table

from mastomend.inventory.findings import FROM_OUTSIDE
from mastomend.inventory.scan import Inventory
from mastomend.mastodon.keys import CACHE, below
from mastomend.outcomes import Outcome
from mastomend.vocabulary import State, Tree

_FEW = 20
#: What the storage does not show, not what it shows and the public does not get (`commands.unservable`).
_NOT_FROM_OUTSIDE = f"NOT (state = 'unservable' AND starts_with(detail, '{FROM_OUTSIDE}'))"


@dataclass(frozen=True, slots=True)
class Known:
    """Of the broken records, what repairs have come to: how many of each outcome, also by kind, when the last was tried,
    and when the first deferred one is due.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    by_kind: Mapping[str, Counter[Outcome]] = field(default_factory=dict)
    last_tried: datetime | None = None
    next_try: datetime | None = None


def join_ledger(inventory: Inventory, entries: Iterable[Table]) -> Known:
    """Take the ledger's entries (as `Ledger.tables` gives them) as the relation `ledger`, but for those about another file than
    the record has now.
    """
    connection = inventory.work.connection
    texts = ("outcome", "file_name", "last_tried", "next_try")
    described = ", ".join(f"{name} VARCHAR" for name in texts)
    connection.execute(f"CREATE OR REPLACE TABLE ledger (kind VARCHAR, id BIGINT, {described})")
    for batch in entries:
        connection.execute(f"INSERT INTO ledger SELECT kind, id, {', '.join(texts)} FROM batch")
        del batch
    connection.execute(
        "DELETE FROM ledger USING findings f WHERE f.kind = ledger.kind AND f.id = ledger.id "
        "AND f.file_name <> ledger.file_name AND '' NOT IN (f.file_name, ledger.file_name)"
    )
    rows = connection.execute(
        "SELECT kind, outcome, count(*), max(last_tried), min(next_try) FROM ledger "
        "SEMI JOIN (SELECT kind, id FROM findings WHERE state <> ?) USING (kind, id) GROUP BY kind, outcome",
        [State.UNSERVABLE.value],
    ).fetchall()
    by_kind: dict[str, Counter[Outcome]] = defaultdict(Counter)
    for kind, outcome, number, _, _ in rows:
        by_kind[kind][Outcome(outcome)] = number
    due = min((moment for _, outcome, _, _, moment in rows if outcome == Outcome.DEFERRED and moment), default=None)
    last = max((moment for _, _, _, moment, _ in rows), default=None)
    return Known(
        sum(by_kind.values(), Counter()),
        by_kind,
        datetime.fromisoformat(last) if last else None,
        datetime.fromisoformat(due) if due else None,
    )


def top_domains(inventory: Inventory) -> list[tuple[str, int]]:
    """The five origins with the most broken records."""
    return inventory.work.connection.execute(
        "SELECT domain, count(DISTINCT (kind, id)) AS n FROM findings WHERE domain IS NOT NULL AND state <> ? "
        "GROUP BY domain ORDER BY n DESC, domain LIMIT 5",
        [State.UNSERVABLE.value],
    ).fetchall()


def own(inventory: Inventory, most: int) -> list[tuple[str, int]]:
    """Some broken records of this server's own users, by kind and id."""
    return inventory.work.connection.execute(
        "SELECT DISTINCT kind, id FROM findings WHERE is_local AND state <> ? ORDER BY kind, id LIMIT ?",
        [State.UNSERVABLE.value, most],
    ).fetchall()


def fresh(inventory: Inventory, most: int) -> list[tuple[str, int]]:
    """Some broken records the ledger knows nothing of, by kind and id; one's own users' first. It must have been joined."""
    rows = inventory.work.connection.execute(
        "SELECT kind, id, bool_or(is_local) AS ours FROM findings ANTI JOIN ledger USING (kind, id) WHERE state <> ? "
        "GROUP BY kind, id ORDER BY ours DESC, kind, id LIMIT ?",
        [State.UNSERVABLE.value, most],
    ).fetchall()
    return [(kind, record_id) for kind, record_id, _ in rows]


def obstacles(inventory: Inventory) -> list[tuple[str, int]]:
    """What keeps files from being looked at, with the number of files behind each; the greatest."""
    return inventory.work.connection.execute(
        f"SELECT detail, count(*) AS n FROM findings WHERE state = ? AND {_NOT_FROM_OUTSIDE} "
        "GROUP BY detail ORDER BY n DESC, detail LIMIT ?",
        [State.UNSERVABLE.value, _FEW],
    ).fetchall()


def missing(inventory: Inventory, key_prefix: str) -> list[Tree]:
    """Every kind's files by the folder they lie in, with what is missing of them and what of that a repair has seen
    before: a disk that was not mounted would have lost what nobody knows of.
    """
    cached = f"{below(key_prefix)}{CACHE}"
    rows = inventory.work.connection.execute(
        "SELECT f.kind, starts_with(f.key, ?) AS cached, count(*), count(l.outcome) "
        "FROM findings f LEFT JOIN ledger l USING (kind, id) WHERE f.state = ? AND f.key <> '' GROUP BY ALL",
        [cached, State.MISSING.value],
    ).fetchall()
    found = {(kind, is_cached): (n, lost) for kind, is_cached, n, lost in rows}
    trees = []
    for kind, count in inventory.counts.items():
        for is_cached, files in ((False, count.expected - count.cached), (True, count.cached)):
            prefix = f"{cached if is_cached else below(key_prefix)}{kind.name}/"
            n, lost = found.get((kind.name, is_cached), (0, 0))
            trees.append(Tree(kind.name, prefix, files, n, lost))
    return trees


def missing_below(inventory: Inventory, tree: Tree) -> list[tuple[str, int]]:
    """The folders right below a tree's, ending in a slash, that lack files, and how many."""
    rows = inventory.work.connection.execute(
        "SELECT split_part(substr(key, ?), '/', 1) AS folder, count(*) AS n FROM findings "
        "WHERE kind = ? AND state = ? AND starts_with(key, ?) GROUP BY folder ORDER BY folder",
        [len(tree.prefix) + 1, tree.kind, State.MISSING.value, tree.prefix],
    ).fetchall()
    return [(f"{tree.prefix}{folder}/", n) for folder, n in rows]
