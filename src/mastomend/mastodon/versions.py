"""Which Mastodon a database belongs to, from its own migration bookkeeping (facts §13.3).

The version is *read*: the highest known release whose own last migration is there. Forks bring migrations of their own,
dated whenever they like, so a high number alone says nothing. Behaviour is decided by the columns that are really there,
because a server in the middle of an upgrade has one without the other.
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


#: By their last migration; 4.7 by the first it brought after 4.6: its releases' own last one is not known here (facts §13.5).
RELEASES = (
    Release("4.2", 20230907150100),
    Release("4.3", 20241007071624),
    Release("4.4", 20250627132728),
    Release("4.5", 20251023210145),
    Release("4.6", 20260611150940),
    Release("4.7", 20260618114230),
)
#: No migration of a release that is known here is dated later than this.
_KNOWN_UNTIL = 20261231235959
#: Where 4.4 dropped `imports`.
_IMPORTS_DROPPED = 20250410144908

#: Migrations only glitch-soc has.
GLITCH_MIGRATIONS = frozenset({20171210213213, 20190512200918, 20220209175231, 20260209142401, 20260209143307})


@dataclass(frozen=True, slots=True)
class Version:
    """What the database says. `schema` is the newest migration as Rails records it; `note` is for people."""

    name: str
    schema: str
    note: str = ""
    dropped_imports: bool = False

    @property
    def has_imports(self) -> bool:
        """Whether there is a table `imports`."""
        return self.number < (4, 4) and not self.dropped_imports

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
    present = set(numbers)
    own = [n for n in numbers if n not in GLITCH_MIGRATIONS] or numbers
    newest, shown = own[-1], str(numbers[-1])
    if newest < RELEASES[0].schema:
        raise ConfigurationError(
            f"This database belongs to a Mastodon older than 4.2 (newest migration {shown}).",
            hint="Upgrade Mastodon to 4.2 or newer first; older releases store media differently.",
        )
    marked = [r for r in RELEASES if r.schema in present]
    release = marked[-1] if marked else max((r for r in RELEASES if r.schema <= newest), key=lambda r: r.schema)
    note = _note(release, newest, shown, is_glitch=bool(present & GLITCH_MIGRATIONS))
    return Version(release.name, shown, note, dropped_imports=_IMPORTS_DROPPED in present)


def _note(release: Release, newest: int, shown: str, *, is_glitch: bool) -> str:
    """What a person should know of a schema that is not just a release's; '' if there is nothing."""
    fork = f"that of a fork of Mastodon {release.name} (glitch-soc)" if is_glitch else ""
    if release is RELEASES[-1]:
        if newest <= _KNOWN_UNTIL:
            return fork
        return (
            f"newer than any Mastodon this release of Mastomend knows (its newest migration is {shown}). "
            f"Treated as {release.name}: a best effort; update Mastomend."
        )
    after = RELEASES[RELEASES.index(release) + 1]
    if newest <= release.schema or (
        release.name == "4.2" and newest < after.schema
    ):  # 4.2's patches may have brought some
        return fork
    if newest > after.schema:
        return fork or f"that of a fork of Mastodon {release.name}: it has a migration {shown}, but not {after.name}'s"
    return f"between {release.name} and {after.name}: an upgrade under way, a nightly, or a fork"
