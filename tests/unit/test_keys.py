"""Golden keys, by hand from facts/mastodon-media.md §2.2 to §2.4."""

from __future__ import annotations

import pytest

from mastomend.mastodon.keys import Record, candidate_ids, expected_files, parse_key, partition, split_name
from mastomend.mastodon.kinds import (
    AVATARS,
    BACKUPS,
    EMOJIS,
    MEDIA_FILES,
    MEDIA_THUMBNAILS,
    PREVIEW_CARDS,
    SITE_UPLOADS,
    Kind,
    is_blank,
)

PARTITIONS = {
    1: "000/000/001",
    1234: "000/001/234",
    123456789: "123/456/789",
    999999999: "999/999/999",
    1000000000: "001/000/000/000",
    1234567890: "001/234/567/890",
    12345678901: "012/345/678/901",
    123456789012: "123/456/789/012",
    1234567890123: "123/456/789/012",
    12345678901234: "123/456/789/012",
    123456789012345: "123/456/789/012/345",
    1234567890123456: "123/456/789/012/345",
    12345678901234567: "123/456/789/012/345",
    109876543210987654: "109/876/543/210/987/654",
    1234567890123456789: "123/456/789/012/345/678",
    -99: "000/000",
    -100: "000/001",
}


@pytest.mark.parametrize(("record_id", "folder"), PARTITIONS.items())
def test_partition(record_id: int, folder: str) -> None:
    assert partition(record_id) == folder
    assert any(low <= record_id <= high for low, high in candidate_ids(folder.replace("/", "")))


SNOWFLAKE = 109876543210987654
GOLDEN: list[tuple[Kind, Record, str, list[str]]] = [
    (
        AVATARS,
        Record(SNOWFLAKE, False, "0123456789abcdef.gif", "image/gif", 9, 1),
        "",
        [
            "cache/accounts/avatars/109/876/543/210/987/654/original/0123456789abcdef.gif",
            "cache/accounts/avatars/109/876/543/210/987/654/static/0123456789abcdef.png",
        ],
    ),
    (
        AVATARS,
        Record(SNOWFLAKE, False, "0123456789abcdef.png", "image/png", 9, None),
        "",
        ["accounts/avatars/109/876/543/210/987/654/original/0123456789abcdef.png"],
    ),
    (AVATARS, Record(1, True, "a.png", "image/png", 9, 1), "", ["accounts/avatars/000/000/001/original/a.png"]),
    (AVATARS, Record(-99, True, "a.png", "image/png", 9, 1), "", ["accounts/avatars/000/000/original/a.png"]),
    (
        MEDIA_FILES,
        Record(112345678901234567, False, "aaaaaaaaaaaaaaaa.mp4", "video/mp4", 9, 1),
        "pre/fix",
        [
            "pre/fix/cache/media_attachments/files/112/345/678/901/234/567/original/aaaaaaaaaaaaaaaa.mp4",
            "pre/fix/cache/media_attachments/files/112/345/678/901/234/567/small/aaaaaaaaaaaaaaaa.png",
        ],
    ),
    (
        MEDIA_FILES,
        Record(5, False, "a.heic", "image/heic", 9, 1),
        "",
        [
            "cache/media_attachments/files/000/000/005/original/a.heic",
            "cache/media_attachments/files/000/000/005/small/a.jpeg",
        ],
    ),
    (
        MEDIA_FILES,
        Record(5, False, "a.mp3", "audio/mpeg", 9, 1),
        "",
        ["cache/media_attachments/files/000/000/005/original/a.mp3"],
    ),
    (
        MEDIA_THUMBNAILS,
        Record(112345678901234567, False, "b.jpg", "image/jpeg", 9, None),
        "",
        ["media_attachments/thumbnails/112/345/678/901/234/567/original/b.jpg"],
    ),
    (
        EMOJIS,
        Record(4711, False, "cccccccccccccccc.webp", "image/webp", 9, 1),
        "",
        [
            "cache/custom_emojis/images/000/004/711/original/cccccccccccccccc.webp",
            "cache/custom_emojis/images/000/004/711/static/cccccccccccccccc.png",
        ],
    ),
    (
        PREVIEW_CARDS,
        Record(987654, False, "dddddddddddddddd.jpg", "image/jpeg", 9, 1),
        "",
        ["cache/preview_cards/images/000/987/654/original/dddddddddddddddd.jpg"],
    ),
    (
        SITE_UPLOADS,
        Record(1, True, "e.jpg", "image/jpeg", 9, None, "thumbnail"),
        "",
        [
            "site_uploads/files/000/000/001/original/e.jpg",
            "site_uploads/files/000/000/001/@1x/e.png",
            "site_uploads/files/000/000/001/@2x/e.png",
        ],
    ),
    (
        SITE_UPLOADS,
        Record(1, True, "e.jpg", "image/jpeg", 9, None, "mascot"),
        "",
        ["site_uploads/files/000/000/001/original/e.jpg"],
    ),
    (BACKUPS, Record(12, True, "archive-1.zip", None, 9), "", ["backups/dumps/000/000/012/original/archive-1.zip"]),
]


@pytest.mark.parametrize(("kind", "record", "prefix", "keys"), GOLDEN)
def test_golden_keys(kind: Kind, record: Record, prefix: str, keys: list[str]) -> None:
    assert [file.key for file in expected_files(kind, record, prefix)] == keys
    for key in keys:
        parsed = parse_key(key, prefix)
        assert parsed is not None and parsed.kind is kind
        assert any(low <= record.id <= high for low, high in parsed.ids)


@pytest.mark.parametrize(
    "key",
    ["", "x", "favicon.ico", "cache/", "accounts/avatars/12/345/original/a", "cache/site_uploads/files/000/000/001/original/a",
     "accounts/avatars/000/000/001/a.png", "nope/avatars/000/000/001/original/a.png", ".mastomend/quarantine/r/a"],
)  # fmt: skip
def test_what_is_no_key(key: str) -> None:
    assert parse_key(key) is None


@pytest.mark.parametrize("name", ["../a.png", "a/b.png", "..", ".", "", "a\0b"])
def test_unsafe_names_have_no_keys(name: str) -> None:
    with pytest.raises(ValueError, match="unsafe"):
        expected_files(AVATARS, Record(1, False, name, "image/png", 1, 1))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.png", ("a", "png")), ("a.tar.gz", ("a.tar", "gz")), ("a", ("a", "")), (".png", (".png", "")),
     ("..png", ("..png", "")), (".a.png", (".a", "png")), ("a.", ("a", ""))],
)  # fmt: skip
def test_split_name(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("text", "blank"), [(None, True), ("", True), (" \t\n\u3000\xa0", True), ("x", False), ("\x1c", False)]
)
def test_blank_is_ruby_s(text: str | None, blank: bool) -> None:
    assert is_blank(text) is blank
