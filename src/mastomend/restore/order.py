"""The order of sources, which is kindness (product.md), and which of them have something of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Source as Name
from mastomend.restore.case import Means, Source
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import Copies, Shelf
from mastomend.restore.sources.document import FromDocument
from mastomend.restore.sources.origin import Origin
from mastomend.restore.sources.original import Original
from mastomend.restore.sources.page import Page


@dataclass(frozen=True, slots=True)
class Sources:
    """Where records may come from. What is stored here costs nobody anything; `others` are asked after it, in order."""

    original: Original
    copies: Sequence[Copies]
    others: Sequence[Source]

    def of(self, kind: Kind) -> list[Source]:
        """Those that may have something of that kind, in the order in which they are tried."""
        sources: list[Source] = [self.original, *self.copies, *self.others]
        return [source for source in sources if source.serves(kind)]

    def before_strangers(self, source: Source) -> Sources:
        """The same with one more, which is tried before any origin is asked."""
        return replace(self, others=(source, *self.others))


def usual(means: Means, policy: Policy, shelves: Sequence[Shelf]) -> Sources:
    """The order of a repair: what is here, then the address in the row, then the origin's word on where the picture is now.

    An address is given up only when there is no other source left: a host that is gone says nothing about the actor, who
    lives elsewhere.
    """
    return Sources(
        Original(policy, means.ffmpeg),
        [Copies(shelf, means.store) for shelf in shelves],
        (Origin(policy, means.ffmpeg), FromDocument(Name.ACTOR, policy), FromDocument(Name.NOTE, policy), Page(policy)),
    )
