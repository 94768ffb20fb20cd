"""What a medium or a preview card is, as numbers in the database (facts §1). Pure."""

from __future__ import annotations

#: `media_attachments.type`.
IMAGE, GIFV, VIDEO, UNKNOWN, AUDIO = range(5)
#: `preview_cards.type` of a link, as text; other cards keep the size of their embedded player.
LINK_CARD = "0"


def is_moving(media_type: int | None) -> bool:
    """Whether it is a film or a sound: what ffmpeg is needed for. A type nobody knows may be a picture."""
    return media_type not in (None, IMAGE, UNKNOWN)
