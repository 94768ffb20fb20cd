"""The source `origin`: the address in the row.

A thumbnail without an address of its own was the cover embedded in a sound (facts §3.3): then the sound is asked for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mastomend.images.decode import UnusableImage
from mastomend.images.moving import Ffmpeg
from mastomend.mastodon.kinds import MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind, RemoteRule, is_blank
from mastomend.mastodon.media_types import AUDIO
from mastomend.outcomes import Deferred, Gone, Lost, Source
from mastomend.reasons import Reason
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.remote.documents import usable_url
from mastomend.restore.answers import asked, verdict_of_failure, verdict_of_image
from mastomend.restore.case import Case, NoOffer, Offers, Received
from mastomend.restore.policy import Policy

#: A host that asks for a pause is waited for; what is too big at one address is so at another.
_FINAL = frozenset({Failure.RATE_LIMITED, Failure.TOO_BIG})


class Origin:
    """Asks for the address in the row."""

    name = Source.ORIGIN
    asks_others = True

    def __init__(self, policy: Policy, ffmpeg: Ffmpeg | None) -> None:
        self._policy = policy
        self._ffmpeg = ffmpeg

    def serves(self, kind: Kind) -> bool:
        """What may come from elsewhere, but for what a page shows, of which no address is stored."""
        return kind is not PREVIEW_CARDS and kind.remote is not RemoteRule.NEVER

    def offers(self, case: Case) -> Offers:
        """What that address answers."""
        t = case.target
        url = t.row.remote_url or ""
        unknown = Lost(Reason.NO_URL, "the database knows no address it came from")
        if self._policy.needs_ffmpeg(t) and self._ffmpeg is None:
            detail = "ffmpeg was not found; Mastodon's own workers have it: --engine sidekiq"
            return NoOffer(verdict=Deferred(Reason.NEEDS_FFMPEG, detail), is_last=True)
        if is_blank(url):
            return (yield from self._from_sound(case, unknown)) if t.kind is MEDIA_THUMBNAILS else NoOffer("", unknown)
        answer: Fetched | NotFetched = NotFetched(Failure.BAD_URL, "the address in the database cannot be asked for")
        if usable_url(url) is not None:
            answer = yield from asked(Ask(url, self._policy.max_bytes(t)))
        if isinstance(answer, Fetched):
            return Received(answer.data)
        return NoOffer(answer.failure.reason, verdict_of_failure(answer, self.name), answer.failure in _FINAL)

    def _from_sound(self, case: Case, unknown: Lost) -> Offers:
        place = case.addresses.place
        if self._ffmpeg is None or case.target.row.media_type != AUDIO or place is None or is_blank(place.remote_url):
            return NoOffer("", unknown, is_last=True)
        answer = yield from asked(Ask(place.remote_url, self._policy.moving.max_bytes))
        if not isinstance(answer, Fetched):
            return NoOffer("", verdict_of_failure(answer, self.name), is_last=True)
        try:
            cover = _cover(self._ffmpeg, answer.data)
        except UnusableImage as error:
            return NoOffer(error.reason, verdict_of_image(error, self.name), is_last=True)
        if cover is None:
            return NoOffer(Reason.NO_PICTURE, Gone(Reason.NO_PICTURE, "no cover in it", self.name), is_last=True)
        return Received(cover)


def _cover(ffmpeg: Ffmpeg, sound: bytes) -> bytes | None:
    with tempfile.TemporaryDirectory(prefix="mastomend-") as folder:
        source = Path(folder) / "sound"
        source.write_bytes(sound)
        cover = ffmpeg.cover(source, Path(folder))
        return None if cover is None else cover.read_bytes()
