"""What may go, in words: the `[prune]` table of mastomend.toml, and the options that win over it.

Both are the same names and the same forms; a name nobody knows is an error, as a term that is silently ignored would cost
pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mastomend.commands.settings import parse_age, parse_size
from mastomend.errors import ConfigurationError
from mastomend.inventory.cached import UNITS
from mastomend.inventory.keeping import DAY, FOREVER, Policy, default_terms
from mastomend.mastodon.selection import parse_domain

#: What goes where nobody says anything: attachments that nothing has used for so long.
DEFAULT_AGE = 30 * DAY


@dataclass(frozen=True, slots=True)
class Wishes:
    """A policy with what belongs to one machine: how much is to be free on its disk, and where its access logs are."""

    policy: Policy = field(default_factory=Policy)
    keep_free: int | None = None
    access_logs: tuple[Path, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Neither an age nor a budget."""
        return not (self.policy.has_age or self.policy.has_budget or self.keep_free is not None)


def wishes(table: Mapping[str, Any], where: str) -> Wishes:
    """What a `[prune]` table says.

    Raises:
        ConfigurationError: an unknown name, or a value of the wrong sort.
    """
    made = Wishes()
    for name, value in table.items():
        here = f"{where}.{name}"
        match name:
            case "keep" | "domains" | "budgets" if isinstance(value, dict):
                for key, one in value.items():
                    made = _set(
                        made, {"keep": "keep", "domains": "domain", "budgets": "budget"}[name], f"{key}={one}", here
                    )
            case "access_log" if isinstance(value, list):
                made = replace(made, access_logs=tuple(Path(str(one)) for one in value))
            case "strangers" | "budget" | "keep_free" | "access_log":
                made = _set(made, name, str(value), here)
            case _ if name in UNITS:
                made = _set(made, name, str(value), here)
            case _:
                raise ConfigurationError(f"{here} is not a setting.", hint="See docs/reference/settings.md.")
    return made


def with_given(made: Wishes, given: Iterable[tuple[str, str]]) -> Wishes:
    """The same with options (name without dashes, value), which win.

    Raises:
        ConfigurationError: a value of the wrong sort.
    """
    for name, value in given:
        made = _set(made, name.replace("-", "_"), value, f"--{name}")
    return made


def with_options(made: Wishes, given: Iterable[tuple[str, str]]) -> Wishes:
    """As `with_given`; where nothing says what may go, the usual (`DEFAULT_AGE`)."""
    made = with_given(made, given)
    if made.says_nothing:
        made = replace(made, policy=replace(made.policy, ages={"attachments": DEFAULT_AGE}))
    return made


def _set(made: Wishes, name: str, value: str, where: str) -> Wishes:
    policy = made.policy
    match name:
        case "keep":
            return replace(made, policy=replace(policy, keep={**policy.keep, **_kept(value, where)}))
        case "domain" | "domain_term":
            domain, term = _pair(value, where)
            return replace(
                made, policy=replace(policy, domains={**policy.domains, parse_domain(domain): _term(term, where)})
            )
        case "budget" if "=" in value:
            unit, size = _pair(value, where)
            budgets = {**policy.budgets, _unit(unit, where): _bound(size, where)}
            return replace(made, policy=replace(policy, budgets=budgets))
        case "budget":
            return replace(made, policy=replace(policy, budget=_bound(value, where)))
        case "strangers":
            return replace(made, policy=replace(policy, strangers=_term(value, where)))
        case "keep_free":
            return replace(made, keep_free=_bound(value, where))
        case "access_log":
            return replace(made, access_logs=(*made.access_logs, Path(value)))
        case _:
            return replace(made, policy=replace(policy, ages={**policy.ages, name: _term(value, where)}))


def _kept(value: str, where: str) -> dict[str, int]:
    name, term = _pair(value, where)
    known = default_terms()
    if name == "all":
        return dict.fromkeys(known, _term(term, where))
    if name not in known:
        near = get_close_matches(name, known)
        hint = f"Did you mean {near[0]}?" if near else f"One of all, {', '.join(sorted(known))}."
        raise ConfigurationError(f"{where}: {name!r} is no relationship.", hint=hint)
    return {name: _term(term, where)}


def _pair(value: str, where: str) -> tuple[str, str]:
    name, equals, rest = value.partition("=")
    if not equals or not name.strip() or not rest.strip():
        raise ConfigurationError(
            f"{where}: {value!r} is no NAME=VALUE.",
            hint="As in --keep thread=90d. An age of pictures: --attachments 7d.",
        )
    return name.strip(), rest.strip()


def _unit(name: str, where: str) -> str:
    unit = name.replace("-", "_")
    if unit not in UNITS:
        raise ConfigurationError(f"{where}: {name!r} is no kind.", hint=f"One of {', '.join(UNITS)}.")
    return unit


def _term(value: str, where: str) -> int:
    """Seconds. `forever` and `never` (goes by age) are the same."""
    if value.strip().lower() in ("forever", "never"):
        return FOREVER
    return int(parse_age(value, where).total_seconds())


def _bound(value: object, where: str) -> int:
    """A size with its unit; only 0 needs none. What is left out by mistake would let nearly everything go.

    Raises:
        ConfigurationError: it is none.
    """
    found = parse_size(value, where)
    if found and str(value).strip().replace(".", "").isdecimal():
        raise ConfigurationError(f"{where} needs a unit, not {value!r} alone.", hint=f"Write {value}GB, or {value}MB.")
    return found
