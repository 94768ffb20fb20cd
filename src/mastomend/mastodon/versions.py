"""Which Mastodon a database belongs to, from its own migration bookkeeping (facts §13.3).

The version is *read*, from the newest migration that Mastodon itself brought (forks add numbers of their own, which
are left out). Behaviour is decided by the columns that are really there, because a server in the middle of an upgrade
has one without the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mastomend.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Release:
    """A Mastodon release and the last migration it brought."""

    name: str
    schema: int


RELEASES = (
    Release("4.2", 20230907150100),
    Release("4.3", 20241007071624),
    Release("4.4", 20250627132728),
    Release("4.5", 20251023210145),
    Release("4.6", 20260611150940),
    Release("4.7", 20260805130216),
)
#: The first migration of the 4.7 alphas after 4.6's last one.
_FIRST_OF_4_7 = 20260618114230

#: Migrations only glitch-soc has; they say nothing about Mastodon's version.
FORK_MIGRATIONS = frozenset({20171210213213, 20190512200918, 20220209175231, 20260209142401, 20260209143307})


@dataclass(frozen=True, slots=True)
class Version:
    """What the database says. `schema` is the newest migration as Rails records it; `note` is for people."""

    name: str
    schema: str
    note: str = ""

    @property
    def at_least_4_4(self) -> bool:
        """4.4 made libvips the default image engine (facts §3.1)."""
        return self.number >= (4, 4)

    @property
    def number(self) -> tuple[int, int]:
        """(major, minor)."""
        major, minor = self.name.split(".")[:2]
        return int(major), int(minor)


def version(migrations: Iterable[str]) -> Version:
    """The version those `schema_migrations.version` values stand for.

    Raises:
        ConfigurationError: no migrations at all, or older than 4.2.
    """
    numbers = sorted(int(m) for m in migrations if m.isdigit())
    if not numbers:
        raise ConfigurationError(
            "The database has no migrations: this is not (yet) a Mastodon database.",
            hint="Check DB_NAME, or run Mastodon's own `rails db:setup` first.",
        )
    own = [n for n in numbers if n not in FORK_MIGRATIONS] or numbers
    newest, shown = own[-1], str(numbers[-1])
    if newest < RELEASES[0].schema:
        raise ConfigurationError(
            f"This database belongs to a Mastodon older than 4.2 (newest migration {shown}).",
            hint="Upgrade Mastodon to 4.2 or newer first; older releases store media differently.",
        )
    if newest > RELEASES[-1].schema:
        return Version(
            RELEASES[-1].name,
            shown,
            f"newer than any Mastodon this release of Mastomend knows (its newest migration is {shown}, known are "
            f"those up to {RELEASES[-1].schema}). Treated as {RELEASES[-1].name}: a best effort; update Mastomend.",
        )
    if newest >= _FIRST_OF_4_7:
        return Version("4.7", shown, "a pre-release of Mastodon 4.7")
    release = max((r for r in RELEASES if r.schema <= newest), key=lambda r: r.schema)
    if newest == release.schema or release.name == "4.2":  # 4.2's patch releases may have brought migrations
        return Version(release.name, shown)
    return Version(
        release.name, shown, f"between {release.name} and the next release: an upgrade under way or a nightly"
    )
