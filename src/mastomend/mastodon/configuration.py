"""An instance's configuration: Mastodon's variables parsed once into typed, frozen values (facts §4.2, §4.3).

Parsed at the edge, trusted inside. Databases and storages have modules of their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from mastomend.errors import ConfigurationError
from mastomend.mastodon.database_settings import Database, database, replica
from mastomend.mastodon.storage_settings import Storage, storage
from mastomend.mastodon.values import Secret, integer, split_url, words

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Redis:
    """One Redis group (application, Sidekiq or cache). The URL may hold a password: it is never shown."""

    url: str | None = field(repr=False)
    host: str
    port: int
    db: int
    user: str | None
    password: Secret
    sentinels: tuple[str, ...] = ()
    sentinel_master: str | None = None
    sentinel_user: str | None = None
    sentinel_password: Secret = field(default_factory=lambda: Secret(""))
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator's variables say about sizes and addresses; `None` is Mastodon's default (facts §3.4)."""

    max_image_bytes: int | None = None
    max_video_bytes: int | None = None
    max_remote_emoji_bytes: int | None = None
    allowed_private_addresses: tuple[IPNetwork, ...] = ()
    limited_federation: bool = False
    use_libvips: bool | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything Mastomend takes from `.env.production`."""

    local_domain: str
    web_domain: str
    alternate_domains: tuple[str, ...]
    database: Database
    replica: Database | None
    storage: Storage
    limits: Limits


def configuration(variables: Mapping[str, str], rails_root: str) -> Configuration:
    """The typed configuration.

    Raises:
        ConfigurationError: a variable that is needed is missing or has an impossible value.
    """
    local_domain = variables.get("LOCAL_DOMAIN", "").strip()
    if not local_domain:
        raise ConfigurationError(
            "LOCAL_DOMAIN is not set.", hint="Point --env at Mastodon's .env.production (see `mastomend --help`)."
        )
    return Configuration(
        local_domain=local_domain,
        web_domain=variables.get("WEB_DOMAIN") or local_domain,
        alternate_domains=tuple(words(variables.get("ALTERNATE_DOMAINS", ""))),
        database=database(variables),
        replica=replica(variables),
        storage=storage(variables, rails_root),
        limits=limits(variables),
    )


def redis_group(
    variables: Mapping[str, str], prefix: str, base: Redis | None = None, *, before_4_3: bool = False
) -> Redis:
    """One Redis group. A prefixed group counts only if its URL, host or sentinels are set (facts §4.3).

    Before 4.3 any part of it was enough, and what it did not name was left at the driver's default.
    """

    def get(name: str) -> str:
        return variables.get(f"{prefix}REDIS_{name}", "")

    enough = ["URL", "HOST", *(("PASSWORD", "PORT", "DB") if before_4_3 else ("SENTINELS",))]
    if base is not None and not any(get(name) for name in enough):
        return base
    url = get("URL") or None
    if url is not None:  # it stands above everything else
        Secret(unquote(split_url(url, f"{prefix}REDIS_URL", ("redis", "rediss", "unix")).password or ""))
    sentinel_port = integer(variables, f"{prefix}REDIS_SENTINEL_PORT", 26379)
    sentinels: tuple[str, ...] = ()
    if url is None and get("SENTINEL_MASTER"):  # without a master's name they are not asked
        sentinels = tuple(_sentinel(s, sentinel_port, f"{prefix}REDIS_SENTINELS") for s in words(get("SENTINELS")))
    return Redis(
        url=url,
        host=get("HOST") or "localhost",
        port=integer(variables, f"{prefix}REDIS_PORT", 6379),
        db=integer(variables, f"{prefix}REDIS_DB", 0),
        user=get("USER") or None,
        password=Secret(get("PASSWORD")),
        sentinels=sentinels,
        sentinel_master=get("SENTINEL_MASTER") or None,
        sentinel_user=get("SENTINEL_USERNAME") or None,
        sentinel_password=Secret(get("SENTINEL_PASSWORD")),
        namespace=variables.get("REDIS_NAMESPACE") or None,
    )


def _sentinel(text: str, port: int, name: str) -> str:
    """`host:port` of one."""
    host, colon, own = text.rpartition(":")
    if not colon or text.endswith("]"):
        return f"{text}:{port}"
    if not own.isdecimal():
        raise ConfigurationError(
            f"{name} names a port that is no number.", hint="Write host or host:port, with commas between."
        )
    return f"{host}:{own}"


def http_proxy(variables: Mapping[str, str]) -> str | None:
    """The proxy for what is asked of others. It may hold a password: never print it.

    Raises:
        ConfigurationError: it cannot be used.
    """
    url = variables.get("http_proxy") or None
    if url is None:
        return None
    parts = split_url(url, "http_proxy", ("http", "https"))
    Secret(unquote(parts.password or ""))
    if not parts.hostname:
        raise ConfigurationError("http_proxy names no host.", hint="Write http://HOST:PORT.")
    return url


def limits(variables: Mapping[str, str]) -> Limits:
    """Sizes, private addresses and federation mode as the variables state them."""
    networks: list[IPNetwork] = []
    for word in words(variables.get("ALLOWED_PRIVATE_ADDRESSES", "")):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise ConfigurationError(f"ALLOWED_PRIVATE_ADDRESSES: {word!r} is not an address or a network.") from None

    def optional(*names: str) -> int | None:
        found = [integer(variables, name, 0) for name in names if variables.get(name)]
        return max(found) if found else None

    limited = variables.get("LIMITED_FEDERATION_MODE", variables.get("WHITELIST_MODE", ""))
    vips = variables.get("MASTODON_USE_LIBVIPS")
    return Limits(
        max_image_bytes=optional("MAX_IMAGE_SIZE"),
        max_video_bytes=optional("MAX_VIDEO_SIZE"),
        max_remote_emoji_bytes=optional("MAX_EMOJI_SIZE", "MAX_REMOTE_EMOJI_SIZE"),
        allowed_private_addresses=tuple(networks),
        limited_federation=limited == "true",
        use_libvips=None if vips is None else vips == "true",
    )
