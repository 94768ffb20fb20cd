"""The source `page`: a preview card stores no image address, so the page is asked again, as Mastodon's crawler does.

oEmbed's picture first, then OpenGraph's image (facts §6.5, §13.6); should the first be of no use, the other. What is read in
them is `page_html`'s business; every address found there is fetched by the guarded client or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.mastodon.kinds import PREVIEW_CARDS, Kind
from mastomend.outcomes import Gone, Source
from mastomend.reasons import Reason
from mastomend.remote.asking import Ask, Fetched
from mastomend.restore.answers import asked, verdict_of_failure
from mastomend.restore.case import Case, NoOffer, Offers, Received
from mastomend.restore.policy import Policy
from mastomend.restore.sources import page_html


class Page:
    """Asks the page a card shows, then for the pictures it names."""

    name = Source.PAGE
    asks_others = True

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def serves(self, kind: Kind) -> bool:
        """Preview cards."""
        return kind is PREVIEW_CARDS

    def offers(self, case: Case) -> Offers:
        """The pictures the page names now, one after another."""
        url = case.addresses.page or ""
        if refused := self._policy.refused_host(url):
            return NoOffer(verdict=refused, is_last=True)
        answer = yield from asked(Ask(url, page_html.MAX_BYTES, accept=page_html.ACCEPT, truncate=True, crawler=True))
        if not isinstance(answer, Fetched):
            return NoOffer(verdict=verdict_of_failure(answer, self.name))
        if answer.content_type.partition(";")[0].strip().lower() != "text/html":
            return self._nothing(f"the page is now {answer.content_type or 'of no type'}")
        images = page_html.parse(answer.data, answer.content_type, answer.url)
        candidates = []
        if (endpoint := images.oembed or images.oembed_xml) is not None:
            oembed = yield from asked(Ask(endpoint, page_html.MAX_OEMBED_BYTES, truncate=True, crawler=True))
            if isinstance(oembed, Fetched):
                candidates.append(page_html.parse_oembed(oembed.data, oembed.url))
        candidates.append(images.image)
        wanted = list(dict.fromkeys(found for found in candidates if found))
        if not wanted:
            return self._nothing("the page names no picture any more")
        return (yield from self._pictures(case, wanted))

    def _pictures(self, case: Case, wanted: Sequence[str]) -> Offers:
        for number, url in enumerate(wanted, 1):
            answer = yield from asked(Ask(url, self._policy.max_bytes(case.target), crawler=True))
            if isinstance(answer, Fetched):
                return Received(answer.data, otherwise=self._pictures(case, wanted[number:]))
            case.tried.add(self.name, answer.failure.reason, verdict_of_failure(answer, self.name))
        return NoOffer()

    def _nothing(self, detail: str) -> NoOffer:
        return NoOffer(verdict=Gone(Reason.NO_PICTURE, detail, self.name))
