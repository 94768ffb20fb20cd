"""systemd's units for this instance: the check of every night, and another try of what was deferred."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mastomend.commands.instance import Instance
from mastomend.commands.state_place import SHARED, homes, is_used
from mastomend.commands.unit_owner import runner
from mastomend.errors import ConfigurationError
from mastomend.mastodon.storage_settings import FilesystemStorage

_TEMPLATES = Path(__file__).parents[1] / "units"


@dataclass(frozen=True, slots=True)
class Job:
    """Something done from a timer. `code_1` says what exit code 1 means to systemd, `deletes` that it does for good."""

    name: str
    description: str
    command: str
    calendar: str
    when: str
    code_1: str
    deletes: bool = False


JOBS = (
    Job(
        "mastomend-check",
        "is anything newly broken?",
        "check --new -q",
        "*-*-* 04:17",
        "every night",
        "# 1 says that something is newly broken: the unit fails, and OnFailure= of your own can say so",
    ),
    Job(
        "mastomend-deferred",
        "try again what was deferred",
        "repair --deferred --apply -q",
        "hourly",
        "every hour",
        "# 1 says that something is still broken, which is nothing systemd should worry about; 4 is a safety stop\n"
        "SuccessExitStatus=1",
    ),
    Job(
        "mastomend-guard",
        "is there room, and what may go?",
        "guard --apply -q",
        "*-*-* 05:23",
        "every night",
        "# 1 says that a person should do something: the unit fails, and OnFailure= of your own can say so",
        deletes=True,
    ),
)


def units(
    instance: Instance, program: Sequence[str], env: Path | None, state: Path | None, owner: str | None
) -> dict[str, str]:
    """The units' texts by file name. `program` is the tool, as words; `env` is Mastodon's settings file, `state` as
    it was named.

    Raises:
        ConfigurationError: that user does not exist.
    """
    if env is None:
        raise ConfigurationError(
            "Mastodon's settings are in this process's environment only, which a timer does not have.",
            hint="Name a settings file with --env. In a container use cron on the host: see the guide on Docker.",
        )
    if given := sorted(
        name for name in os.environ if name in ("DATABASE_URL", "DB_USER", "DB_PASS", "DB_HOST", "DB_NAME")
    ):
        raise ConfigurationError(
            f"{', '.join(given)} in this process's environment is something a timer does not have.",
            hint="Put it into a settings file, and name that with --env.",
        )
    user, group = runner(instance, owner)
    state = state or _used_before(instance, user)
    named = [(option, path) for option, path in (("--env", env), ("--state", state)) if path is not None]
    words = [*program, *(word for option, path in named for word in (option, os.fspath(path.absolute())))]
    command = " ".join(_word(word).replace("$", "$$") for word in words)
    shared = _in_tmp([Path(program[0]), instance.folder, *(path for _, path in named), *_reached(instance)])
    found = {}
    for job in JOBS:
        values = {
            "name": job.name,
            "description": job.description,
            "user": user,
            "group": group,
            "folder": str(instance.folder).replace("%", "%%"),
            "command": f"{command} {job.command}",
            "success": job.code_1,
            "writable": _writable(instance, state),
            "private": "no" if shared else "yes",
            "when": job.when,
            "calendar": job.calendar,
        }
        for kind in ("service", "timer"):
            text = (_TEMPLATES / kind).read_text(encoding="utf-8")
            found[f"{job.name}.{kind}"] = Template(text).substitute(values)
    return found


def _used_before(instance: Instance, user: str) -> Path | None:
    """The state directory this instance has elsewhere: without what is known there everything broken would look new, and
    nothing could be taken back. None where the service's own (`/var/lib/mastomend`) is right.
    """
    runs_as = pwd.getpwnam(user).pw_uid
    for state in dict.fromkeys((*homes([runs_as], instance.state.name), instance.state)):
        with contextlib.suppress(OSError):  # whom it belongs to does not let us look
            if not state.is_relative_to(SHARED) and is_used(state) and _may_use(runs_as, state):
                return state
    return None


def _may_use(user: int, state: Path) -> bool:
    """Whether it belongs to that user, or to root, who is told to hand it over; a third one's is closed to it."""
    return user == 0 or state.stat().st_uid in (user, 0)


def _writable(instance: Instance, state: Path | None) -> str:
    """What a service may write: its own directory (`/var/lib/mastomend`), made only where no other one is used, as commands by
    hand would take it for theirs. The media may be away: that must not keep it from saying so.
    """
    storage = instance.configuration.storage
    paths = [Path(storage.root)] if isinstance(storage, FilesystemStorage) else []
    paths += [state] if state is not None else []
    is_own = state is None or state.absolute().is_relative_to(SHARED)
    own = ["StateDirectory=mastomend", "StateDirectoryMode=0700"] if is_own else []
    return "\n".join([*own, *(f"ReadWritePaths=-{_word(os.fspath(path.absolute()))}" for path in paths)])


def _reached(instance: Instance) -> list[Path]:
    """What is reached by a path besides: the media, a socket of the database."""
    storage = instance.configuration.storage
    host = str(instance.configuration.database.parameters.get("host") or "")
    media = [Path(storage.root)] if isinstance(storage, FilesystemStorage) else []
    return [*media, *([Path(host)] if host.startswith("/") else [])]


def _in_tmp(paths: Sequence[Path]) -> bool:
    """Whether one is below a directory that a service would have for itself, and empty."""
    return any(path.absolute().is_relative_to(tmp) for path in paths for tmp in ("/tmp", "/var/tmp"))


def _word(text: str) -> str:
    """One word as systemd reads it, which is not how a shell does; `%` begins something of its own."""
    if not text.isprintable():
        raise ConfigurationError(f"{text!r} cannot stand in a unit.", hint="Give that file or folder another name.")
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return plain if plain == text and not any(c in text for c in " '#;") else f'"{plain}"'
