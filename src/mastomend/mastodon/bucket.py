"""Where a bucket's objects are asked for: the one place that turns S3 settings into scheme, host and path. Pure.

As Mastodon's own client does it (facts §4.2): an endpoint is addressed path-style, `ENDPOINT/BUCKET/KEY`, also when
somebody has put the bucket's name into it; with `S3_OVERRIDE_PATH_STYLE`, and at Amazon, the bucket becomes part of the
host's name. Where that cannot be (a dot in the name under https, an address instead of a name), the SDK falls back to the
path, and so do we.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mastomend.mastodon.storage_settings import S3Storage

#: What a key may keep in a URL's path; everything else is percent-encoded, once.
_SAFE = "/-_.~"


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """`host` as the Host header says it, with a port that is not the scheme's own; `path` without a slash at its end."""

    scheme: str
    host: str
    path: str

    def url(self, key: str = "") -> str:
        """The address of the bucket, or of an object in it."""
        return f"{self.scheme}://{self.host}{self.raw_path(key)}"

    def raw_path(self, key: str = "") -> str:
        """The path of the bucket, or of an object, as it goes over the wire."""
        if not key:
            return self.path or "/"
        return f"{self.path}/{quote(key, safe=_SAFE)}"


def bucket_address(settings: S3Storage) -> BucketAddress:
    """Where that bucket is."""
    if settings.endpoint is None:
        suffix = "amazonaws.com.cn" if settings.region.startswith("cn-") else "amazonaws.com"
        endpoint = f"https://s3.{settings.region}.{suffix}"
    else:
        endpoint = settings.endpoint
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").lower()
    bare = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    path = parts.path.rstrip("/")
    if settings.virtual_host_style and _can_be_a_host(settings.bucket, parts.scheme) and not _is_address(host):
        return BucketAddress(parts.scheme, f"{settings.bucket}.{bare}{port}", path)
    return BucketAddress(parts.scheme, f"{bare}{port}", f"{path}/{quote(settings.bucket, safe=_SAFE)}")


def _can_be_a_host(bucket: str, scheme: str) -> bool:
    """Whether the bucket's name can stand before a host's; with a dot in it no certificate covers it."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]", bucket) or _is_address(bucket) or ".." in bucket:
        return False
    return "." not in bucket or scheme == "http"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
