"""The source `note`: the post a picture came with, asked from its origin, says where the picture is now.

Posts list their media without telling which is which. The address decides, in whatever spelling, then the blurhash;
otherwise the place in the post does, and only if the post still has as many media as we know of.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.mastodon.urls import same_address
from mastomend.remote.documents import Attached
from mastomend.vocabulary import Place


def find_attachment(found: Sequence[Attached], place: Place) -> Attached | None:
    """Which of the post's attachments is ours, None if that cannot be told."""
    same_url = [a for a in found if same_address(a.url, place.remote_url)]
    if len(same_url) == 1:
        return same_url[0]
    same_look = [a for a in found if place.blurhash and a.blurhash == place.blurhash]
    if len(same_look) == 1:
        return same_look[0]
    if len(found) == place.total and place.position < place.total:
        there = found[place.position]
        contradicts = place.blurhash and there.blurhash and place.blurhash != there.blurhash
        return None if contradicts else there
    return None
