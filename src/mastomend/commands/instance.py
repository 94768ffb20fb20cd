"""Finding the instance: `.env.production`, its neighbours, `mastomend.toml` and the state directory, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mastomend.commands.settings import Settings, load
from mastomend.errors import ConfigurationError
from mastomend.mastodon.configuration import Configuration, configuration
from mastomend.mastodon.environment import FILES_BY_PRECEDENCE, Dialect, merge

DEFAULT_ENV = Path("/home/mastodon/live/.env.production")


@dataclass(frozen=True, slots=True)
class Instance:
    """One Mastodon installation as its own settings describe it, with Mastomend's settings and state directory."""

    configuration: Configuration
    settings: Settings
    state: Path
    env_file: Path
    variables: Mapping[str, str]

    @property
    def key_prefix(self) -> str:
        """`S3_KEY_PREFIX`, '' elsewhere."""
        return self.configuration.storage.key_prefix


def locate_env(named: Path | None, process: Mapping[str, str]) -> Path:
    """The settings file: the one named, `$MASTOMEND_ENV`, `./.env.production`, Mastodon's usual place.

    Raises:
        ConfigurationError: there is none.
    """
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"{named} does not exist.", hint="Name Mastodon's .env.production with --env.")
        return named
    if chosen := process.get("MASTOMEND_ENV"):
        return locate_env(Path(chosen), {})
    for candidate in (Path(".env.production"), DEFAULT_ENV):
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        "No .env.production found: neither here nor in /home/mastodon/live.",
        hint="Name it: mastomend --env /path/to/.env.production check",
    )


def open_instance(env: Path | None, state: Path | None, process: Mapping[str, str]) -> Instance:
    """Read everything that describes the instance.

    Raises:
        ConfigurationError: a file or a value is wrong; the message names both.
    """
    env_file = locate_env(env, process).absolute()
    root = env_file.parent
    names = FILES_BY_PRECEDENCE if env_file.name in FILES_BY_PRECEDENCE else (env_file.name,)
    files = {name: text for name in names if (text := _read(root / name)) is not None}
    lock = _read(root / "Gemfile.lock")
    dialect = Dialect.from_gemfile_lock(lock) if lock else Dialect()
    variables = merge(files, process, dialect=dialect, folder=f"{root}/")
    config = configuration(variables, str(root))
    settings = load(root / "mastomend.toml")
    return Instance(config, settings, state or default_state(config.local_domain, process), env_file, variables)


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
            hint="Run Mastomend as the user that runs Mastodon, e.g. `sudo -u mastodon mastomend check`.",
        ) from None


def default_state(domain: str, process: Mapping[str, str]) -> Path:
    """`/var/lib/mastomend/DOMAIN` where this user may write it, else below `$XDG_STATE_HOME` or `~/.local/state`.

    The timer's service and a command by hand so share one journal, once /var/lib/mastomend belongs to Mastodon's user.
    """
    folder = "".join(c if c.isalnum() or c in ".-" else "_" for c in domain.lower()).strip(".") or "instance"
    shared = Path("/var/lib/mastomend")
    if not process.get("XDG_STATE_HOME") and (os.geteuid() == 0 or os.access(shared, os.W_OK)):
        return shared / folder
    base = Path(process.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return base / "mastomend" / folder
