"""The price of what a bucket is asked, from the table that comes with Mastomend and the operator's own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from mastomend.commands.check_report import CheckReport, Cost
from mastomend.commands.instance import Instance
from mastomend.errors import ConfigurationError
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.plans import prices
from mastomend.plans.prices import Price, dollars
from mastomend.progress import Progress

OWN_TABLE = "mastomend-prices.toml"


def price(instance: Instance) -> Price | None:
    """What the instance's provider charges; None if the tables do not say, or nothing is charged for a disk.

    Raises:
        ConfigurationError: the operator's table cannot be used.
    """
    storage = instance.configuration.storage
    if not isinstance(storage, S3Storage):
        return None
    shipped = Path(prices.__file__).with_name("prices.toml")
    known = [*_load(instance.folder / OWN_TABLE), *_load(shipped)]
    return prices.price_for(urlsplit(storage.endpoint).hostname if storage.endpoint else None, known)


def _load(path: Path) -> list[Price]:
    try:
        return prices.parse(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None


def announce(report: CheckReport, instance: Instance, requests: int, progress: Progress) -> None:
    """What the listing is going to cost, before it is made."""
    report.cost = Cost(requests, price(instance))
    asked = f"About {requests:,} list requests will be made to {report.storage}"
    if (known_price := report.cost.price) is None:
        progress.note(f"{asked}.")
        return
    amount = dollars(known_price.of(lists=requests))
    progress.note(f"{asked}: {amount} at the prices of {known_price.name} read on {known_price.read_on}.")
