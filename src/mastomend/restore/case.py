"""What is known of a record on its way back, and what the way works with."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mastomend.database.reader import MastodonDatabase
from mastomend.images.moving import Ffmpeg
from mastomend.images.styles import Decoder
from mastomend.jobs.caches import Caches
from mastomend.jobs.sidekiq import Sidekiq
from mastomend.mastodon.configuration import Configuration
from mastomend.mastodon.kinds import Kind
from mastomend.outcomes import Source, Verdict
from mastomend.remote.client import Ask, Fetched, NotFetched
from mastomend.restore.sources.copies import StoredCopy
from mastomend.storage.ports import Store
from mastomend.vocabulary import Finding, Target

Answer = Fetched | NotFetched
#: A record's path through its sources: it yields what strangers must be asked, and ends with what became of it.
Way = Generator[Ask, Answer, "Verdict | None"]


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
class Case:
    """A record that is to be restored, as it was when it was looked at, and the source it begins with."""

    target: Target
    corrupt: frozenset[str]
    source: Source
    copies: Mapping[str, StoredCopy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A record looked at again just before it is changed."""

    target: Target
    broken: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken record of the scan: a hint."""

    kind: Kind
    id: int
    corrupt: frozenset[str]


class Tried:
    """What was asked so far and what it answered, for the record's report."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def add(self, source: Source, answer: str) -> None:
        """One more source that did not help."""
        self._said.append(f"{source.value}: {answer}")

    def on(self, verdict: Verdict | None) -> Verdict | None:
        """The verdict with the report."""
        return None if verdict is None else replace(verdict, tried="; ".join(self._said))


def intention(case: Case) -> str:
    """What is going to be tried first, as a sentence; what will be done is decided when bytes have come."""
    match case.source:
        case Source.ORIGINAL:
            return f"make it from its original, {case.target.files[0].key}"
        case Source.ELSEWHERE | Source.BACKUP:
            return "; ".join(f"copy {copy.size:,} bytes from {copy.key}" for copy in case.copies.values())
        case Source.PAGE:
            return "ask the page it shows"
        case _:
            return f"ask its origin for {case.target.row.remote_url or 'its current address'}"
