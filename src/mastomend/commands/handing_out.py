"""Plans that hand files out as Mastodon would, where a look from outside has shown that the public does not get them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mastomend.actions.actions import SetServing
from mastomend.actions.plan import Plan, Rule
from mastomend.commands.instance import Instance
from mastomend.commands.parts import Parts
from mastomend.commands.public import current, is_hidden
from mastomend.database.reader import MastodonDatabase
from mastomend.errors import ObjectError
from mastomend.images.decode import sniff
from mastomend.inventory.crossing import Work
from mastomend.inventory.findings import FINDINGS, FROM_OUTSIDE
from mastomend.inventory.whole import PublicLook
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import PREVIEW_CARDS
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage
from mastomend.outcomes import Refused, Restored
from mastomend.plans.public import Cause, is_ours
from mastomend.reasons import Reason
from mastomend.storage.ports import CACHE_CONTROL, Store
from mastomend.vocabulary import Finding, RowOf, Serving

_BATCH, _THREADS = 200, 16


def handed_out(findings: Path, parts: Parts, kinds: list[str], wanted: PublicLook | None) -> Iterator[Plan]:
    """Plans that hand files out as Mastodon would, for those where that can help; none if nobody looked from outside."""
    if wanted is None:
        return
    instance, database, store = parts.instance, parts.database, parts.store
    in_bucket = not isinstance(instance.configuration.storage, FilesystemStorage)
    some: list[Finding] = []
    rows = FINDINGS.load(
        findings, "state = 'unservable' AND starts_with(detail, ?) AND list_contains(?, kind)", [FROM_OUTSIDE, kinds]
    )
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="serving") as threads:
        for finding in rows:
            if _is_ours(finding, in_bucket=in_bucket):
                some.append(finding)
            if len(some) == _BATCH:
                yield from _plans(some, database, store, instance, threads)
                some = []
        yield from _plans(some, database, store, instance, threads)


def _is_ours(finding: Finding, *, in_bucket: bool) -> bool:
    name = finding.detail.removeprefix(FROM_OUTSIDE).partition(")")[0]
    return name in {cause.value for cause in Cause} and is_ours(Cause(name), in_bucket=in_bucket)


def _plans(
    some: list[Finding], database: MastodonDatabase, store: Store, instance: Instance, threads: ThreadPoolExecutor
) -> Iterator[Plan]:
    said = {(f.kind, f.id, f.style): f.detail for f in some}
    works = [Work(f.kind, f.id, f.style, f.actual_bytes or 0) for f in some]
    files = list(current(database, works, instance.key_prefix))

    def serving(number: int) -> tuple[Serving, Serving] | str:
        kind, row, file, _ = files[number]
        try:
            before = store.serving(file.key)
            if before is None:
                return "it is gone"
            claimed = row.record.content_type if file.style == ORIGINAL else None
            storage = instance.configuration.storage
            shown = not is_hidden(
                kind, row, file.key, instance.key_prefix, on_disk=isinstance(storage, FilesystemStorage)
            )
            if isinstance(storage, S3Storage) and not (storage.permission or "").startswith("public"):
                shown = (
                    before.is_public is True and shown
                )  # S3_PERMISSION makes nothing public: the bucket's policy may
            if before.content_type is None:  # a disk: types and headers are the web server's
                return before, Serving(shown)
            data = store.read(file.key) if claimed is None or kind is PREVIEW_CARDS else None
            content_type = sniff(data or b"") or claimed or before.content_type
            return before, Serving(None if before.is_public is None else shown, content_type, CACHE_CONTROL)
        except ObjectError as error:
            return error.message

    for (kind, row, file, work), found in zip(files, threads.map(serving, range(len(files))), strict=True):
        subject = RowOf(kind.name, row.record.id, row.record.is_local, row.domain, row.remote_url)
        if isinstance(found, str):
            yield Plan(subject, Refused(Reason.UNREADABLE, found), (), Rule.MEND)
        elif found[0] == found[1]:
            why = said[work.kind, work.id, work.style].partition(": ")[2]
            told = f"it is handed out as Mastodon would; what stands before it is not the storage's: {why}"
            yield Plan(subject, Refused(Reason.UNSERVABLE, told), (), Rule.MEND)
        else:
            action = SetServing(file.key, *found)
            yield Plan(subject, Restored(Reason.SERVED, files=1), (action,), Rule.MEND)
