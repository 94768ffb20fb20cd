"""The source `actor`: the account or the emoji, asked from its origin, says where its picture is now."""

from __future__ import annotations

from mastomend.mastodon.kinds import EMOJIS, Kind
from mastomend.remote.documents import Document, Picture, actor_picture, emoji_picture


def current_picture(kind: Kind, document: Document) -> Picture | None:
    """Where that kind's picture is now, None if the origin no longer shows one."""
    return emoji_picture(document) if kind is EMOJIS else actor_picture(document, kind.attachment)
