"""Where PostgreSQL is: Mastodon's variables, parsed once (facts §4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from mastomend.errors import ConfigurationError
from mastomend.mastodon.values import Secret, integer, split_url

# libpq's connection parameters an operator may put behind "?" in DATABASE_URL; Rails' own (pool, timeout, …) are dropped.
_LIBPQ = frozenset(
    {
        "host", "hostaddr", "port", "dbname", "user", "password", "sslmode", "sslcert", "sslkey", "sslrootcert",
        "sslcrl", "sslpassword", "passfile", "service", "connect_timeout", "keepalives", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "options", "target_session_attrs", "channel_binding", "gssencmode",
    }
)  # fmt: skip


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
    port = integer(variables, name, 5432)
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
