"""What may be asked and made for a record: moderation, Mastodon's limits, this server's own names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mastomend.database.reader import MastodonDatabase
from mastomend.mastodon.configuration import Configuration
from mastomend.mastodon.kinds import MEDIA_FILES, Kind
from mastomend.mastodon.media_types import IMAGE, is_moving
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import MovingRules, image_rules, moving_rules
from mastomend.mastodon.urls import origin_host
from mastomend.outcomes import Refused, Source, Verdict
from mastomend.plans.repair import undownloadable
from mastomend.reasons import Reason
from mastomend.vocabulary import Target

_MODERATION_S = 60.0


class Policy:
    """The instance's rules; used from several threads. `rules` are those for pictures by kind, `moving` those for films."""

    def __init__(
        self,
        database: MastodonDatabase,
        configuration: Configuration,
        kinds: Sequence[Kind],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = configuration.limits
        self.rules = {kind.name: image_rules(kind, database.version, limits) for kind in kinds}
        self.moving: MovingRules = moving_rules(database.version, limits)
        self._database = database
        self._limited_federation = limits.limited_federation
        self._clock = clock
        self._read_at = -_MODERATION_S
        self._moderation = Moderation()
        names = (configuration.local_domain, configuration.web_domain, *configuration.alternate_domains)
        self._own_domains = frozenset(name.lower() for name in names)

    def moderation(self) -> Moderation:
        """The instance's rules, at most a minute old: a run may take hours, and a block holds from when it is made."""
        if self._clock() - self._read_at >= _MODERATION_S:
            self._moderation = self._database.moderation(limited_federation=self._limited_federation)
            self._read_at = self._clock()
        return self._moderation

    def undownloadable(self, t: Target) -> Verdict | None:
        """Why nothing may be fetched for that record now; None if it may be."""
        return undownloadable(t, self.moderation(), self._own_domains)

    def refused_host(self, url: str) -> Verdict | None:
        """Moderation for what belongs to no account and no server, such as a page: its host decides."""
        host = origin_host(url)
        is_own = host in self._own_domains
        reason = Reason.OWN_DOMAIN if is_own else self.moderation().refusal(host, suspended=False)
        return None if reason is None else Refused(reason, f"{host} is not to be asked", Source.PAGE)

    def needs_ffmpeg(self, t: Target) -> bool:
        """Whether that record is a film or a sound."""
        return t.kind is MEDIA_FILES and is_moving(t.row.media_type)

    def max_bytes(self, t: Target) -> int:
        """What may be large is asked for as such, so that not many large bodies are held at once."""
        rules = self.rules[t.kind.name]
        assert rules is not None
        large = t.kind is MEDIA_FILES and t.row.media_type not in (None, IMAGE)
        return max(rules.max_bytes, self.moving.max_bytes) if large else rules.max_bytes
