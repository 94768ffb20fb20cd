"""Which records expect a key right now: the question asked before any file is moved away or deleted.

It fails closed. A key that is not understood belongs to somebody else: another tenant of the bucket, a kind this version
does not have, a file Mastodon keeps for itself. "Nobody" is said only of a key Mastodon could have made and no row names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_in_ranges, read_rows
from mastomend.mastodon.keys import ORIGINAL, Key, ParsedKey, expected_files, is_private, is_safe_name, parse_key
from mastomend.mastodon.kinds import KIND_BY_NAME, MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.leftovers import TEMPORARY, folders_of, to_the_end
from mastomend.vocabulary import Foreign, Nobody, Owned, Ownership, Row, RowOf


class DatabaseOwners:
    """Answers from the rows as they are now."""

    def __init__(self, database: MastodonDatabase, key_prefix: str) -> None:
        self._database = database
        self._key_prefix = key_prefix
        kinds = kinds_of(database)
        self._kinds = {kind.name for kind in kinds}
        self._folders = re.compile(to_the_end(folders_of(kinds, key_prefix)))
        self._temporary = re.compile(to_the_end(TEMPORARY))

    def of(self, keys: Sequence[Key]) -> Sequence[Ownership]:
        """Whom each key belongs to, in order; one question for each kind among them.

        Raises:
            DatabaseError: the rows cannot be read: nothing may be called nobody's then.
        """
        parsed = [parse_key(key, self._key_prefix) for key in keys]
        understood = [one if one is not None and one.kind.name in self._kinds else None for one in parsed]
        left_over = [self._is_left_over(key) for key in keys]
        owners: dict[str, Owned] = {}
        for kind in {one.kind.name: one.kind for one in understood if one is not None}.values():
            theirs = zip(keys, understood, strict=True)
            owners |= self._expected(kind, [(key, one) for key, one in theirs if one is not None and one.kind is kind])
        return [
            owners.get(key) or (Nobody() if is_left_over or one is not None else Foreign())
            for key, one, is_left_over in zip(keys, understood, left_over, strict=True)
        ]

    def hidden(self, keys: Sequence[Key]) -> Sequence[bool]:
        """Whether Mastodon keeps each from the public now: backups, what a suspended account posted, what no row expects.

        Raises:
            DatabaseError: the rows cannot be read.
        """
        owners = self.of(keys)
        rows: dict[tuple[str, int], Row] = {}
        for name in {one.row.kind for one in owners if isinstance(one, Owned)}:
            ids = sorted({one.row.id for one in owners if isinstance(one, Owned) and one.row.kind == name})
            rows |= {(name, row_id): row for row_id, row in read_rows(self._database, KIND_BY_NAME[name], ids).items()}

        def is_hidden(key: Key, owner: Ownership) -> bool:
            row = rows.get((owner.row.kind, owner.row.id)) if isinstance(owner, Owned) else None
            of_posts = isinstance(owner, Owned) and owner.row.kind in (MEDIA_FILES.name, MEDIA_THUMBNAILS.name)
            return row is None or (row.suspended and of_posts) or is_private(key, self._key_prefix)

        return [is_hidden(key, owner) for key, owner in zip(keys, owners, strict=True)]

    def _is_left_over(self, key: str) -> bool:
        """Whether that is the name of a folder of Mastodon's, or of a file Mastomend was writing in one: no row can name it."""
        folder = key.rpartition("/")[0]
        is_ours = self._temporary.search(key) is not None and self._folders.search(folder) is not None
        return is_ours or self._folders.search(key) is not None

    def _expected(self, kind: Kind, keys: Sequence[tuple[str, ParsedKey]]) -> dict[str, Owned]:
        """Every key that a row near those keys expects. A local row wins: its files are sacred."""
        ranges = list(dict.fromkeys(span for _, key in keys for span in key.ids))
        found: dict[str, Owned] = {}
        for record in read_in_ranges(self._database, kind, ranges):
            if not is_safe_name(record.file_name):
                continue
            owned = Owned(record.is_local, RowOf(kind.name, record.id, record.is_local))
            files = [file.key for file in expected_files(kind, record, self._key_prefix)]
            for key in (*files, *self._styles(files, keys)):
                if record.is_local or key not in found:
                    found[key] = owned
        return found

    @staticmethod
    def _styles(files: Sequence[str], keys: Sequence[tuple[str, ParsedKey]]) -> Iterator[str]:
        """Any derived style of a living row under its own name is its, too: more may be served than what its type says."""
        homes = {(file.rsplit("/", 2)[0], _stem(file)) for file in files}
        return (key for key, one in keys if one.style != ORIGINAL and (key.rsplit("/", 2)[0], _stem(key)) in homes)


def _stem(key: str) -> str:
    return key.rpartition("/")[2].rpartition(".")[0]
