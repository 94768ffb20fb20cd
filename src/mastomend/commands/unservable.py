"""Files that are in the storage and do not reach the public: a look from outside as part of a check."""

from __future__ import annotations

from mastomend.commands.check_report import PublicReport
from mastomend.commands.instance import Instance
from mastomend.commands.public import Seen, Window, current
from mastomend.commands.scanning import Scan
from mastomend.inventory.crossing import Work
from mastomend.inventory.findings import FINDINGS, FROM_OUTSIDE, TABLE
from mastomend.inventory.whole import PublicLook, whole_files
from mastomend.progress import Progress
from mastomend.vocabulary import Finding, State

_BATCH = 200


def look(instance: Instance, made: Scan, wanted: PublicLook, progress: Progress) -> PublicReport:
    """Ask for whole files as the public would; what does not come is a finding of the scan (`unservable`).

    Raises:
        DatabaseError, StorageError: the rows or the files cannot be looked at.
    """
    report = PublicReport(0, {}, {})
    window = Window(instance, instance.variables, made.database)
    files = whole_files(made.inventory, wanted)
    progress.start("as the public sees it", len(files))
    for start in range(0, len(files), _BATCH):
        works = _sized(made, files[start : start + _BATCH], instance.key_prefix)
        seen = list(window.look([works]))
        sizes = {(work.kind, work.id, work.style): work.size for work in works}
        found = [_finding(one, sizes[one.kind.name, one.row.record.id, one.file.style]) for one in seen if one.cause]
        FINDINGS.append(made.inventory.work.connection, TABLE, found)
        report.asked += len(seen)
        for one in seen:
            if one.cause is not None:
                report.causes[one.cause] = report.causes.get(one.cause, 0) + 1
                report.by_kind[one.kind.name] = report.by_kind.get(one.kind.name, 0) + 1
        progress.advance(_BATCH)
    return report


def _sized(made: Scan, files: list[Work], key_prefix: str) -> list[Work]:
    """With what the storage holds; what is gone by now is left out."""
    some = list(current(made.database, files, key_prefix))
    sizes = made.store.sizes([file.key for _, _, file, _ in some])
    return [
        Work(work.kind, work.id, work.style, size)
        for (_, _, _, work), size in zip(some, sizes, strict=True)
        if size > 0
    ]


def _finding(seen: Seen, size: int) -> Finding:
    """`detail` begins with what it is and the cause, for programs: what the storage itself does not show begins otherwise."""
    record = seen.row.record
    return Finding(
        seen.kind.name, record.id, seen.file.style, seen.file.key, State.UNSERVABLE, record.is_local, seen.row.domain,
        seen.row.remote_url, record.file_name, record.content_type, seen.file.size, size,
        f"{FROM_OUTSIDE}{seen.cause}): {seen.said}",
    )  # fmt: skip
