"""A record on its way back: what is known of it, what sources may ask and offer, and what the way works with.

A `Source` is asked for one record after another. What it needs of strangers, or of Mastodon's queue, it `yield`s as a step
and gets back as an answer; in the end it returns an offer, or says that it has none. It never installs anything: that is
the chain's business (`chain`), and when a step is taken is the desk's (`desk`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from mastomend.database.reader import MastodonDatabase
from mastomend.images.moving import Ffmpeg
from mastomend.images.styles import Decoder
from mastomend.jobs.caches import Caches
from mastomend.jobs.sidekiq import Sidekiq
from mastomend.mastodon.configuration import Configuration
from mastomend.mastodon.jobs import Job
from mastomend.mastodon.keys import ORIGINAL, Key
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Source as Name
from mastomend.outcomes import Verdict
from mastomend.remote.asking import Ask, Fetched, NotFetched
from mastomend.storage.ports import Store
from mastomend.vocabulary import Addresses, Done, Finding, Target


@dataclass(frozen=True, slots=True)
class Means:
    """What restoring works with. `caches_answer` says whether Mastodon's Redis can be reached: without it nothing cached is
    forgotten and no lock is taken.
    """

    database: MastodonDatabase
    store: Store
    sidekiq: Sidekiq
    caches: Caches
    configuration: Configuration
    variables: Mapping[str, str]
    ffmpeg: Ffmpeg | None = None
    decoders: Sequence[Decoder] = ()
    caches_answer: bool = True

    @property
    def key_prefix(self) -> str:
        """`S3_KEY_PREFIX`, '' elsewhere."""
        return self.configuration.storage.key_prefix


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken record of the scan: a hint."""

    kind: Kind
    id: int
    corrupt: frozenset[str] = frozenset()


class Tried:
    """What the sources so far answered: for the record's report, and for what becomes of it should no other one help."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self.source: Name | None = None
        self.verdict: Verdict | None = None

    def add(self, source: Name, said: str, verdict: Verdict | None = None) -> None:
        """One more answer that did not help. Without a verdict what stood before stands."""
        if said:
            self._said.append(f"{source.value}: {said}")
        self.verdict = verdict or self.verdict

    def on(self, verdict: Verdict | None) -> Verdict | None:
        """The verdict with the report."""
        return None if verdict is None else replace(verdict, tried="; ".join(self._said))


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """One file found under another key of `store`."""

    style: str
    key: Key
    size: int
    store: Store


@dataclass(frozen=True, slots=True)
class Found:
    """The copies of a record's files by style, and what to tell of what was found and does not count.

    `may_have_more`: there is a place that cannot be looked into.
    """

    copies: Mapping[str, StoredCopy] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    may_have_more: bool = False

    def mends(self, broken: frozenset[str]) -> bool:
        """Whether those copies are enough for a record with these broken styles: its original is there or among them."""
        return bool(self.copies) and (ORIGINAL in self.copies or ORIGINAL not in broken)


@dataclass(frozen=True, slots=True)
class Case:
    """A record that is to be restored, as it was when it was looked at.

    `looked` is what storages said when they were asked for many records at once, by source; `corrupt` are the styles that are
    to be read, not only looked for. It `rests` if its origin has said no a short while ago; it `is_spoiled` if what was stored
    turned out to be useless, its original included.
    """

    target: Target
    broken: Sequence[Finding]
    corrupt: frozenset[str] = frozenset()
    is_spoiled: bool = False
    rests: bool = False
    looked: Mapping[object, Found] = field(default_factory=dict)
    addresses: Addresses = field(default_factory=Addresses)
    tried: Tried = field(default_factory=Tried)

    @property
    def bad(self) -> frozenset[str]:
        """The styles that are broken."""
        return frozenset(f.style for f in self.broken) | ({ORIGINAL} if self.is_spoiled else set())

    def spoiled(self, known: Mapping[int, Addresses]) -> Case:
        """The same after what was stored turned out to be useless, with where else to ask."""
        addresses = known.get(self.target.row.record.id, Addresses())
        return replace(self, is_spoiled=True, corrupt=self.corrupt | {ORIGINAL}, addresses=addresses)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A record looked at again just before it is changed."""

    target: Target
    broken: Sequence[Finding]


# --- what a source asks and offers ------------------------------------------------------------------------------------


class Gate(Protocol):
    """Something of this server's own that lets only so many through, such as Mastodon's queue."""

    @property
    def patience_s(self) -> float:
        """How long is waited when nobody gets through."""
        ...

    @property
    def poll_s(self) -> float:
        """How often it is asked while somebody waits."""
        ...

    def open_for(self, wanted: int) -> int:
        """How many of so many may go through now; each that does has taken a place. Called from one thread at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Wait:
    """To stand before a gate, behind those that came earlier. The answer is whether it let us through."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Stored:
    """Files that lie in a storage, by style; what is broken besides is made from the original. None at all: all of it is."""

    copies: Mapping[str, StoredCopy]


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of a picture, a film or a sound, and the address they came from if the row should have it.

    `otherwise` is how the source goes on should the record not be mended by them.
    """

    data: bytes
    url: str | None = None
    otherwise: Offers | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """Mastodon will: its columns are emptied, and a job asks for it, from that moment (0: at once), or its next occasion does.

    `end` is called when that is done, or could not be.
    """

    job: Job | None
    at: float = 0.0
    end: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class NoOffer:
    """A source has nothing. `said` is for the report; without a verdict what was said before stands.

    `is_last`: the other sources are not asked.
    """

    said: str = ""
    verdict: Verdict | None = None
    is_last: bool = False


Offer = Stored | Received | Handed
Step = Ask | Wait
Answer = Fetched | NotFetched | bool
Offers = Generator[Step, Answer, "Offer | NoOffer"]


@dataclass(frozen=True, slots=True)
class Way:
    """A record's path through its sources. It ends with what became of it; None if it turned out to be whole, or gone."""

    about: tuple[str, int]
    steps: Generator[Step, Answer, Done | None]


class Source(Protocol):
    """Where a record may come from; used from several threads."""

    @property
    def name(self) -> Name:
        """The word for it in reports."""
        ...

    @property
    def asks_others(self) -> bool:
        """Whether somebody outside is asked, so that moderation has a say."""
        ...

    def serves(self, kind: Kind) -> bool:
        """Whether it ever has anything of that kind."""
        ...

    def offers(self, case: Case) -> Offers:
        """What it asks, then what it offers.

        Raises:
            MastomendError: the disk, the database or Redis is lost. Whatever else is raised is the record's trouble.
        """
        ...
