"""The price of what a bucket is asked, from the table that comes with Mastomend and the operator's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mastomend.commands.instance import Instance
from mastomend.errors import ConfigurationError
from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage
from mastomend.plans import prices
from mastomend.plans.prices import Price, dollars
from mastomend.progress import Progress
from mastomend.storage.ports import Requests


@dataclass(frozen=True, slots=True)
class Cost:
    """What a bucket's requests were expected to be before it was listed, and at what price."""

    estimated_list: int
    price: Price | None

    def usd(self, requests: Requests) -> float | None:
        """What was really asked costs so much; None if the price is not known."""
        return None if self.price is None else self.price.of(lists=requests.list, heads=requests.head)


OWN_TABLE = "mastomend-prices.toml"


def price(instance: Instance) -> Price | None:
    """What the instance's provider charges; None if the tables do not say, or nothing is charged for a disk.

    Raises:
        ConfigurationError: the operator's table cannot be used.
    """
    storage = instance.configuration.storage
    if not isinstance(storage, S3Storage):
        return None
    return prices.price_for(urlsplit(storage.endpoint).hostname if storage.endpoint else None, _known(instance))


def named_price(instance: Instance, name: str) -> Price:
    """The price of a provider by its short name, or the first of a file of the same form.

    Raises:
        ConfigurationError: there is none.
    """
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        if found := _load(path):
            return found[0]
        said = "has no [[provider]]" if path.exists() else "does not exist"
        raise ConfigurationError(f"{path} {said}.", hint="--price takes a provider, or a file of prices.")
    known = {price.short: price for price in reversed(_known(instance)) if price.short}
    if name not in known:
        raise ConfigurationError(
            f"No price of {name!r} is known.", hint=f"One of {', '.join(sorted(known))}, or a file."
        )
    return known[name]


def _known(instance: Instance) -> list[Price]:
    shipped = Path(prices.__file__).with_name("prices.toml")
    return [*_load(instance.folder / OWN_TABLE), *_load(shipped)]


def _load(path: Path) -> list[Price]:
    try:
        return prices.parse(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None


def announced(instance: Instance, requests: int, progress: Progress) -> Cost:
    """What the listing is going to cost, said before it is made."""
    cost = Cost(requests, price(instance))
    if isinstance(instance.configuration.storage, FilesystemStorage):
        return cost
    asked = f"About {requests:,} list requests will be made to {instance.configuration.storage}"
    if cost.price is None:
        progress.note(f"{asked}.")
    else:
        amount = dollars(cost.price.of(lists=requests))
        progress.note(f"{asked}: {amount} at the prices of {cost.price.name} read on {cost.price.read_on}.")
    return cost
