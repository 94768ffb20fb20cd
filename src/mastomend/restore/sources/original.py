"""The source `original`: what is broken is made from the record's own original, which is still sound."""

from __future__ import annotations

from mastomend.images.moving import Ffmpeg
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Source
from mastomend.plans.repair import derivable
from mastomend.restore.case import Case, NoOffer, Offers, Stored
from mastomend.restore.policy import Policy


class Original:
    """Nothing is asked of anybody."""

    name = Source.ORIGINAL
    asks_others = False

    def __init__(self, policy: Policy, ffmpeg: Ffmpeg | None) -> None:
        self._policy = policy
        self._ffmpeg = ffmpeg

    def serves(self, kind: Kind) -> bool:
        """Where styles are made from an original."""
        return bool(kind.derived)

    def has(self, case: Case) -> bool:
        """Whether everything that is broken can be made from it."""
        rules = self._policy.rules[case.target.kind.name]
        return derivable(case.target, case.broken, rules, video=self._ffmpeg is not None)

    def offers(self, case: Case) -> Offers:
        """The original itself."""
        yield from ()
        return Stored({}) if self.has(case) else NoOffer()
