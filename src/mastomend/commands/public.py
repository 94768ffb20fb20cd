"""Files as the public sees them: asked for by their public addresses. `check --public` and a move use it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_rows
from mastomend.images.decode import sniff
from mastomend.inventory.crossing import Work
from mastomend.mastodon.keys import ExpectedFile, below, expected_files, is_private, is_safe_name
from mastomend.mastodon.kinds import KIND_BY_NAME, MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.mastodon.urls import public_url
from mastomend.plans.public import Answer, Cause, Wanted, cause, words
from mastomend.storage import public
from mastomend.storage.public import Shown
from mastomend.vocabulary import Row


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as the public gets it; `cause` None: as it should be. `said` tells the cause in words."""

    kind: Kind
    row: Row
    file: ExpectedFile
    cause: Cause | None
    said: str = ""


def is_hidden(kind: Kind, row: Row, key: str, key_prefix: str, *, on_disk: bool) -> bool:
    """Whether Mastodon hides that file from the public (facts §1.1, §4.2): on a disk only a suspended account's."""
    hidden = row.suspended and kind in (MEDIA_FILES, MEDIA_THUMBNAILS)
    return hidden or (not on_disk and is_private(key, key_prefix))


@dataclass(frozen=True, slots=True)
class Window:
    """Where the public looks in: the instance (its media where they are, or will be) with all its variables."""

    instance: Instance
    variables: Mapping[str, str]
    database: MastodonDatabase

    def look(self, batches: Iterable[Sequence[Work]]) -> Iterator[Seen]:
        """Ask for those files. What is gone meanwhile, or changing right now, is left out."""
        for works in batches:
            yield from self._some(works)

    def _some(self, works: Sequence[Work]) -> Iterator[Seen]:
        files = [(kind, row, file, work.size) for kind, row, file, work in current(self.database, works, self._prefix)]
        urls = [public_url(file.key, self.instance.configuration, self.variables) for _, _, file, _ in files]
        shown = public.ask(urls)
        for (kind, row, file, size), url, one in zip(files, urls, shown, strict=True):
            on_disk = isinstance(self.instance.configuration.storage, FilesystemStorage)
            hidden = is_hidden(kind, row, file.key, self._prefix, on_disk=on_disk)
            wanted = Wanted(size, hidden, sniff(one.head) is not None)
            answer = _answer(one)
            found = cause(wanted, answer)
            if found in (Cause.NOT_FOUND, Cause.OTHER_SIZE):
                found = _past_caches(url, wanted, found)
            yield Seen(kind, row, file, found, "" if found is None else words(found, answer, url))

    @property
    def _prefix(self) -> str:
        return self.instance.key_prefix


def current(
    database: MastodonDatabase, works: Sequence[Work], key_prefix: str
) -> Iterator[tuple[Kind, Row, ExpectedFile, Work]]:
    """Those files as their rows have them now; one whose row has gone, has other files or is being changed is left out."""
    by_kind: dict[str, list[Work]] = {}
    for work in works:
        by_kind.setdefault(work.kind, []).append(work)
    for name, some in by_kind.items():
        kind = KIND_BY_NAME[name]
        rows = read_rows(database, kind, sorted({work.id for work in some}))
        for work in some:
            row = rows.get(work.id)
            if row is None or row.in_flight or not is_safe_name(row.record.file_name):
                continue
            files = {file.style: file for file in expected_files(kind, row.record, key_prefix)}
            file = files.get(work.style)
            if file is not None and work.key in ("", file.key.removeprefix(below(key_prefix))):
                yield kind, row, file, work


def _answer(shown: Shown) -> Answer:
    return Answer(shown.status, shown.content_type, shown.size, shown.trouble, sniff(shown.head))


def _past_caches(url: str, wanted: Wanted, found: Cause) -> Cause:
    """An address no cache has seen yet: if that works, a cache is what stands between."""
    (again,) = public.ask([f"{url}?{secrets.token_hex(4)}"])
    return Cause.NEGATIVE_CACHE if cause(wanted, _answer(again)) is None else found
