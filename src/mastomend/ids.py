"""Names of scans and runs: they sort by time, say when they began, are unique, and may be called by how they begin."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from mastomend.errors import ConfigurationError

_FORM = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-z]+")


_GIVEN: set[str] = set()


def new_id(now: datetime) -> str:
    """A name for a scan or a run that begins now; of two that begin in one second the later one sorts behind (4 ms apart)."""
    for digits in itertools.count(1):
        name = f"{now:{_FORM}}-{now.microsecond * 256 // 1_000_000:02x}{secrets.token_hex(digits)}"
        if name not in _GIVEN:
            _GIVEN.add(name)
            break
    return name


def moment_of(name: str) -> datetime | None:
    """When the scan or run of that name began; None where it is no such name."""
    found = _ID.fullmatch(name)
    try:
        return datetime.strptime(found[1], _FORM).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def chosen(name: str, known: Iterable[str], what: str, hint: str) -> str:
    """The one of the known names that is meant: in full, by a beginning that only it has, or `latest`.

    Raises:
        ConfigurationError: none is, or several are; `what` says what they name, `hint` where they are listed.
    """
    names = sorted(known, reverse=True)
    if name in names:
        return name
    found = names[:1] if name == "latest" else [one for one in names if name and one.startswith(name)]
    if not found:
        yet = f"There is no {what} yet." if name == "latest" else f"No {what} is named."
        raise ConfigurationError(f"There is no {what} {name!r}." if name not in ("latest", "") else yet, hint=hint)
    if len(found) > 1:
        several = ", ".join(found[:5])
        raise ConfigurationError(f"{name!r} may be any of {len(found)}: {several}.", hint="Give more of it.")
    return found[0]
