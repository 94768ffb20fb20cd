"""Where the media are: Mastodon's variables, parsed once (facts §4.2)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mastomend.errors import ConfigurationError
from mastomend.mastodon.values import Secret, integer, required, split_url


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
            account=required(variables, "AZURE_STORAGE_ACCOUNT"),
            access_key=_base64(variables, "AZURE_STORAGE_ACCESS_KEY"),
            container=required(variables, "AZURE_CONTAINER_NAME"),
        )
    base = rails_root.rstrip("/")
    root = variables.get("PAPERCLIP_ROOT_PATH", ":rails_root/public/system").replace(":rails_root", base)
    if root and not root.startswith("/"):
        root = f"{base}/{root}"  # what Mastodon's processes find, which run in its directory
    return FilesystemStorage(root.rstrip("/") or "/")


def _base64(variables: Mapping[str, str], name: str) -> Secret:
    value = required(variables, name)
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise ConfigurationError(f"{name} is not base64.", hint="Copy it again: it ends in = or ==.") from None
    return Secret(value)


def _s3(variables: Mapping[str, str]) -> S3Storage:
    endpoint = _endpoint(variables.get("S3_ENDPOINT", "").strip())
    permission = variables.get("S3_PERMISSION", "public-read")
    key_id = variables.get("AWS_ACCESS_KEY_ID") or None
    return S3Storage(
        bucket=required(variables, "S3_BUCKET"),
        region=variables.get("S3_REGION") or "us-east-1",
        endpoint=endpoint,
        virtual_host_style=endpoint is None or variables.get("S3_OVERRIDE_PATH_STYLE") == "true",
        access_key_id=key_id,
        secret_access_key=Secret(variables.get("AWS_SECRET_ACCESS_KEY", "") if key_id else ""),
        permission=permission or None,
        storage_class=variables.get("S3_STORAGE_CLASS") or None,
        key_prefix=_key_prefix(variables),
        open_timeout_s=float(integer(variables, "S3_OPEN_TIMEOUT", 5)),
        read_timeout_s=float(integer(variables, "S3_READ_TIMEOUT", 5)),
        multipart_threshold=integer(variables, "S3_MULTIPART_THRESHOLD", 15_728_640),
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
