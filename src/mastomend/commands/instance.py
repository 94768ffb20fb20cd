"""Finding the instance: `.env.production`, its neighbours, `mastomend.toml` and the state directory, read once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mastomend.commands.settings import Settings, load
from mastomend.commands.state_place import default_state, owners_of, share
from mastomend.errors import ConfigurationError
from mastomend.mastodon.configuration import Configuration, configuration
from mastomend.mastodon.environment import FILES_BY_PRECEDENCE, Dialect, merge
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.mastodon.versions import Version
from mastomend.storage.in_the_way import owner

DEFAULT_ENV = Path("/home/mastodon/live/.env.production")
_USUAL_PLACES = (Path("/home/mastodon/live"), Path("/opt/mastodon"), Path("/mastodon"))
#: What tells Mastodon's directory from any other.
_SIGNS = ("config/environment.rb", "Gemfile.lock", "public/system")


@dataclass(frozen=True, slots=True)
class Instance:
    """One Mastodon installation as its own settings describe it, with Mastomend's settings and state directory.

    `folder` is where its settings lie (`env`, if they are in a file), and Mastomend's own beside them.
    """

    configuration: Configuration
    settings: Settings
    state: Path
    folder: Path
    variables: Mapping[str, str]
    env: Path | None = None

    @property
    def key_prefix(self) -> str:
        """`S3_KEY_PREFIX`, '' elsewhere."""
        return self.configuration.storage.key_prefix


_NAME_IT = "Name Mastodon's .env.production with --env."


def locate_env(named: Path | None, process: Mapping[str, str]) -> Path | None:
    """The settings file: the one named, `$MASTOMEND_ENV`, `./.env.production`, Mastodon's usual place.

    None where there is none and the process's own variables name the instance, as in a container.

    Raises:
        ConfigurationError: there is none, or the one that was named cannot be there.
    """
    if named is not None:
        try:
            is_folder = stat.S_ISDIR(named.stat().st_mode)  # a pipe will do: `--env <(sops -d secrets.env)`
        except (OSError, ValueError) as error:
            what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {_why(error)}"
            hint = "Run as the user that runs Mastodon." if isinstance(error, PermissionError) else _NAME_IT
            raise ConfigurationError(f"{named} {what}.", hint=hint) from None
        if is_folder:
            raise ConfigurationError(f"{named} is a directory.", hint=_NAME_IT)
        return named
    if chosen := process.get("MASTOMEND_ENV"):
        return locate_env(Path(chosen), {})
    for candidate in (Path(".env.production"), DEFAULT_ENV):
        if candidate.is_file():
            return candidate
    if process.get("LOCAL_DOMAIN"):
        return None
    raise ConfigurationError(
        "No .env.production found: neither here nor in /home/mastodon/live; nor is LOCAL_DOMAIN set in the environment.",
        hint="Name it: mastomend --env /path/to/.env.production check",
    )


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def mastodon_folder(env: Path | None) -> Path:
    """Mastodon's own directory, which relative paths mean: where its settings lie, if that looks like it."""
    beside = [] if env is None else [env.parent]
    places = [*beside, Path.cwd(), *_USUAL_PLACES]
    return next((p for p in places if any((p / sign).exists() for sign in _SIGNS)), [*beside, Path.cwd()][0])


def open_instance(env: Path | None, state: Path | None, process: Mapping[str, str]) -> Instance:
    """Read everything that describes the instance.

    Raises:
        ConfigurationError: a file or a value is wrong; the message names both.
    """
    found = locate_env(env, process)
    env_file = None if found is None else found.absolute()
    root = mastodon_folder(env_file)
    files: dict[str, str] = {}
    if env_file is not None:
        is_usual = env_file.name in FILES_BY_PRECEDENCE
        for name in FILES_BY_PRECEDENCE if is_usual else (env_file.name,):
            if (text := _read(env_file.parent / name)) is not None:
                files[name] = text
    lock = _read(root / "Gemfile.lock")
    dialect = Dialect.from_gemfile_lock(lock) if lock else Dialect()
    folder = env_file.parent if env_file is not None and env_file.is_file() else root
    variables = merge(files, process, dialect=dialect, folder=f"{folder}/")
    if broken := next((name for name, value in variables.items() if "\0" in value), None):
        raise ConfigurationError(
            f"{broken} holds a zero byte.", hint="Mastodon does not start with such a value, either."
        )
    config = configuration(variables, str(root))
    settings = load(folder / "mastomend.toml")
    owners = owners_of([*_media(config), *([env_file] if env_file else []), folder])
    state = (state or default_state(config.local_domain, process, owners)).absolute()
    share(state, owners)
    try:
        state.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The state directory {state} cannot be used: {_why(error)}.", hint="Name another one with --state DIR."
        ) from None
    if state.is_dir() and not os.access(state, os.R_OK | os.X_OK):
        raise ConfigurationError(
            f"The state directory {state} cannot be used: it belongs to {owner(state)}, and is closed to this user.",
            hint="Run the same command as that user, give it to this one (chown -R), or name another one with --state DIR.",
        )
    return Instance(config, settings, state, folder, variables, env_file)


def _media(config: Configuration) -> list[Path]:
    return [Path(config.storage.root)] if isinstance(config.storage, FilesystemStorage) else []


def refuse_ignored_prefix(instance: Instance, version: Version) -> None:
    """Mastodon knows `S3_KEY_PREFIX` from 4.3 on (facts §2.1).

    Raises:
        ConfigurationError: an older one ignores what is set.
    """
    if instance.key_prefix and version.number < (4, 3):
        raise ConfigurationError(
            f"S3_KEY_PREFIX is set, but Mastodon {version.name} ignores it: its files lie at the top of the bucket.",
            hint="Remove it from .env.production until Mastodon is 4.3 or newer.",
        )


def storage_variables(path: Path) -> Mapping[str, str]:
    """The variables of a settings file that names another storage; nothing of this process's environment is in it.

    Raises:
        ConfigurationError: the file cannot be read or parsed.
    """
    text = _read(path)
    if text is None:
        raise ConfigurationError(f"{path} does not exist.", hint="Name a file with Mastodon's storage variables.")
    return merge({path.name: text}, {}, dialect=Dialect(), folder=f"{path.parent}/")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not UTF-8 text (byte {error.start}).", hint="Is it really Mastodon's settings file?"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.",
            hint=f"It belongs to {owner(path)}. Run the same command as that user, or let this one read it: chgrp, chmod g+r."
            if isinstance(error, PermissionError)
            else "Is it the right file?",
        ) from None
