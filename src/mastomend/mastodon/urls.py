"""From a key to its public address (facts §5.1), whether two addresses are one (§13.6), and whose one is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from unicodedata import normalize
from urllib.parse import quote, unquote, urlsplit

import idna

from mastomend.mastodon.configuration import Configuration
from mastomend.mastodon.storage_settings import AzureStorage, FilesystemStorage, S3Storage


def public_url(key: str, configuration: Configuration, variables: Mapping[str, str]) -> str:
    """The address under which Mastodon shows that file."""
    path = quote(key)
    match configuration.storage:
        case FilesystemStorage():
            root = variables.get("PAPERCLIP_ROOT_URL") or "/system"
            if not root.startswith(("http://", "https://")):
                base = variables.get("CDN_HOST") or f"https://{configuration.web_domain}"
                root = base.rstrip("/") + "/" + root.strip("/")
            return f"{root.rstrip('/')}/{path}"
        case S3Storage(bucket=bucket, region=region):
            scheme = variables.get("S3_PROTOCOL") or "https"
            if alias := variables.get("S3_ALIAS_HOST") or variables.get("S3_CLOUDFRONT_HOST"):
                return f"{scheme}://{alias}/{path}"
            host = variables.get("S3_HOSTNAME") or f"s3-{region}.amazonaws.com"
            return f"{scheme}://{host}/{bucket}/{path}"
        case AzureStorage(account=account, container=container):
            if alias := variables.get("AZURE_ALIAS_HOST"):
                return f"https://{alias}/{path}"
            return f"https://{account}.blob.core.windows.net/{container}/{path}"


def same_address(one: str, other: str) -> bool:
    """Whether two spellings name the same place.

    The database holds Addressable's normal form (NFC, its own choice of what is percent-encoded), a document may spell the
    same address in any way.
    """
    return one == other or _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, ...]:
    """What two spellings of an address have in common: everything unquoted, the host in ASCII, no default port."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = normalize("NFC", unquote(parts.hostname or "")).rstrip(".")
        host = host if host.isascii() else _ascii(host)
    except ValueError:
        return (url,)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    user = parts.netloc.rpartition("@")[0]
    path = parts.path or ("/" if parts.netloc else "")
    plain = (normalize("NFC", unquote(text)) for text in (user, path, parts.query, parts.fragment))
    return (parts.scheme, host.lower(), "" if port in (None, default) else str(port), *plain)


def _ascii(host: str) -> str:
    """IDNA as the web has it now; the standard library's own would make `faß` `fass`."""
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return host


def origin_host(url: str) -> str:
    """The host of a remote URL in lower case, '' when it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
