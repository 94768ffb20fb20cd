"""The archive of posts that went: Parquet files in the state directory, each written whole before its posts are deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import duckdb

from mastomend.actions.world import Deletion
from mastomend.database.posts import Archived, Posts
from mastomend.inventory.reports import Report
from mastomend.state_files import private_folder

ARCHIVE = Report(Archived, ("number",))
#: Posts that go in one transaction.
TOGETHER = 100


class ArchivedPosts:
    """Posts, and the archive below `state`. `pause` is called between transactions with the seconds the last one took;
    `reindex` is told of posts that went or came back, for Mastodon's search.
    """

    def __init__(
        self,
        posts: Posts,
        state: Path,
        budget: int,
        pause: Callable[[float], None] = lambda seconds: None,
        reindex: Callable[[Sequence[int]], None] = lambda posts: None,
    ) -> None:
        self._posts = posts
        self._state = state
        self._budget = budget
        self._pause = pause
        self._reindex = reindex

    def exists(self, post: int) -> bool:
        """Whether there is a post of that id."""
        return self._posts.exists(post)

    def holds(self, archive: str) -> bool:
        """Whether that archive is there."""
        return bool(_parts(self._state / archive))

    def delete(self, posts: Sequence[Deletion]) -> list[str | None]:
        """Archive and delete, a file of the archive at a time. One answer for each: None, or why it stays."""
        answers: list[str | None] = []
        for (archive, cut_off), same in groupby(posts, key=lambda one: (one.archive, one.cut_off)):
            ids, started = [one.id for one in same], time.monotonic()
            path = self._state / archive

            def keep(rows: Sequence[Archived], path: Path = path) -> None:
                private_folder(path.parent)
                new = path.with_name(f"{path.name}.{len(_parts(path))}")  # what is there is never written over
                ARCHIVE.write(new, rows, self._budget)
                _sync(new)

            found = self._posts.delete(ids, cut_off, keep)
            self._reindex([one for one, why in zip(ids, found, strict=True) if why is None])
            answers += found
            self._pause(time.monotonic() - started)
        return answers

    def restore(self, posts: Sequence[Deletion]) -> list[str | None]:
        """Bring back. One answer for each: None, or why not."""
        answers: list[str | None] = []
        for archive, same in groupby(posts, key=lambda one: one.archive):
            ids, path = [one.id for one in same], self._state / archive
            try:
                rows = _rows(path, ids)
            except duckdb.Error as error:
                answers += [f"the archive {archive} cannot be read: {str(error).splitlines()[0]}"] * len(ids)
                continue
            if not _parts(path):
                answers += [f"the archive {archive} is gone (cleanup removes it with its run)"] * len(ids)
                continue
            found = self._posts.restore(ids, rows)
            self._reindex([one for one, why in zip(ids, found, strict=True) if why is None])
            answers += found
        return answers


def _parts(path: Path) -> list[Path]:
    """The files of that archive, in the order in which they were written."""
    found = path.parent.glob(f"{path.name}.*")
    return sorted((one for one in found if one.suffix[1:].isdecimal()), key=lambda one: int(one.suffix[1:]))


def _rows(path: Path, posts: Sequence[int]) -> list[Archived]:
    """What it holds of those posts; of one that was archived twice the newer."""
    found: dict[int, list[Archived]] = {}
    for part in _parts(path):
        some: dict[int, list[Archived]] = {}
        for row in ARCHIVE.load(part, "list_contains(?, post)", [list(posts)]):
            some.setdefault(row.post, []).append(row)
        found |= some
    return [row for rows in found.values() for row in rows]


def _sync(path: Path) -> None:
    """The file and its folder's entry are durable."""
    for one, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(one, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
