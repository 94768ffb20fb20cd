"""`mastomend.toml`: Mastomend's own settings. Every one has a default that suits a small server.

The file is looked for beside the `.env.production` that is used. An unknown name is an error, because a misspelt limit
that is silently ignored is worse than none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from mastomend.actions.deferral import Deferral
from mastomend.errors import ConfigurationError
from mastomend.remote.admission import Politeness

_MOST = 1_000_000_000
_SIZES = {
    "": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3,
    "TIB": 1024**4, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4,
}  # fmt: skip
#: A thousand years: before that the calendar ends.
_OLDEST = timedelta(days=365_000)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_AGES = {
    "h": _HOUR,
    "hour": _HOUR,
    "d": _DAY,
    "day": _DAY,
    "w": 7 * _DAY,
    "week": 7 * _DAY,
    "y": 365 * _DAY,
    "year": 365 * _DAY,
}
_LARGEST = 2**60


def default_budget() -> int:
    """Bytes: a quarter of the machine's memory, at most 512 MiB."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine // 4, 512 * 1024**2)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `mastomend.toml`. `memory_bytes` is the budget of a scan; `settle_s` is how long a candidate rests,
    `statement_timeout_s` how long one statement of PostgreSQL may take; `prune` and `guard` are those tables as they stand.
    """

    memory_bytes: int = field(default_factory=default_budget)
    settle_s: float = 2.0
    statement_timeout_s: float = 600.0
    max_missing_percent: float = 25.0
    politeness: Politeness = field(default_factory=Politeness)
    deferral: Deferral = field(default_factory=Deferral)
    prune: Mapping[str, Any] = field(default_factory=dict)
    guard: Mapping[str, Any] = field(default_factory=dict)


def load(path: Path) -> Settings:
    """The settings in that file; the defaults if there is none.

    Raises:
        ConfigurationError: not TOML, an unknown name, or a value of the wrong sort.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    settings = Settings()
    for name, value in document.items():
        match name:
            case "memory":
                settings = replace(settings, memory_bytes=parse_size(value, f"{path}: memory"))
            case "settle_seconds":
                settings = replace(settings, settle_s=_number(value, f"{path}: settle_seconds"))
            case "statement_timeout_seconds":
                settings = replace(settings, statement_timeout_s=_positive(value, f"{path}: statement_timeout_seconds"))
            case "max_missing":
                settings = replace(settings, max_missing_percent=parse_percent(value, f"{path}: max_missing"))
            case "politeness" if isinstance(value, dict):
                settings = replace(settings, politeness=_numbers(Politeness(), value, f"{path}: politeness"))
            case "prune" if isinstance(value, dict):
                settings = replace(settings, prune=value)  # its names: commands.policy
            case "guard" if isinstance(value, dict):
                settings = replace(settings, guard=value)  # its names: commands.guard_report
            case "deferred" if isinstance(value, dict):
                settings = replace(settings, deferral=_numbers(Deferral(), value, f"{path}: deferred"))
            case _:
                raise ConfigurationError(f"{path}: unknown setting {name!r}.", hint="See docs/reference/settings.md.")
    return settings


_Table = TypeVar("_Table", Politeness, Deferral)


def _numbers(defaults: _Table, table: dict[str, Any], where: str) -> _Table:
    """A table of numbers over its defaults."""
    known = {f.name: f for f in fields(defaults)}
    changes: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigurationError(f"{where}.{name} is not a setting.", hint="See docs/reference/settings.md.")
        number = _number(value, f"{where}.{name}")
        if isinstance(known[name].default, int) and (number < 1 or number != int(number)):
            raise ConfigurationError(f"{where}.{name} must be a whole number of at least 1, not {value!r}.")
        changes[name] = int(number) if isinstance(known[name].default, int) else number
    return replace(defaults, **changes)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        raise ConfigurationError(f"{where} must be a number that is not negative and below {_MOST:,}, not {value!r}.")
    return float(value)


def _positive(value: Any, where: str) -> float:
    if (number := _number(value, where)) <= 0:
        raise ConfigurationError(f"{where} must be more than 0, not {value!r}.")
    return number


def parse_percent(value: Any, where: str) -> float:
    """`25`, `25.0` or `"25%"` as a number of percent between 0 and 100."""
    try:
        percent = float(str(value).strip().removesuffix("%"))
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise ConfigurationError(f"{where} must be a percentage between 0% and 100%, not {value!r}.")
    return percent


def parse_age(value: str, where: str) -> timedelta:
    """`30d`, `12h`, `2w`, `1y`; `30 days` as well. A year has 365 days."""
    text = value.strip().lower().replace(" ", "")
    unit = text.lstrip("0123456789")
    number = text.removesuffix(unit)
    known = unit if unit in _AGES else unit.removesuffix("s")
    if not number.isdecimal() or known not in _AGES or len(number) > 5:
        raise ConfigurationError(f"{where} must be an age such as 30d, 12h, 2w or 1y, not {value!r}.")
    if (age := int(number) * _AGES[known]) > _OLDEST:
        raise ConfigurationError(f"{where} must be an age such as 30d, 12h, 2w or 1y, not {value!r}.")
    return age


def parse_size(value: Any, where: str) -> int:
    """`"512MB"`, `"1GiB"` or a number of bytes; `G` is `GB`."""
    text = str(value).strip().upper().replace(" ", "")
    unit = text.lstrip("0123456789.")
    try:
        size = int(float(text[: len(text) - len(unit)]) * _SIZES[unit])
        if size > _LARGEST:
            raise ValueError
        return size
    except (KeyError, ValueError, OverflowError):
        raise ConfigurationError(f"{where} must be a size such as 512MB, not {value!r}.") from None
