"""The second look: no candidate is reported before its row and its files have been looked at again.

A server that is live while we scan replaces, evicts and deletes files all the time. Mastodon deletes the old files and
writes the new ones *before* it commits the row (facts §6.1), so for a moment a row truly names a file that is gone.
Four things keep such moments out of the report: a candidate is looked at again only after it has had time to settle;
it must be broken under the same key as before, or it is another moment of another file; a row some transaction is
changing right now is not judged; and the row is read once more after its files were looked at: only if it still says
the same was the look a fair one. What does not come to rest in a few rounds is left out and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import duckdb

from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_rows
from mastomend.inventory.inspect import DeepCheck, broken_files, target
from mastomend.mastodon.kinds import Kind
from mastomend.storage.ports import Lookup
from mastomend.vocabulary import Finding

_BATCH = 1_000
_ROUNDS = 5


def candidate_batches(connection: duckdb.DuckDBPyConnection, kind: Kind) -> Iterator[list[tuple[int, str, str]]]:
    """The kind's candidates (id, style, key) in order of id; a record's files may be split over two batches."""
    with connection.cursor() as reader:
        result = reader.execute("SELECT id, style, key FROM candidates WHERE kind = ? ORDER BY id", [kind.name])
        while batch := result.fetchmany(_BATCH):
            yield batch


def confirm(
    database: MastodonDatabase,
    store: Lookup,
    kind: Kind,
    candidates: Sequence[tuple[int, str, str]],
    key_prefix: str,
    deep: DeepCheck | None,
    settle: Callable[[], None],
) -> tuple[list[Finding], int]:
    """The candidates that are true findings, and how many records never came to rest.

    `settle` waits long enough for a change under way to end; it is called between rounds.
    """
    seen = {(record_id, style): key for record_id, style, key in candidates}
    open_ids = sorted({record_id for record_id, _ in seen})
    confirmed: list[Finding] = []
    for attempt in range(_ROUNDS):
        if attempt:
            settle()
        before = read_rows(database, kind, open_ids)
        targets = [target(kind, row, key_prefix) for row in before.values() if not row.in_flight]
        looked = broken_files(targets, store, deep, seen.keys())
        broken = {t.row.record.id: found for t, found in zip(targets, looked, strict=True) if found}
        after = read_rows(database, kind, list(broken)) if broken else {}
        waiting = [record_id for record_id, row in before.items() if row.in_flight]
        for record_id, found in broken.items():
            row = after.get(record_id)
            if row is None:
                continue  # the record is gone: so are its expectations
            if row.in_flight or row.record != before[record_id].record:
                waiting.append(record_id)
                continue
            again = {(f.id, f.style): f for f in found if (f.id, f.style) in seen}
            if all(seen[file] == finding.key for file, finding in again.items()):
                confirmed += again.values()
            else:
                seen.update((file, finding.key) for file, finding in again.items())
                waiting.append(record_id)
        if not waiting:
            return confirmed, 0
        open_ids = sorted(waiting)
    return confirmed, len(open_ids)
