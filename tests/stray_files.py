"""What nobody expects, beside what somebody does and what is not Mastodon's; and two looks at it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from broken import record
from conftest import opened

from mastomend.commands.orphans import orphans
from mastomend.commands.orphans_report import OrphansOptions, OrphansReport
from mastomend.demo.instance import SimulatedInstance
from mastomend.mastodon.keys import partition
from mastomend.mastodon.kinds import AVATARS, EMOJIS, MEDIA_FILES

#: A moment at which everything a test writes now is old enough.
LATER = timedelta(days=2)
#: What other programs and other versions have in a bucket or a directory, and nobody of ours may touch.
FOREIGN = (
    "favicon.ico",
    "robots.txt",
    "other-tenant/secret.bin",
    "other-tenant/accounts/avatars/000/000/001/original/a.png",
    "backups/2026-01-01.tar.gz",
    "accounts/avatars/000/000/001/huge/a.png",
    "accounts/avatars/000/000/001/original/deep/a.png",
    "cache/accounts/avatarsX/000/000/001/original/a.png",
    "cache/site_uploads/files/000/000/001/original/a.png",
    "accounts/avatars/0000/000/001/original/a.png",
    "cache/custom_emojis/images/000/000/abc/original/a.png",
    ".well-known/acme-challenge/token",
    "accounts/avatars/readme.txt",
)


def look(instance: SimulatedInstance, *, later: timedelta = LATER, **options: object) -> OrphansReport:
    return orphans(opened(instance), OrphansOptions(**options), now=lambda: datetime.now(UTC) + later)  # type: ignore[arg-type]


def twice(instance: SimulatedInstance, **options: object) -> OrphansReport:
    """A first scan, and a second one a moment later that moves."""
    look(instance)
    return look(instance, later=LATER + timedelta(seconds=2), apply=True, **options)


def populated(instance: SimulatedInstance) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What records expect, and what nobody does, by key; besides these there is what is foreign."""
    avatar = record(instance, AVATARS, domain="a.example", name="u")
    local = record(instance, AVATARS, name="alice")
    record(instance, MEDIA_FILES, remote_url="https://a.example/x", account_id=avatar.id, shortcode="x")
    record(instance, EMOJIS, domain="a.example")
    stray = {
        f"cache/accounts/avatars/{partition(109_876_543_210_987_654)}/original/gone.png": b"orphan",
        "accounts/headers/000/999/999/original/gone.png": b"headers",
        "media_attachments/files/000/000/001/small/ä b%.png": b"small",
        f"{avatar.key.rpartition('/')[0]}/other.png": b"duplicate",
        local.key.replace("accounts/", "cache/accounts/", 1): b"below cache",
    }
    for key, data in stray.items():
        instance.media.write(key, data)
    for key in FOREIGN:
        instance.media.write(key, b"somebody else's")
    return dict(instance.files), stray


def contents(instance: SimulatedInstance) -> dict[str, bytes | None]:
    return {key: instance.media.read(key) for key in instance.media.keys() if not key.startswith(".mastomend/")}


def shows(instance: SimulatedInstance, wanted: dict[str, bytes | None]) -> bool:
    """Whether the storage shows just that; Swift's listing follows after a while where the machine is busy."""
    deadline = time.monotonic() + 60
    while contents(instance) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
