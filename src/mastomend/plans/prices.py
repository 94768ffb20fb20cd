"""What requests to a bucket cost: a dated table, and sums made of it. Pure; `commands.costs` reads the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mastomend.errors import ConfigurationError

_AWS = "amazonaws.com"


@dataclass(frozen=True, slots=True)
class Price:
    """One provider's prices in US dollars: for a thousand requests, and for a gigabyte (10^9 bytes) kept a month, of which
    `free_gb` cost nothing and `minimum_gb` are paid for anyway; None where the table does not say. What is deleted sooner is
    paid for as if it had been kept for `minimum_days`. `put` is for writing: as much as for listing where the table does not
    say. `read_on` is when they were read, `short` what `--price` calls it.
    """

    name: str
    endpoint: str
    list: float
    head: float
    read_on: date
    gigabyte_month: float | None = None
    free_gb: float = 0.0
    minimum_gb: float = 0.0
    minimum_days: int = 0
    short: str = ""
    put: float | None = None

    def month(self, size: int) -> float | None:
        """What so many bytes cost in a month, in US dollars; None if the table does not say."""
        if self.gigabyte_month is None:
            return None
        return max(size / 1e9 - self.free_gb, self.minimum_gb, 0.0) * self.gigabyte_month

    def most_for(self, usd: float, held: int) -> int | None:
        """How many of so many bytes cost no more than that in a month; None if even nothing does (a minimum is billed)."""
        if (self.month(0) or 0.0) > usd:
            return None
        low, high = 0, held
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if (self.month(middle) or 0.0) <= usd else (low, middle - 1)
        return low

    def of(self, *, lists: int, heads: int = 0, puts: int = 0) -> float:
        """What so many requests cost, in US dollars."""
        return (lists * self.list + heads * self.head + puts * (self.list if self.put is None else self.put)) / 1000


def parse(document: Mapping[str, Any], where: str) -> list[Price]:
    """The prices of a TOML document.

    Raises:
        ConfigurationError: an entry lacks something, or has something of the wrong sort.
    """
    entries = document.get("provider")
    if not isinstance(entries, list) or set(document) != {"provider"}:
        raise ConfigurationError(f"{where}: expected [[provider]] tables and nothing else.")
    return [_price(entry, f"{where}: provider {number}") for number, entry in enumerate(entries, 1)]


def _price(entry: Any, where: str) -> Price:
    try:
        found = Price(
            str(entry["name"]),
            str(entry["endpoint"]),
            float(entry["list"]),
            float(entry["head"]),
            entry["read_on"],
            None if (kept := entry.get("gigabyte_month")) is None else float(kept),
            float(entry.get("free_gb", 0)),
            float(entry.get("minimum_gb", 0)),
            int(entry.get("minimum_days", 0)),
            str(entry.get("short", "")),
            None if (put := entry.get("put")) is None else float(put),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{where}: {error} is missing or wrong.",
            hint="Each needs name, endpoint, list, head (US dollars for 1,000 requests) and read_on (a date).",
        ) from None
    numbers = [
        found.list,
        found.head,
        found.gigabyte_month,
        found.free_gb,
        found.minimum_gb,
        found.minimum_days,
        found.put,
    ]
    if not isinstance(found.read_on, date) or not all(0 <= (n or 0) < 1e9 for n in numbers) or not found.endpoint:
        raise ConfigurationError(
            f"{where}: read_on must be a date, prices numbers and not negative, endpoint not empty."
        )
    return found


def price_for(host: str | None, prices: Sequence[Price]) -> Price | None:
    """The first price whose endpoint that host belongs to; no host is Amazon's own."""
    name = (host or _AWS).lower()
    return next((p for p in prices if name == p.endpoint.lower() or name.endswith(f".{p.endpoint.lower()}")), None)


def dollars(amount: float) -> str:
    """`$0.00`, `$1.23`; what is less than a cent but not nothing says so."""
    return "less than $0.01" if 0 < amount < 0.01 else f"${amount:,.2f}"
