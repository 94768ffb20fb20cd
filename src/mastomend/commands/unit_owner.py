"""Whom systemd's units run as, and what that user could not do."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from mastomend.commands.instance import Instance
from mastomend.commands.prune_rights import emptied_columns
from mastomend.commands.state_place import SHARED, owners_of
from mastomend.database.reader import MastodonDatabase
from mastomend.database.retention import read_retention
from mastomend.database.rows import barred_from, kinds_of, require_to_repair, unchangeable
from mastomend.errors import ConfigurationError, DatabaseError, MastomendError
from mastomend.inventory import cached
from mastomend.inventory.cached import UNITS
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.storage_settings import FilesystemStorage


def foreign_owner(instance: Instance, named: str | None) -> str | None:
    """Whom the media belong to, if that is not who the units run as: they could not write there."""
    storage = instance.configuration.storage
    user, _ = runner(instance, named)
    if not isinstance(storage, FilesystemStorage):
        return None
    try:
        owner = pwd.getpwuid(Path(storage.root).stat().st_uid).pw_name
    except (KeyError, OSError):  # it is not there, or belongs to a number: the units say so when they run
        return None
    return owner if owner != user else None


def obstacles(instance: Instance, named: str | None) -> dict[str, str]:
    """Why a command could not do its work from a unit (`check`, `repair`, `guard`), by its name: for the role in the database,
    or for whom it runs as in the system. What cannot be told is not in it.
    """
    found: dict[str, str] = {}
    try:
        with MastodonDatabase(instance.configuration.database) as database:
            for command, needs in _needs(instance, database).items():
                for need in needs:
                    try:
                        need()
                    except DatabaseError as error:
                        found[command] = error.message.rstrip(".")
                        break
    except MastomendError as error:
        if error.statements:  # it is no matter of who asks, as a password or a socket is
            found = dict.fromkeys(("check", "repair", "guard"), error.message.rstrip("."))
    user = runner(instance, named)[0]
    if user != "root" and (owner := foreign_owner(instance, named)) is not None:
        found |= dict.fromkeys(("repair", "guard"), f"the media belong to {owner}, and these run as {user}")
    return found


def _needs(instance: Instance, database: MastodonDatabase) -> dict[str, tuple[Callable[[], object], ...]]:
    """What each command asks of the database, as what raises a DatabaseError where it may not."""
    kinds, limited = kinds_of(database), instance.configuration.limits.limited_federation
    return {
        "check": (lambda: database.require(must_see(kinds)),),
        "repair": (
            lambda: require_to_repair(database, kinds, limited=limited),
            lambda: _raised(unchangeable(database, kinds)),
        ),
        "guard": (
            lambda: cached.require(database, tuple(UNITS)),
            lambda: _raised(barred_from(database, emptied_columns())),
            lambda: read_retention(database),
        ),
    }


def _raised(error: DatabaseError | None) -> None:
    if error is not None:
        raise error


def cannot_read(instance: Instance, named: str | None) -> tuple[str, Path] | None:
    """Whom the units run as, and Mastodon's settings, if that user may not read them, or the folder it may not pass."""
    user, _ = runner(instance, named)
    if instance.env is None:
        return None
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    if entry.pw_uid == 0:
        return None
    path = instance.env.absolute()
    for one, right in [*((folder, stat.S_IXOTH) for folder in reversed(path.parents)), (path, stat.S_IROTH)]:
        status = one.stat()
        may = right << 6 if status.st_uid == entry.pw_uid else right << 3 if status.st_gid in groups else right
        if not status.st_mode & may:
            return user, one
    return None


def to_be_made(state: Path | None, instance: Instance, named: str | None) -> str | None:
    """The command that makes a state directory that was named and is not there yet: a service could not."""
    if state is None or state.absolute().is_relative_to(SHARED):
        return None
    user, group = runner(instance, named)
    if state.exists():
        is_theirs = state.stat().st_uid == pwd.getpwnam(user).pw_uid
        return None if is_theirs or user == "root" else f"chown -R {user}:{group} {shlex.quote(str(state.absolute()))}"
    return f"install -d -o {user} -g {group} -m 700 {shlex.quote(str(state.absolute()))}"


def runner(instance: Instance, named: str | None) -> tuple[str, str]:
    """Whoever runs Mastodon: the one that was named, else the owner of its settings."""
    try:
        if named is not None:
            user = pwd.getpwnam(named)
        else:
            env = instance.folder / ".env.production"
            owners = owners_of(
                [*([instance.env] if instance.env else []), *([env] if env.exists() else []), instance.folder]
            )
            user = pwd.getpwuid(next(iter(owners), 0))
        return user.pw_name, grp.getgrgid(user.pw_gid).gr_name
    except (KeyError, OSError):
        who = named or "the owner of Mastodon's settings"
        raise ConfigurationError(
            f"There is no user {who} here.", hint="Name the user that runs Mastodon: --user NAME."
        ) from None
