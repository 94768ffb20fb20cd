"""The sources `actor` and `note`: the origin's own word on where the picture is now.

`actor` is the account or the emoji; `note` the post a picture came with. Posts list their media without telling which is
which: the address decides, in whatever spelling, then the blurhash; otherwise the place in the post does, and only if the
post still has as many media as we know of.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.actions.deferral import UNREACHABLE
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.urls import origin_host, same_address
from mastomend.outcomes import Deferred, Gone, Source, Verdict
from mastomend.reasons import Reason
from mastomend.remote import documents
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.restore.answers import asked, verdict_of_failure
from mastomend.restore.case import Case, NoOffer, Offers, Received
from mastomend.restore.policy import Policy
from mastomend.vocabulary import Addresses, Place

#: The origin's own way of saying that what was asked for is gone.
_DEAD = frozenset({Failure.NOT_FOUND, Failure.GONE})


class FromDocument:
    """Asks for the actor, emoji or note, then for the address it names now."""

    asks_others = True

    def __init__(self, name: Source, policy: Policy) -> None:
        """`name` is ACTOR or NOTE."""
        self.name = name
        self._gone = Reason.NOTE_GONE if name is Source.NOTE else Reason.ACTOR_GONE
        self._policy = policy

    def serves(self, kind: Kind) -> bool:
        """Media come with posts; actors and emoji have documents of their own."""
        return kind in ((MEDIA_FILES, MEDIA_THUMBNAILS) if self.name is Source.NOTE else (AVATARS, HEADERS, EMOJIS))

    def offers(self, case: Case) -> Offers:
        """The picture that the document names, if it is another one than the row's."""
        t, url = case.target, case.addresses.document or ""
        if not url.startswith(("https://", "http://")):
            return NoOffer()
        before = case.tried.verdict
        is_silent = isinstance(before, Deferred) and before.reason in UNREACHABLE
        if is_silent and origin_host(url) == origin_host(t.row.remote_url or ""):
            return NoOffer()  # it is that very host which does not answer
        answer = yield from asked(Ask(url, documents.MAX_BYTES, accept=documents.ACCEPT, signed=True))
        if isinstance(answer, NotFetched):
            return self._unanswered(answer, before)
        document = documents.parse(answer.data, answer.content_type, url)
        del answer  # nothing of it is kept while the picture is waited for
        if isinstance(document, str):
            return NoOffer(document)
        if document.deleted:
            said = f"the origin says that the {self.name.value} itself is gone"
            return NoOffer(Reason.GONE, Gone(self._gone, said, self.name))
        picture = current_picture(t.kind, document, case.addresses)
        if picture is None or picture.url == t.row.remote_url:
            return NoOffer(Reason.NO_PICTURE if picture is None else Reason.SAME_ADDRESS)
        return (yield from self._picture(case, picture))

    def _unanswered(self, answer: NotFetched, before: Verdict | None) -> NoOffer:
        said = answer.failure.reason
        if answer.failure in _DEAD:
            detail = f"the origin says that the {self.name.value} itself is gone ({answer.detail})"
            return NoOffer(said, Gone(self._gone, detail, self.name))
        if not isinstance(before, Deferred) and answer.failure.host_in_trouble:
            return NoOffer(said, verdict_of_failure(answer, self.name))  # it may know more when it answers again
        return NoOffer(said)

    def _picture(self, case: Case, picture: documents.Picture) -> Offers:
        limit, url = self._policy.max_bytes(case.target), picture.url
        answer = yield from asked(Ask(url, limit, accept=documents.ACCEPT if picture.is_document else None))
        if picture.is_document and isinstance(answer, Fetched):
            inner = documents.parse(answer.data, answer.content_type, None)
            if isinstance(inner, documents.Document):
                found = documents.address(inner)
                if found is None:
                    return NoOffer(Reason.NO_PICTURE)
                url, answer = found, (yield from asked(Ask(found, limit)))
        if isinstance(answer, Fetched):
            return Received(answer.data, url)
        return NoOffer(answer.failure.reason, verdict_of_failure(answer, self.name))


def current_picture(kind: Kind, document: documents.Document, addresses: Addresses) -> documents.Picture | None:
    """Where that record's picture is now, None if the document no longer shows one."""
    if kind is EMOJIS:
        return documents.emoji_picture(document)
    if kind not in (MEDIA_FILES, MEDIA_THUMBNAILS):
        return documents.actor_picture(document, kind.attachment)
    if addresses.place is None:
        return None
    found = find_attachment(documents.attachments(document), addresses.place)
    if found is None:
        return None
    url = found.url if kind is MEDIA_FILES else found.icon
    return documents.Picture(url) if url else None


def find_attachment(found: Sequence[documents.Attached], place: Place) -> documents.Attached | None:
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
