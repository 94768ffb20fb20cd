"""Variables → typed configuration, with Mastodon's defaults and clear refusals (facts §4.2, §4.3, §13.3)."""

from __future__ import annotations

import pytest

from mastomend.errors import ConfigurationError
from mastomend.mastodon.configuration import (
    AzureStorage,
    FilesystemStorage,
    S3Storage,
    Secret,
    configuration,
    redis_group,
)
from mastomend.mastodon.moderation import DomainBlock, Moderation
from mastomend.mastodon.versions import version

BASE = {"LOCAL_DOMAIN": "example.social"}


def test_defaults() -> None:
    found = configuration(BASE, "/home/mastodon/live")
    assert found.storage == FilesystemStorage("/home/mastodon/live/public/system")
    assert dict(found.database.parameters) == {
        "host": "localhost", "port": "5432", "dbname": "mastodon_production", "user": "mastodon", "sslmode": "prefer",
    }  # fmt: skip
    assert found.web_domain == "example.social"
    assert (found.redis.host, found.redis.port, found.redis.db) == ("localhost", 6379, 0)


def test_database_url_wins_and_rails_own_options_are_dropped() -> None:
    url = "postgres://u%40x:p%2Fw@db.example:6543/masto?sslmode=require&pool=25"
    found = configuration(BASE | {"DATABASE_URL": url, "DB_HOST": "other"}, "/x").database
    assert dict(found.parameters) == {
        "host": "db.example", "port": "6543", "dbname": "masto", "user": "u@x", "sslmode": "require",
    }  # fmt: skip
    assert found.password.reveal() == "p/w"


def test_socket_directory_and_url_with_host_parameter() -> None:
    assert configuration(BASE | {"DB_HOST": "/run/postgresql"}, "/x").database.parameters["host"] == "/run/postgresql"
    found = configuration(BASE | {"DATABASE_URL": "postgresql:///m?host=/run/postgresql"}, "/x").database
    assert found.parameters["host"] == "/run/postgresql"


def test_secrets_never_print() -> None:
    found = configuration(
        BASE | {"DB_PASS": "hunter2", "S3_ENABLED": "true", "S3_BUCKET": "b", "AWS_ACCESS_KEY_ID": "id",
                "AWS_SECRET_ACCESS_KEY": "hunter2", "REDIS_PASSWORD": "hunter2", "http_proxy": "http://u:hunter2@proxy"},
        "/x",
    )  # fmt: skip
    assert "hunter2" not in repr(found) + str(found) + str(found.database)
    assert str(Secret("x")) == "•••"


def test_s3() -> None:
    minimal = {"S3_ENABLED": "true", "S3_BUCKET": "b"}
    found = configuration(BASE | minimal, "/x").storage
    assert isinstance(found, S3Storage)
    assert (found.permission, found.virtual_host_style, found.region) == ("public-read", True, "us-east-1")
    empty = configuration(BASE | minimal | {"S3_PERMISSION": ""}, "/x").storage
    assert isinstance(empty, S3Storage) and empty.permission is None, "set but empty: no ACL header at all"
    own = configuration(BASE | minimal | {"S3_ENDPOINT": "https://s3.example", "S3_KEY_PREFIX": "p"}, "/x").storage
    assert isinstance(own, S3Storage)
    assert (own.virtual_host_style, own.key_prefix) == (False, "p")


def test_azure_and_swift() -> None:
    azure = {
        "AZURE_ENABLED": "true",
        "AZURE_STORAGE_ACCOUNT": "a",
        "AZURE_STORAGE_ACCESS_KEY": "k",
        "AZURE_CONTAINER_NAME": "c",
    }
    assert isinstance(configuration(BASE | azure, "/x").storage, AzureStorage)
    with pytest.raises(ConfigurationError, match="Swift"):
        configuration(BASE | {"SWIFT_ENABLED": "true"}, "/x")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LOCAL_DOMAIN": ""}, "LOCAL_DOMAIN is not set"),
        ({"DB_PORT": "five"}, "DB_PORT must be a whole number"),
        ({"DB_SSLMODE": "maybe"}, "not a PostgreSQL SSL mode"),
        ({"DATABASE_URL": "mysql://x"}, "must start with postgres://"),
        ({"S3_ENABLED": "true"}, "S3_BUCKET is not set"),
        ({"S3_ENABLED": "true", "S3_BUCKET": "b", "S3_ENDPOINT": "s3.example"}, "full URL"),
        ({"ALLOWED_PRIVATE_ADDRESSES": "10.0.0.0/8 nonsense"}, "'nonsense' is not an address"),
        ({"REDIS_SENTINELS": "a,b"}, "REDIS_SENTINEL_MASTER is not"),
    ],
)
def test_clear_refusals(variables: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configuration(BASE | variables, "/x")


def test_redis_groups() -> None:
    variables = {"REDIS_HOST": "r", "SIDEKIQ_REDIS_DB": "3", "CACHE_REDIS_HOST": "c", "REDIS_NAMESPACE": "ns"}
    base = redis_group(variables, "")
    assert redis_group(variables, "SIDEKIQ_", base) is base, "a group takes effect only with its URL or host (4.3+)"
    cache = redis_group(variables, "CACHE_", base)
    assert (cache.host, cache.port, cache.namespace) == ("c", 6379, "ns")
    old = redis_group(variables, "SIDEKIQ_", base, before_4_3=True)
    assert (old.host, old.port, old.db) == ("localhost", 6379, 3), "4.2 builds it from just what is set"


LAST = {
    "4.2": 20230907150100,
    "4.3": 20241007071624,
    "4.4": 20250627132728,
    "4.5": 20251023210145,
    "4.6": 20260611150940,
}


def migrations(until: str, *further: int) -> list[str]:
    """As a server of that release has them, with further ones."""
    own = [number for name, number in LAST.items() if name <= until]
    return [str(number) for number in (20160220174730, *own, *further)]


@pytest.mark.parametrize(
    ("found", "name", "noted"),
    [
        *((migrations(name), name, "") for name in LAST),
        (migrations("4.6", 20260618114230, 20260805130216), "4.7", ""),
        (migrations("4.6", 20260618114230, 20261130000000), "4.7", ""),  # 4.7.x: later than all we know of
        (migrations("4.6", 20260618114230, 20991231000000), "4.7", "newer than any"),
        (migrations("4.3", 20250101000000), "4.3", "between 4.3 and 4.4"),
        (migrations("4.2", 20230920000000), "4.2", ""),  # a patch release
        (migrations("4.5", 20260901120000), "4.5", "fork of Mastodon 4.5"),  # dated after 4.6, which is not there
        (migrations("4.5", 20991231000000), "4.5", "fork of Mastodon 4.5"),
        (migrations("4.2", 20250101000000), "4.2", "fork of Mastodon 4.2"),
        (migrations("4.5", 20171210213213, 20260209143307), "4.5", "glitch-soc"),
        (["20160220174730", "20250101000000"], "4.3", "between"),  # no release's own last one: by its date
    ],
)
def test_the_version_is_the_highest_release_that_is_there(found: list[str], name: str, noted: str) -> None:
    known = version(found)
    assert (known.name, known.schema) == (name, max(found))
    assert noted in known.note and bool(known.note) == bool(noted)


def test_imports_are_there_until_their_table_was_dropped() -> None:
    assert version(migrations("4.3")).has_imports
    assert not version(migrations("4.3", 20250410144908)).has_imports, "an upgrade under way"
    assert not version(migrations("4.4")).has_imports


@pytest.mark.parametrize("migrations", [[], ["20220101000000"]])
def test_too_old_or_empty(migrations: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        version(migrations)


def test_moderation() -> None:
    rules = Moderation(
        {
            "example.com": DomainBlock(True, False),
            "good.example.com": DomainBlock(False, False),
            "bad.example": DomainBlock(False, True),
        }
    )
    assert rules.refusal("a.EXAMPLE.com", suspended=False) == "reject_media"
    assert rules.refusal("x.good.example.com", suspended=False) is None, "the longest matching domain decides"
    assert rules.refusal("notexample.com", suspended=False) is None
    assert rules.refusal("bad.example", suspended=False) == "domain_suspended"
    assert rules.refusal("fine.example", suspended=True) == "suspended"
    limited = Moderation({}, True, frozenset({"friend.example"}))
    assert limited.refusal("friend.example", suspended=False) is None
    assert limited.refusal("stranger.example", suspended=False) == "not_allowed"
