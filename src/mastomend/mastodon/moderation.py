"""What may be downloaded: domain blocks, suspensions and limited federation (facts §1.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mastomend.reasons import Reason


@dataclass(frozen=True, slots=True)
class DomainBlock:
    """A row of `domain_blocks`, reduced to what concerns media. `suspended` is severity 1."""

    reject_media: bool
    suspended: bool


@dataclass(frozen=True, slots=True)
class Moderation:
    """The instance's rules. `allowed` counts only in limited federation mode."""

    blocks: Mapping[str, DomainBlock] = field(default_factory=dict)
    limited_federation: bool = False
    allowed: frozenset[str] = frozenset()

    def refusal(self, domain: str | None, *, suspended: bool) -> Reason | None:
        """Why media of that account or domain must not be fetched, or None."""
        if suspended:
            return Reason.SUSPENDED
        if domain is None:
            return None
        host = normalize_domain(domain)
        block = self._rule(host)
        if block is not None and (block.reject_media or block.suspended):
            return Reason.REJECT_MEDIA if block.reject_media else Reason.DOMAIN_SUSPENDED
        if self.limited_federation and host not in self.allowed:
            return Reason.NOT_ALLOWED
        return None

    def _rule(self, host: str) -> DomainBlock | None:
        """The row with the longest matching domain: the host itself or one of its parent suffixes."""
        labels = host.split(".")
        for start in range(len(labels)):
            if block := self.blocks.get(".".join(labels[start:])):
                return block
        return None


def normalize_domain(domain: str) -> str:
    """Lower case and IDNA, as Mastodon stores domains in its block list."""
    text = domain.strip().strip(".").lower()
    try:
        return text.encode("idna").decode("ascii") if not text.isascii() else text
    except UnicodeError:
        return text
