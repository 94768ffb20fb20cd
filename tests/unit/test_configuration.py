"""Variables → typed configuration, with Mastodon's defaults and clear refusals (facts §4.2, §4.3, §13.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mastomend.errors import ConfigurationError
from mastomend.mastodon.configuration import configuration, http_proxy, redis_group
from mastomend.mastodon.environment import parse
from mastomend.mastodon.moderation import DomainBlock, Moderation
from mastomend.mastodon.storage_settings import AzureStorage, FilesystemStorage, S3Storage
from mastomend.mastodon.values import Secret, redact, split_url
from mastomend.mastodon.versions import version

BASE = {"LOCAL_DOMAIN": "example.social"}


def test_defaults() -> None:
    found = configuration(BASE, "/home/mastodon/live")
    assert found.storage == FilesystemStorage("/home/mastodon/live/public/system")
    assert dict(found.database.parameters) == {
        "host": "localhost", "port": "5432", "dbname": "mastodon_production", "user": "mastodon", "sslmode": "prefer",
    }  # fmt: skip
    assert found.web_domain == "example.social"
    redis = redis_group(BASE, "")
    assert (redis.host, redis.port, redis.db) == ("localhost", 6379, 0)


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
        "AZURE_STORAGE_ACCESS_KEY": "a2V5",
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
        ({"CACHE_S3_ENABLED": "true", "S3_ENABLED": "true"}, "second bucket"),
        (
            {"AZURE_ENABLED": "true", "AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_ACCESS_KEY": "not base64!"},
            "not base64",
        ),
        *(
            ({"S3_ENABLED": "true", "S3_BUCKET": "b", "S3_ENDPOINT": bad}, "S3_ENDPOINT")
            for bad in (
                "https://",
                "https://[::1",
                "https://h:port",
                "https://h/?x=1",
                "https://h#x",
                "ftp://h",
                "https://u:p@h",
            )
        ),
    ],
)
def test_clear_refusals(variables: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configuration(BASE | variables, "/x")


CASES = json.loads((Path(__file__).parents[1] / "cases/settings.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_settings_are_read_as_mastodon_reads_them(case: dict[str, Any]) -> None:
    """Whole files as people write them, with what Mastodon's own initializers make of them."""
    wanted = case["mastodon_reads"]
    variables = parse(case["env_production"], file_name=".env.production")
    if case["name"] in ("endpoint_no_scheme", "db_url_raw_hash"):  # Mastodon reads these, too, and then cannot use them
        with pytest.raises(ConfigurationError):
            configuration(variables, "/live")
        return
    found = configuration(variables, "/live")
    assert found.local_domain == wanted["local"]
    place = wanted["storage"]
    if place["storage"] == "file":
        root = place["root"].replace(":rails_root", "/live")
        root = root if root.startswith("/") else f"/live/{root}"
        assert found.storage == FilesystemStorage(root if place["root"] else "/")
    else:
        s3 = found.storage
        assert isinstance(s3, S3Storage)
        assert (s3.bucket, s3.permission, s3.access_key_id, s3.secret_access_key.reveal()) == (
            place["bucket"], place["permission"], place["key"], place["secret"],
        )  # fmt: skip
        assert s3.region == (place["region"] or "us-east-1")
        assert s3.endpoint == ((place["endpoint"] or "").rstrip("/") or None)
        assert s3.virtual_host_style is not place["path_style"] or not place["endpoint"]
        assert s3.key_prefix == (place["prefix"] or "").removeprefix("/")
    database, url = wanted["db"], wanted["database_url"]
    names = {"dbname": "database", "user": "username", "host": "host", "port": "port", "sslmode": "sslmode"}
    if url is None:
        values = {ours: str(database[theirs]) for ours, theirs in names.items() if database[theirs] is not None}
        assert dict(found.database.parameters) == values
        assert found.database.password.reveal() == database["password"]
        assert found.database.prepared_statements is database["prepared_statements"]
    else:
        assert (found.database.parameters["user"], found.database.password.reveal()) == ("mast@odon", "p#a$s/s:")
        assert found.database.parameters["dbname"] == "masto-prod" and not found.database.prepared_statements
    redis = redis_group(variables, "")
    assert (redis.host, redis.port, redis.db) == (
        wanted["redis"]["host"], int(wanted["redis"]["port"]), wanted["redis"]["db"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "secret", ["pa#ss", "pa/ss", "pa?ss", "12#34", "12/34", "12?34", "p@ss/w", "a#b@c", "#", "/x", "?y=1", "9#"]
)
@pytest.mark.parametrize(
    ("name", "scheme"), [("DATABASE_URL", "postgres"), ("REDIS_URL", "redis"), ("http_proxy", "http")]
)
def test_a_raw_character_in_a_password_never_shows_it(name: str, scheme: str, secret: str) -> None:
    """F29: the address breaks where the character stands; what is left of the password is no host and no port."""
    variables = BASE | {name: f"{scheme}://user:{secret}@db.example/name"}
    with pytest.raises(ConfigurationError) as caught:
        configuration(variables, "/x")
        redis_group(variables, "")
        http_proxy(variables)
    said = caught.value.message + caught.value.hint
    assert name in said and "percent-encoded" in said
    assert secret not in caught.value.message and not any(
        part in caught.value.message for part in secret.split("#") if len(part) > 1
    )


def test_an_encoded_password_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    found = configuration(
        BASE | {"DATABASE_URL": "postgres://u:p%23a%2Fb%3Fc%40@h:5/d?prepared_statements=false"}, "/x"
    ).database
    assert (found.password.reveal(), found.parameters["host"], found.prepared_statements) == ("p#a/b?c@", "h", False)


def test_sentinels_count_as_mastodon_counts_them() -> None:
    """E22: only with a master's name, and never beside a URL."""
    some = {"REDIS_SENTINELS": "a,b:7,[::1]", "REDIS_HOST": "h"}
    assert redis_group(some, "").sentinels == ()
    named = redis_group(some | {"REDIS_SENTINEL_MASTER": "m"}, "")
    assert (named.sentinels, named.sentinel_master) == (("a:26379", "b:7", "[::1]:26379"), "m")
    beside = redis_group(some | {"REDIS_SENTINEL_MASTER": "m", "REDIS_URL": "redis://x/1"}, "")
    assert (beside.sentinels, beside.url) == ((), "redis://x/1")
    with pytest.raises(ConfigurationError, match="no number"):
        redis_group(some | {"REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINELS": "a:b"}, "")


def test_what_only_redis_needs_does_not_stop_a_check() -> None:
    configuration(BASE | {"REDIS_URL": "nonsense", "REDIS_PORT": "x", "http_proxy": "nonsense"}, "/x")


@pytest.mark.parametrize(
    ("root", "found"),
    [("public/system", "/live/public/system"), ("./media/", "/live/./media"), ("/srv/x/", "/srv/x"), ("", "/"),
     (":rails_root/public/other", "/live/public/other")],
)  # fmt: skip
def test_a_relative_root_is_relative_to_mastodon(root: str, found: str) -> None:
    assert configuration(BASE | {"PAPERCLIP_ROOT_PATH": root}, "/live/").storage == FilesystemStorage(found)


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


def test_a_percent_encoded_password_is_a_secret_as_it_stands_there() -> None:
    split_url("redis://:p%40ss-w%c3%b6rd@h:1/0", "REDIS_URL", ("redis",))
    assert redact("cannot reach redis://:p%40ss-w%c3%b6rd@h:1/0") == "cannot reach redis://:•••@h:1/0"
