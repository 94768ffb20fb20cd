"""An instance's configuration: Mastodon's variables parsed once into typed, frozen values (facts §4.2, §4.3).

Parsed at the edge, trusted inside. Passwords and keys are `Secret`s: they print as dots everywhere and reach a driver
only through `reveal()`.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mastomend.errors import ConfigurationError

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


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


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach PostgreSQL, in libpq's own parameter names. `prepared_statements` is false behind pgbouncer."""

    parameters: Mapping[str, str]
    password: Secret
    prepared_statements: bool = True

    def __str__(self) -> str:
        p = self.parameters
        where = f"{p['host']}:{p.get('port', '5432')}" if p.get("host") else "the local socket"
        return f"{p.get('user', '')}@{where}/{p.get('dbname', p.get('user', ''))}"


@dataclass(frozen=True, slots=True)
class FilesystemStorage:
    """Media below a directory."""

    root: str
    key_prefix: str = ""

    def __str__(self) -> str:
        return f"file://{self.root}"


@dataclass(frozen=True, slots=True)
class S3Storage:
    """Media in an S3-compatible bucket. `access_key_id` None means the AWS credential chain."""

    bucket: str
    region: str
    endpoint: str | None
    virtual_host_style: bool
    access_key_id: str | None
    secret_access_key: Secret
    permission: str | None
    storage_class: str | None
    key_prefix: str
    open_timeout_s: float
    read_timeout_s: float
    multipart_threshold: int

    def __str__(self) -> str:
        return f"s3://{self.bucket}" + (f"/{self.key_prefix}" if self.key_prefix else "")


@dataclass(frozen=True, slots=True)
class AzureStorage:
    """Media in an Azure container."""

    account: str
    access_key: Secret
    container: str
    endpoint: str | None = None
    key_prefix: str = ""

    def __str__(self) -> str:
        return f"azure://{self.account}/{self.container}"


Storage = FilesystemStorage | S3Storage | AzureStorage


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
    sentinel_password: Secret = Secret("")
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
        alternate_domains=tuple(_words(variables.get("ALTERNATE_DOMAINS", ""))),
        database=database(variables),
        replica=replica(variables),
        storage=storage(variables, rails_root),
        limits=limits(variables),
    )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _integer(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name, "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}.") from None


# --- database -----------------------------------------------------------------------------------------------------

# libpq's connection parameters an operator may put behind "?" in DATABASE_URL; Rails' own (pool, timeout, …) are dropped.
_LIBPQ = frozenset(
    {
        "host", "hostaddr", "port", "dbname", "user", "password", "sslmode", "sslcert", "sslkey", "sslrootcert",
        "sslcrl", "sslpassword", "passfile", "service", "connect_timeout", "keepalives", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "options", "target_session_attrs", "channel_binding", "gssencmode",
    }
)  # fmt: skip


def database(variables: Mapping[str, str]) -> Database:
    """The primary: `DATABASE_URL` over the `DB_*` variables, with Mastodon's defaults.

    A variable that is set and empty is not the default: it leaves the choice to libpq. So an empty `DB_HOST` is the socket.
    """
    parameters = {
        "host": variables.get("DB_HOST", "localhost"),
        "port": _port(variables, "DB_PORT"),
        "dbname": variables.get("DB_NAME", "mastodon_production"),
        "user": variables.get("DB_USER", "mastodon"),
        "password": variables.get("DB_PASS", ""),
        "sslmode": variables.get("DB_SSLMODE") or "prefer",
    }
    return _database(parameters, variables, "DATABASE_URL", "PREPARED_STATEMENTS")


def replica(variables: Mapping[str, str]) -> Database | None:
    """The read replica, if one is configured. Never written to."""
    if not (variables.get("REPLICA_DATABASE_URL") or variables.get("REPLICA_DB_NAME")):
        return None
    primary = database(variables).parameters
    parameters = {
        "host": variables.get("REPLICA_DB_HOST", primary.get("host", "")),
        "port": _port(variables, "REPLICA_DB_PORT"),
        "dbname": variables.get("REPLICA_DB_NAME", primary.get("dbname", "")),
        "user": variables.get("REPLICA_DB_USER", primary.get("user", "")),
        "password": variables.get("REPLICA_DB_PASS", variables.get("DB_PASS", "")),
        "sslmode": primary.get("sslmode", "prefer"),
    }
    return _database(parameters, variables, "REPLICA_DATABASE_URL", "REPLICA_PREPARED_STATEMENTS")


def _database(parameters: dict[str, str], variables: Mapping[str, str], url_name: str, prepared_name: str) -> Database:
    prepared = variables.get(prepared_name, "true") != "false"
    if url := variables.get(url_name):
        found = _database_url(url, url_name)
        prepared = found.pop("prepared_statements", "true" if prepared else "false") != "false"
        parameters |= found
    parameters = {name: value for name, value in parameters.items() if value}
    mode = parameters["sslmode"]
    if mode not in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"):
        raise ConfigurationError(
            f"DB_SSLMODE {mode!r} is not a PostgreSQL SSL mode.",
            hint="Use one of disable, allow, prefer, require, verify-ca, verify-full.",
        )
    password = Secret(parameters.pop("password", ""))
    Secret(parameters.get("sslpassword", ""))
    return Database(parameters, password, prepared)


def _port(variables: Mapping[str, str], name: str) -> str:
    """A port as text; '' where the variable is set and empty."""
    if variables.get(name, "5432").strip() == "":
        return ""
    port = _integer(variables, name, 5432)
    if not 0 < port < 65536:
        raise ConfigurationError(f"{name} is {port}, which is no port.", hint=f"{name}=5432 is PostgreSQL's own.")
    return str(port)


def _database_url(url: str, name: str) -> dict[str, str]:
    parts = split_url(url, name, ("postgres", "postgresql", "postgis"))
    found = {
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "dbname": unquote(parts.path.lstrip("/")),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    known = _LIBPQ | {"prepared_statements"}
    found |= {key: value for key, value in parse_qsl(parts.query) if key in known}
    return {key: value for key, value in found.items() if value}


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


# --- storage ------------------------------------------------------------------------------------------------------


def storage(variables: Mapping[str, str], rails_root: str) -> Storage:
    """Where the media are: the first of S3, Swift, Azure that is enabled, else a directory (facts §4.2)."""
    if variables.get("CACHE_S3_ENABLED") == "true":
        raise ConfigurationError(
            "CACHE_S3_ENABLED=true: that fork keeps cached media in a second bucket, which Mastomend does not know.",
            hint="Nothing was looked at: half of the media would have seemed to be missing.",
        )
    if variables.get("S3_ENABLED") == "true":
        return _s3(variables)
    if variables.get("SWIFT_ENABLED") == "true":
        raise ConfigurationError(
            "SWIFT_ENABLED=true: Mastomend does not speak Swift's own protocol.",
            hint="Use the S3-compatible API of your Swift provider: a file with S3_ENABLED=true, S3_ENDPOINT, "
            "S3_BUCKET and its keys, given with --env.",
        )
    if variables.get("AZURE_ENABLED") == "true":
        return AzureStorage(
            account=_required(variables, "AZURE_STORAGE_ACCOUNT"),
            access_key=_base64(variables, "AZURE_STORAGE_ACCESS_KEY"),
            container=_required(variables, "AZURE_CONTAINER_NAME"),
        )
    base = rails_root.rstrip("/")
    root = variables.get("PAPERCLIP_ROOT_PATH", ":rails_root/public/system").replace(":rails_root", base)
    if root and not root.startswith("/"):
        root = f"{base}/{root}"  # what Mastodon's processes find, which run in its directory
    return FilesystemStorage(root.rstrip("/") or "/")


def _base64(variables: Mapping[str, str], name: str) -> Secret:
    value = _required(variables, name)
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise ConfigurationError(f"{name} is not base64.", hint="Copy it again: it ends in = or ==.") from None
    return Secret(value)


def _required(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set, but this storage needs it.", hint="Set it in .env.production.")
    return value


def _s3(variables: Mapping[str, str]) -> S3Storage:
    endpoint = _endpoint(variables.get("S3_ENDPOINT", "").strip())
    permission = variables.get("S3_PERMISSION", "public-read")
    key_id = variables.get("AWS_ACCESS_KEY_ID") or None
    return S3Storage(
        bucket=_required(variables, "S3_BUCKET"),
        region=variables.get("S3_REGION") or "us-east-1",
        endpoint=endpoint,
        virtual_host_style=endpoint is None or variables.get("S3_OVERRIDE_PATH_STYLE") == "true",
        access_key_id=key_id,
        secret_access_key=Secret(variables.get("AWS_SECRET_ACCESS_KEY", "") if key_id else ""),
        permission=permission or None,
        storage_class=variables.get("S3_STORAGE_CLASS") or None,
        key_prefix=_key_prefix(variables),
        open_timeout_s=float(_integer(variables, "S3_OPEN_TIMEOUT", 5)),
        read_timeout_s=float(_integer(variables, "S3_READ_TIMEOUT", 5)),
        multipart_threshold=_integer(variables, "S3_MULTIPART_THRESHOLD", 15_728_640),
    )


def _endpoint(text: str) -> str | None:
    if not text:
        return None
    if not re.match(r"https?://[^/]", text):
        raise ConfigurationError(
            "S3_ENDPOINT must be a full URL with https:// before it.", hint="Mastodon's own client refuses it, too."
        )
    parts = split_url(text, "S3_ENDPOINT", ("https", "http"))
    if not parts.hostname or parts.query or "@" in parts.netloc:
        raise ConfigurationError(
            "S3_ENDPOINT is not a URL that can be used.", hint="Write https://HOST, or https://HOST:PORT."
        )
    return text.rstrip("/")


def _key_prefix(variables: Mapping[str, str]) -> str:
    """What stands before every key, without the slash that joins them: Mastodon keeps its slashes, but for one at the
    beginning (facts §2.1). So `attic/` makes `attic//cache/…`.
    """
    prefix = variables.get("S3_KEY_PREFIX", "").removeprefix("/")
    if variables.get("S3_KEY_PREFIX") and not prefix:
        raise ConfigurationError("S3_KEY_PREFIX is a mere slash.", hint="Name a folder in it, or leave it out.")
    return prefix


# --- Redis and the rest -------------------------------------------------------------------------------------------


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
    sentinel_port = _integer(variables, f"{prefix}REDIS_SENTINEL_PORT", 26379)
    sentinels: tuple[str, ...] = ()
    if url is None and get("SENTINEL_MASTER"):  # without a master's name they are not asked
        sentinels = tuple(_sentinel(s, sentinel_port, f"{prefix}REDIS_SENTINELS") for s in _words(get("SENTINELS")))
    return Redis(
        url=url,
        host=get("HOST") or "localhost",
        port=_integer(variables, f"{prefix}REDIS_PORT", 6379),
        db=_integer(variables, f"{prefix}REDIS_DB", 0),
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
    for word in _words(variables.get("ALLOWED_PRIVATE_ADDRESSES", "")):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise ConfigurationError(f"ALLOWED_PRIVATE_ADDRESSES: {word!r} is not an address or a network.") from None

    def optional(*names: str) -> int | None:
        found = [_integer(variables, name, 0) for name in names if variables.get(name)]
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


def origin_host(url: str) -> str:
    """The host of a remote URL in lower case, '' when it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
