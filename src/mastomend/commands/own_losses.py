"""What this server's own users have lost, user by user: what one can tell each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mastomend.commands.names import read
from mastomend.database.reader import MastodonDatabase
from mastomend.inventory.browse import Wanted, browse
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import MEDIA_FILES
from mastomend.outcomes import Outcome
from mastomend.plans.repair import STILL_THERE
from mastomend.vocabulary import State

#: Behind a kind: a smaller copy is still there.
IN_FULL = " in full size"
#: Users that are told of.
_MOST = 20
#: Attachments that are looked at for what is left of them.
_MANY = 10_000
_BROKEN = {State.MISSING.value, State.EMPTY.value, State.TRUNCATED.value, State.CORRUPT.value}


@dataclass(slots=True)
class OwnLosses:
    """By user (as people call them) and kind (with `IN_FULL` behind it where only that is missing): where what they miss is
    seen, as far as that is known. `was_looked_for`: a backup was tried already; `more`: there are other users.
    """

    users: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    was_looked_for: bool = False
    more: bool = False


def own_losses(path: Path, wanted: Wanted, budget: int, names: MastodonDatabase | None) -> OwnLosses:
    """Of all rows that are wanted, whatever the limit: what nobody else has, and no derived file whose original is there."""
    found = OwnLosses()
    if wanted.local is False:
        return found
    ours = replace(wanted, local=True, limit=None)
    small = _small_ones_missing(path, ours, budget)
    for row, who, address in _rows(path, ours, budget, names):
        if who not in found.users and len(found.users) == _MOST:
            found.more = True
            break
        kept = IN_FULL if _has_smaller(row, small) else ""
        seen = found.users.setdefault(who, {}).setdefault(f"{row['kind']}{kept}", [])
        if address and address not in seen:
            seen.append(address)
        found.was_looked_for |= "state" not in row and "the backup" in f"{row['tried']} {row['detail']}"
    return found


def _small_ones_missing(path: Path, ours: Wanted, budget: int) -> set[int]:
    """Attachments of which the smaller picture is missing as well, by id."""
    found = set()
    for batch in browse(path, replace(ours, kinds=(MEDIA_FILES.name,)), budget):
        found |= {row["id"] for row in batch if row.get("style") == "small"}
        if len(found) > _MANY:  # nobody is told of so many one by one
            break
    return found


def _has_smaller(row: dict[str, Any], missing: set[int]) -> bool:
    if "state" not in row:
        return STILL_THERE in row["detail"]
    is_picture = row["kind"] == MEDIA_FILES.name and str(row["content_type"] or "").startswith("image/")
    return is_picture and row["id"] not in missing


def _rows(
    path: Path, wanted: Wanted, budget: int, names: MastodonDatabase | None
) -> Iterator[tuple[dict[str, Any], str, str | None]]:
    for batch in browse(path, wanted, budget):
        some = [row for row in batch if _is_lost(row)]
        called = {} if names is None else read(names, ((row["kind"], row["id"]) for row in some))
        for row in some:
            yield row, *called.get((row["kind"], row["id"]), (f"{row['kind']} {row['id']}", None))


def _is_lost(row: dict[str, Any]) -> bool:
    if "state" in row:
        return row["style"] == ORIGINAL and row["state"] in _BROKEN
    return row["outcome"] == Outcome.LOST.value or (not row["outcome"] and not row["source"] and bool(row["id"]))
