"""The public's part of `doctor`: what strangers get of a file that is there, and of one that is not."""

from __future__ import annotations

from mastomend.commands.doctor_report import DoctorReport
from mastomend.commands.instance import Instance
from mastomend.commands.public import Window, current
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, read_rows, read_some_ids
from mastomend.inventory.crossing import Work
from mastomend.mastodon.keys import ORIGINAL, below
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.mastodon.urls import public_url
from mastomend.storage import public
from mastomend.storage.ports import Store

#: A key no file has.
ABSENT = "accounts/avatars/000/000/000/original/mastomend-doctor-looks-for-nothing.png"
_SOME = 20


def some_works(database: MastodonDatabase) -> list[Work]:
    """A few originals, of whatever kinds there are."""
    found: list[Work] = []
    for kind in kinds_of(database):
        rows = read_rows(database, kind, read_some_ids(database, kind, _SOME))
        found += [Work(kind.name, row.record.id, ORIGINAL, 0) for row in rows.values() if not row.suspended]
    return found[: 10 * _SOME]


def look_at_public(instance: Instance, database: MastodonDatabase, store: Store, report: DoctorReport) -> None:
    """One file that is there, one that is not, and where the healing hook belongs."""
    works = some_works(database)
    files = list(current(database, works, instance.key_prefix))
    sizes = store.sizes([file.key for _, _, file, _ in files])
    there = [
        Work(work.kind, work.id, work.style, size)
        for (_, _, _, work), size in zip(files, sizes, strict=True)
        if size > 0
    ]
    if not there:
        report.unknown("public", "a file that is there", "none was found to ask for")
    for seen in Window(instance, instance.variables, database).look([there[:1]]):
        if seen.cause is None:
            url = public_url(seen.file.key, instance.configuration, instance.variables)
            report.good("public", "a file that is there", f"the public gets it ({url})")
        else:
            report.bad(
                "public", "a file that is there", seen.said, "See docs/how-to/s3-and-cdn.md; mastomend check --public."
            )
    url = public_url(f"{below(instance.key_prefix)}{ABSENT}", instance.configuration, instance.variables)
    (shown,) = public.ask([url])
    if shown.trouble:
        report.bad(
            "public", "a file that is not there", f"{url}: {shown.trouble}", "Is the name right, does it answer?"
        )
    elif shown.status in (200, 206):
        report.bad(
            "public", "a file that is not there", f"{url} answers {shown.status}", "Something answers for all names."
        )
    elif shown.status == 403:
        report.advised(
            "public", "a file that is not there", f"{url} answers 403, as if it were there and forbidden",
            "Let everybody list the bucket, or take 403 for 404 in the web server (error_page 403 404 = …).",
        )  # fmt: skip
    else:
        report.good("public", "a file that is not there", f"it answers {shown.status}")
    where = (
        "location ^~ /system/" if database.version.number >= (4, 6) else "try_files … @proxy in location ~ ^/system/"
    )
    if isinstance(instance.configuration.storage, FilesystemStorage):
        report.good("public", "healing hook", f"nothing to do yet. Once there is one, it goes into nginx at {where}")
    else:
        report.good(
            "public",
            "healing hook",
            "nothing to do yet. Once there is one, it goes into the web server before the bucket (error_page 403 404)",
        )
