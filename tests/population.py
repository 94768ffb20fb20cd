"""A population in which every kind, style, id length and storage location of the facts is represented (facts §13.4)."""

from __future__ import annotations

from broken import record

from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import (
    AVATARS,
    BACKUPS,
    EMOJIS,
    HEADERS,
    IMPORTS,
    MEDIA_FILES,
    MEDIA_THUMBNAILS,
    PREVIEW_CARDS,
    PROVIDER_ICONS,
    SITE_UPLOADS,
)

IDS = [
    7, 1234, 123456789, 999999999, 1000000000, 1234567890, 12345678901, 123456789012, 1234567890123, 12345678901234,
    123456789012345, 1234567890123456, 12345678901234567, 109876543210987654, 1234567890123456789,
]  # fmt: skip


def populate(instance: SimulatedInstance, url: str = "https://origin.example") -> None:
    """Fill the instance; afterwards every key of `instance.files` is expected and held."""
    png, jpeg, gif = picture(1), picture(2, 500, 300, "jpeg"), picture(3, 90, 60, "gif", frames=2)
    instance.insert("accounts", id=-99, username="mastodon.internal", actor_type="Application")
    instance.db.execute("DELETE FROM accounts WHERE id = -99")
    instance.add_image(AVATARS, png, record_id=-99, username="mastodon.internal", uri="x:-99")
    owner, _ = instance.add_image(AVATARS, png, username="alice", uri="x:alice")
    instance.add_image(HEADERS, jpeg, username="local_header", uri="x:local_header")
    for n, record_id in enumerate(IDS):
        data = (png, jpeg, gif)[n % 3]
        version = (1, None, 0)[n % 3] if n % 2 else 1
        remote: dict[str, object] = {
            "domain": f"s{n % 4}.example", "remote_url": f"{url}/a{n}.png", "version": version,
        }  # fmt: skip
        record(instance, AVATARS, data, name=f"a{n}", record_id=record_id, row=remote)
        record(instance, HEADERS, data, name=f"h{n}", row=remote)
        instance.add_image(
            MEDIA_FILES,
            (png, jpeg, picture(9, 700, 500, "webp"))[n % 3],
            record_id=record_id,
            remote_url=f"{url}/m{n}.png",
            version=version,
            account_id=record_id if n % 4 else None,
        )
        instance.add_image(
            EMOJIS,
            (png, gif, picture(4, 60, 60, "webp"))[n % 3],
            record_id=record_id,
            shortcode=f"e{n}",
            image_remote_url=f"{url}/e{n}.png",
            domain="emoji.example",
            version=version,
        )
        instance.add_image(
            PREVIEW_CARDS, jpeg, record_id=record_id, url=f"{url}/page{n}", version=version, file_name=f"{n:016x}.gif"
        )
    _media(instance, owner, url, png, jpeg)
    instance.add_image(EMOJIS, png, shortcode="local", file_name="blobcat.png", disabled=True)
    instance.add_image(AVATARS, png, username="odd", uri="x:odd", file_name="odd näme #1%41?.tar.png")
    _uploads(instance, png, jpeg, owner)


def _media(instance: SimulatedInstance, owner: int, url: str, png: bytes, jpeg: bytes) -> None:
    instance.add_image(MEDIA_FILES, picture(5, 1000, 800, "jpeg"), account_id=owner, shortcode="local")
    instance.add_image(MEDIA_FILES, png, account_id=owner, remote_url=" \n\u3000", processing=3)
    for n, (name, content_type, kind) in enumerate(
        (
            ("v.mp4", "video/mp4", 2),
            ("g.mp4", "video/mp4", 1),
            ("s.mp3", "audio/mpeg", 4),
            ("still.gif", "image/gif", 0),
            ("old.heic", "image/heic", 0),
            ("noextension", "image/png", 0),
            (".hidden.png", "image/png", 0),
        )
    ):
        row = {"remote_url": f"{url}/v{n}", "account_id": owner, "type": kind}
        instance.add_plain(MEDIA_FILES, b"media " * (n + 5), name, content_type, **row)
    for version in (None, 1):
        row = {"remote_url": f"{url}/video", "thumbnail_remote_url": f"{url}/t.jpg", "type": 3, "account_id": owner}
        made = instance.produced(MEDIA_THUMBNAILS, jpeg)
        has_column = MEDIA_THUMBNAILS.version_column in instance.columns("media_attachments")
        columns = instance.attachment(MEDIA_THUMBNAILS, made, "aaaaaaaaaaaaaaaa.jpg", version)
        new = instance.insert("media_attachments", **row, **columns)
        stored = version if has_column else None
        record = Record(new, False, "aaaaaaaaaaaaaaaa.jpg", made.content_type, len(made.original), stored)
        instance.store(MEDIA_THUMBNAILS, record, made.files)
    instance.insert("media_attachments", remote_url=f"{url}/never", type=3)
    instance.insert("accounts", username="nofile", domain="s1.example", avatar_remote_url=f"{url}/x", uri="x:nofile")


def _uploads(instance: SimulatedInstance, png: bytes, jpeg: bytes, owner: int) -> None:
    for n, var in enumerate(("thumbnail", "mascot", "favicon", "app_icon")):
        instance.add_plain(SITE_UPLOADS, png, f"{n:016x}.png", "image/png", var=var)
    instance.insert("site_uploads", var="empty")
    instance.add_plain(PROVIDER_ICONS, png, "icon.ico", "image/x-icon", domain="cards.example")
    user = instance.insert("users", account_id=instance.somebody("owner"), email="owner@example.social")
    instance.add_plain(
        BACKUPS, b"PK" * 50, "archive-20250101000000-" + "a" * 32 + ".zip", "application/zip", user_id=user
    )
    if "data_file_name" in instance.columns("imports"):
        instance.add_plain(IMPORTS, b"user@example\n", "follows.csv", "text/csv", type=0, account_id=owner)
