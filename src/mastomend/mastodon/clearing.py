"""Which columns describe an attachment: what Mastodon empties when it lets a file go, and what says so when one comes. Pure.

Mastodon downloads only what has no file name (facts §0.3). What will then fetch a record, and when, differs by kind; for some
nothing ever will. Sources: facts §0.8, §3.5, §5.3, §6.2, §6.5, §10.
"""

from __future__ import annotations

from collections.abc import Mapping

from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES, PREVIEW_CARDS, Kind

_EMPTIED = ("file_name", "content_type", "file_size", "updated_at")
_ACCOUNT = "when the account is refreshed: it posts after a week's silence, or somebody looks it up"
#: What makes Mastodon fetch an emptied record without a job.
OCCASIONS: Mapping[str, str] = {
    AVATARS.name: _ACCOUNT,
    HEADERS.name: _ACCOUNT,
    MEDIA_FILES.name: "when somebody looks at the post",
    PREVIEW_CARDS.name: "when the same link is posted again",
}


def emptied(kind: Kind) -> list[str]:
    """The columns that become NULL when Mastodon clears that attachment."""
    return [kind.column(suffix) for suffix in _EMPTIED]


def changed_by_repair(kind: Kind) -> list[str]:
    """The columns that new bytes may change; a schema may lack some."""
    shared = ["updated_at", "file_meta", "blurhash", "type", "width", "height"]
    return [*emptied(kind), kind.version_column, *shared, *([kind.remote_url] if kind.remote_url else [])]
