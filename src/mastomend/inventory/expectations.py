"""Which records expect a key right now: the question asked before any file is moved away."""

from __future__ import annotations

from mastomend.inventory.database import MastodonDatabase
from mastomend.inventory.rows import kinds_of, read_rows
from mastomend.mastodon.keys import Key, expected_files, is_safe_name, parse_key


class DatabaseExpectations:
    """Answers from the rows as they are now."""

    def __init__(self, database: MastodonDatabase, key_prefix: str) -> None:
        self._database = database
        self._key_prefix = key_prefix
        self._kinds = {k.name: k for k in kinds_of(database)}

    def expected_by(self, key: Key) -> tuple[bool, bool]:
        """(some local record expects it, some remote record expects it)."""
        parsed = parse_key(key, self._key_prefix)
        if parsed is None or parsed.kind.name not in self._kinds:
            return False, False
        ids = [record_id for low, high in parsed.ids for record_id in range(low, high + 1)]
        local = remote = False
        for row in read_rows(self._database, parsed.kind, ids).values():
            if not is_safe_name(row.record.file_name):
                continue
            if any(f.key == key for f in expected_files(parsed.kind, row.record, self._key_prefix)):
                local, remote = local or row.record.is_local, remote or not row.record.is_local
        return local, remote
