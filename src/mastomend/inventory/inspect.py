"""One record under the eye: which of its files are broken *now*. Shared by `check`'s second look and by `repair`."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from mastomend.database.visibility import is_text
from mastomend.errors import ObjectError
from mastomend.mastodon.keys import ORIGINAL, ExpectedFile, Key, expected_files, is_safe_name
from mastomend.mastodon.kinds import Kind
from mastomend.storage.ports import MISSING, UNREADABLE, Lookup
from mastomend.vocabulary import Finding, Row, State, Target

#: Reads a file to its end and says what is wrong with it, None if nothing is. Raises ObjectError if it cannot be read.
DeepCheck = Callable[[Kind, Row, str, Key], str | None]

UNSAFE_NAME = "the file name would leave its directory; it was never looked up"
NOT_TEXT = "the file name in the database is not UTF-8"


def target(kind: Kind, row: Row, key_prefix: str) -> Target:
    """What the row expects, as it is now."""
    if not is_safe_name(row.record.file_name):
        return Target(kind, row, ())
    return Target(kind, row, tuple(expected_files(kind, row.record, key_prefix)))


def broken_files(
    targets: Sequence[Target],
    store: Lookup,
    deep: DeepCheck | None = None,
    deep_styles: Container[tuple[int, str]] | None = None,
) -> list[list[Finding]]:
    """For each target the findings that are true now, in order; sizes are asked in one request for all.

    `deep` additionally reads those files of `deep_styles` (id, style) whose size is right.
    """
    keys = [file.key for t in targets for file in t.files]
    sizes = iter(store.sizes(keys))
    answer = []
    for t in targets:
        if not t.files:
            unsafe = (State.MISSING, UNSAFE_NAME) if is_text(t.row.record.file_name) else (State.UNSERVABLE, NOT_TEXT)
            answer.append([_finding(t, ORIGINAL, "", unsafe[0], None, unsafe[1])])
            continue
        found = []
        for file in t.files:
            size = next(sizes)
            finding = _by_size(t, file, size, store)
            if finding is None and deep and (deep_styles is None or (t.row.record.id, file.style) in deep_styles):
                try:
                    trouble, state = deep(t.kind, t.row, file.style, file.key), State.CORRUPT
                except ObjectError as error:
                    trouble, state = error.message, State.UNSERVABLE
                if trouble is not None:
                    finding = _finding(t, file.style, file.key, state, size, trouble, file.size)
            if finding is not None:
                found.append(finding)
        answer.append(found)
    return answer


def _by_size(t: Target, file: ExpectedFile, size: int, store: Lookup) -> Finding | None:
    if size == MISSING:
        return _finding(t, file.style, file.key, State.MISSING, None, store.in_the_way(file.key), file.size)
    if size == UNREADABLE:
        return _finding(t, file.style, file.key, State.UNSERVABLE, None, store.obstacle(file.key), file.size)
    if size == 0 and file.size != 0:
        return _finding(t, file.style, file.key, State.EMPTY, 0, "", file.size)
    if file.size is not None and size != file.size:
        return _finding(
            t, file.style, file.key, State.TRUNCATED, size, f"{size:,} bytes instead of {file.size:,}", file.size
        )
    return None


def _finding(
    t: Target, style: str, key: str, state: State, actual: int | None, detail: str, expected: int | None = None
) -> Finding:
    record = t.row.record
    return Finding(
        t.kind.name,
        record.id,
        style,
        key,
        state,
        record.is_local,
        t.row.domain,
        t.row.remote_url,
        record.file_name,
        record.content_type,
        expected,
        actual,
        detail,
    )
