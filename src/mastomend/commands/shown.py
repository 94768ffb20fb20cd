"""One row of what `show` shows: a finding, an outcome or a file nobody expects, as people speak of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mastomend.actions.deferral import UNREACHABLE
from mastomend.actions.ledger import Entry
from mastomend.commands.names import Called
from mastomend.plans.orphans import SORTS
from mastomend.reasons import Reason
from mastomend.vocabulary import Stray


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding or outcome. `who` is `@user@host`, an emoji, a page, or kind and id where the database does not say;
    `address` is where it is seen. `word` is the state or the outcome, `said` the reason in words, `why` the reason it
    rests on (that of a run, or of the repair before), `advice` what can be done about that. `known` is what an earlier
    repair made of a finding; the sizes are those of a finding's file, in bytes; `source` is where what was mended came from.
    """

    kind: str
    id: int
    style: str
    key: str
    is_local: bool
    domain: str | None
    who: str
    address: str | None
    word: str
    reason: str
    said: str
    tried: str
    known: str
    last_tried: datetime | None
    next_try: datetime | None
    why: str = ""
    advice: str = ""
    expected_bytes: int | None = None
    actual_bytes: int | None = None
    source: str = ""


def stray(row: dict[str, Any]) -> Shown:
    """A file no record expects, of a report of those."""
    sort = Stray(row["word"])
    words = SORTS[sort].words if sort in SORTS else "not Mastodon's, or not understood: it is never touched"
    written = datetime.fromtimestamp(row["modified"] / 1_000_000, UTC) if row["modified"] else None
    said = f"{words}; {row['actual_bytes']:,} bytes" + (
        f", last written {written:%Y-%m-%d %H:%M} UTC" if written else ""
    )
    return Shown(
        row["kind"], 0, "", row["key"], False, None, row["key"], None, sort.value, "", said, "", "", None, None,
        actual_bytes=row["actual_bytes"],
    )  # fmt: skip


def shown(row: dict[str, Any], called: Called | None, entry: Entry | None) -> Shown:
    is_object = not row["id"]  # its key stands in place of a kind
    who, address = called or (row["kind"] if is_object else f"{row['kind']} {row['id']}", None)
    is_finding = "state" in row
    reason = "" if is_finding else row["reason"]
    why = reason or (entry.reason if entry else "")
    known = f"{entry.outcome}: {_words(entry.detail, entry.reason)}" if entry and is_finding else ""
    return Shown(
        row["kind"],
        row["id"],
        row.get("style", ""),
        row.get("key", ""),
        row["is_local"],
        row["domain"],
        who,
        address if address and address.startswith(("https://", "http://")) else None,
        row["word"],
        reason,
        _words(row["detail"], reason),
        row.get("tried", ""),
        known,
        entry.last_tried if entry else None,
        entry.next_try if entry else None,
        why,
        _advice(why),
        row.get("expected_bytes"),
        row.get("actual_bytes"),
        row.get("source") or "",
    )


def _advice(reason: str) -> str:
    return Reason(reason).advice if reason in {one.value for one in Reason} else ""


def _words(detail: str, reason: str) -> str:
    """The sentence of the report; a mere status of HTTP is none, nor is what a library says of a server that is not there."""
    is_none = not detail or detail.startswith("HTTP ") or reason in UNREACHABLE
    return Reason(reason).words if reason and is_none else detail
