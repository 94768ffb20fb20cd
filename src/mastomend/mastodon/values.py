"""How the value of a variable is read, and how one is kept that must never be printed.

Passwords and keys are `Secret`s: they print as dots everywhere and reach a driver only through `reveal()`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from mastomend.errors import ConfigurationError

#: Every secret of this process, so that a defect's traceback can be shown without them.
_SECRETS: set[str] = set()
_GUESSABLE = 4


def redact(text: str) -> str:
    """The text without any secret that was ever read."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, "•••")
    return text


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that must never be printed."""

    _value: str

    def __post_init__(self) -> None:
        if len(self._value) >= _GUESSABLE:
            _SECRETS.add(self._value)

    def reveal(self) -> str:
        """The value itself, for a driver and nobody else."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "•••" if self._value else "''"

    __str__ = __repr__


def words(text: str) -> list[str]:
    """The words of a list with commas or spaces between."""
    return [word for word in re.split(r"[,\s]+", text) if word]


def integer(variables: Mapping[str, str], name: str, default: int) -> int:
    """A whole number; the default where the variable is unset or empty.

    Raises:
        ConfigurationError: it is none.
    """
    text = variables.get(name, "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}.") from None


def required(variables: Mapping[str, str], name: str) -> str:
    """A value that must be there.

    Raises:
        ConfigurationError: it is not.
    """
    value = variables.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set, but this storage needs it.", hint="Set it in .env.production.")
    return value


def split_url(url: str, name: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of an address that may hold a password.

    A raw `#`, `/`, `?` or `@` in a password cuts the address where it stands, and what is left of the password is then
    taken for a host or a port. That is refused here, and nothing of the address is ever repeated: it may be the secret.

    Raises:
        ConfigurationError: it cannot be used.
    """
    bad = ConfigurationError(
        f"{name} is not a URL that can be used.",
        hint="Write characters such as # / ? @ : % in its password percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40.",
    )
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        if parts.netloc:
            _ = parts.hostname
    except ValueError:
        raise bad from None
    if parts.scheme not in schemes:
        raise ConfigurationError(
            f"{name} must start with {' or '.join(f'{scheme}://' for scheme in schemes[:2])}.",
            hint="Check the value in .env.production.",
        )
    rest = parts.path + parts.query
    is_cut = bool(parts.fragment) or "#" in url or ("@" in rest and parts.netloc and "@" not in parts.netloc)
    if is_cut or parts.netloc.count("@") > 1 or "@" in parts.path or port == 0 or " " in parts.netloc:
        raise bad
    Secret(parts.password or "")  # as it stands there: percent-encoded it is another text
    return parts
