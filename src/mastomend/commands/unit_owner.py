"""Whom systemd's units run as, and what that user could not do."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from mastomend.commands.instance import Instance
from mastomend.commands.state_place import SHARED, owners_of
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import changes_anything, kinds_of
from mastomend.errors import ConfigurationError, MastomendError
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


def cannot_change(instance: Instance, named: str | None) -> str:
    """Why what these units run as, in the system or in the database, may only look; '' if it may change something, or if that
    cannot be said.
    """
    user = runner(instance, named)[0]
    if user != "root" and (owner := foreign_owner(instance, named)) is not None:
        return f"the media belong to {owner}, and these run as {user}"
    with contextlib.suppress(MastomendError), MastodonDatabase(instance.configuration.database) as database:
        if not changes_anything(database, kinds_of(database)):
            return "the role of the database may change nothing"
    return ""


def cannot_read(instance: Instance, named: str | None) -> tuple[str, Path] | None:
    """Whom the units run as, and Mastodon's settings, if that user may not read them."""
    user, _ = runner(instance, named)
    if instance.env is None:
        return None
    status, entry = instance.env.stat(), pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    may = stat.S_IRUSR if status.st_uid == entry.pw_uid else stat.S_IRGRP if status.st_gid in groups else stat.S_IROTH
    return None if entry.pw_uid == 0 or status.st_mode & may else (user, instance.env)


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
