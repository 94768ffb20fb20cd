"""`history --lost`: what no source has any more, by the journal, but for what is there again by now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from mastomend.actions.journal import Journal
from mastomend.actions.journal_file import journal_path
from mastomend.actions.ledger import Entry, Ledger
from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_rows
from mastomend.errors import MastomendError
from mastomend.mastodon.keys import ExpectedFile, expected_files, is_safe_name
from mastomend.progress import Progress, Silent
from mastomend.storage.build import build
from mastomend.storage.ports import Store

_BATCH = 1_000


def lost(instance: Instance, progress: Progress = Silent()) -> list[Entry]:
    """The ledger of permanent losses, local ones first. A local file that somebody has put back, or whose record is gone, is
    lost no more; where that cannot be looked at, it is said, and all are told. Of other servers' there may be very many: they
    are told as they were tried last.
    """
    if not journal_path(instance.state).exists():
        return []
    with contextlib.closing(Journal(instance.state)) as journal:
        entries = list(Ledger(journal, instance.settings.deferral).lost())
    own = [entry for entry in entries if entry.is_local]
    if not own:
        return entries
    try:
        with (
            MastodonDatabase(instance.configuration.database, "mastomend history") as database,
            contextlib.closing(build(instance.configuration.storage)) as store,
        ):
            still = list(_still(database, store, own, instance.key_prefix))
            return [*still, *(entry for entry in entries if not entry.is_local)]
    except MastomendError as error:
        progress.note(f"Told as they were tried last: {error.message}")
        return entries


def _still(database: MastodonDatabase, store: Store, entries: Sequence[Entry], key_prefix: str) -> Iterator[Entry]:
    kinds = {kind.name: kind for kind in kinds_of(database)}
    for some in (entries[at : at + _BATCH] for at in range(0, len(entries), _BATCH)):
        originals: dict[tuple[str, int], ExpectedFile | None] = {}
        for name in {entry.kind for entry in some} & kinds.keys():
            rows = read_rows(database, kinds[name], [entry.id for entry in some if entry.kind == name])
            for row in rows.values():
                if is_safe_name(row.record.file_name):
                    originals[name, row.record.id] = expected_files(kinds[name], row.record, key_prefix)[0]
                else:
                    originals[name, row.record.id] = None
        files = {record: file for record, file in originals.items() if file is not None}
        sizes = dict(zip(files, store.sizes([file.key for file in files.values()]), strict=True))
        for entry in some:
            record = (entry.kind, entry.id)
            if record in originals and not _is_back(
                sizes.get(record, 0), files[record].size if record in files else None
            ):
                yield entry


def _is_back(size: int, expected: int | None) -> bool:
    return size == expected if expected is not None else size > 0
