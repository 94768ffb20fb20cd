"""From a key to its public address (facts §5.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from mastomend.mastodon.configuration import AzureStorage, Configuration, FilesystemStorage, S3Storage


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
