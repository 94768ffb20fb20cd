"""What changes when the media move: the lines of Mastodon's settings, the web server's, and how long and how much. Pure.

No secret is ever in it: a line with one says which file has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mastomend.mastodon.storage_settings import AzureStorage, FilesystemStorage, S3Storage, Storage

#: Variables that say where the media are, and under which address they are shown (facts §4.2).
_OF_STORAGE = re.compile(
    r"(S3|SWIFT|AZURE)_[A-Z0-9_]+|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|PAPERCLIP_ROOT_(PATH|URL)"
)
#: Those that may be shown; whatever else there is may be secret.
_SHOWN = re.compile(
    r"S3_(ENABLED|BUCKET|REGION|ENDPOINT|HOSTNAME|PROTOCOL|ALIAS_HOST|CLOUDFRONT_HOST|PERMISSION|STORAGE_CLASS|KEY_PREFIX"
    r"|MULTIPART_THRESHOLD|SIGNATURE_VERSION|OPEN_TIMEOUT|READ_TIMEOUT|RETRY_LIMIT|OVERRIDE_PATH_STYLE|FORCE_SINGLE_REQUEST"
    r"|ENABLE_CHECKSUM_MODE|BATCH_DELETE_LIMIT|BATCH_DELETE_RETRY)"
    r"|AZURE_(ENABLED|STORAGE_ACCOUNT|CONTAINER_NAME|ALIAS_HOST)|AWS_ACCESS_KEY_ID|PAPERCLIP_ROOT_(PATH|URL)"
)
#: A file's upload in parts takes one request for each, and two more.
_PART = 8 * 1024 * 1024


def is_of_storage(name: str) -> bool:
    """Whether that variable says where the media are, or how they are shown."""
    return _OF_STORAGE.fullmatch(name) is not None


def env_lines(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What to change in `.env.production`: `-NAME` goes, `NAME=value` is set, a mere `NAME` is set to a secret."""
    old = {name: value for name, value in before.items() if is_of_storage(name)}
    new = {name: value for name, value in after.items() if is_of_storage(name)}
    lines = [f"-{name}" for name in sorted(old) if name not in new]
    for name, value in new.items():
        if old.get(name) == value:
            continue
        lines.append(f"{name}={_quoted(value)}" if _SHOWN.fullmatch(name) else name)
    return lines


def _quoted(value: str) -> str:
    return f"'{value}'" if re.search(r"[\s#\"$\\]", value) else value


@dataclass(frozen=True, slots=True)
class Fronts:
    """What a web server needs to know: where the bucket is asked for (`bucket`), the address Mastodon then shows (`public`,
    both without a slash at the end), the media directory from before (`old`), and the instance's own host.
    """

    bucket: str
    public: str
    old: str | None
    host: str


def nginx(fronts: Fronts) -> str:
    """For nginx: files from the bucket, then from the old disk; old addresses lead to the new ones."""
    shown, bucket = urlsplit(fronts.public), urlsplit(fronts.bucket)
    parts = []
    if shown.netloc != bucket.netloc:  # Mastodon shows an address of its own: that host serves them
        old = (
            f"\n    location @disk {{\n        root {fronts.old};\n        try_files $uri =404;\n    }}\n"
            if fronts.old
            else ""
        )
        fallback = "@disk" if fronts.old else "=404"
        miss = f"        proxy_intercept_errors on;\n        error_page 404 = {fallback};\n" if fronts.old else ""
        parts.append(
            f"# {shown.netloc}: from the bucket{', then from the old disk' if fronts.old else ''}\n"
            f"server {{\n    listen 443 ssl;\n    server_name {shown.hostname};\n"
            "    # ssl_certificate …; ssl_certificate_key …;\n"
            "    location ^~ /backups/ { return 404; }  # only by addresses that expire, from the store itself\n"
            "    location / {\n        limit_except GET { deny all; }\n"
            f"        proxy_pass {bucket.scheme}://{bucket.netloc}{bucket.path}/;\n"
            f"        proxy_set_header Host {bucket.netloc};\n        proxy_set_header Connection '';\n"
            "        proxy_set_header Authorization '';\n        proxy_http_version 1.1;\n"
            f"        proxy_ssl_server_name on;\n        proxy_hide_header Set-Cookie;\n{miss}"
            "        add_header Cache-Control 'public, max-age=315576000, immutable';\n"
            "        add_header X-Content-Type-Options nosniff;\n"
            "        add_header Content-Security-Policy \"default-src 'none'; form-action 'none'\";\n"
            f"    }}\n{old}}}"
        )
    if fronts.old:
        parts.append(
            f"# {fronts.host}: addresses from before the move; instead of the `location` of /system/ that is there.\n"
            "# 301 instead of 302 once it is for good.\n"
            "location ~ ^/system/(.*)$ {\n"
            f"    return 302 {fronts.public}/$1;\n}}"
        )
    return "\n\n".join(parts)


def caddy(fronts: Fronts) -> str:
    """The same for Caddy."""
    shown, bucket = urlsplit(fronts.public), urlsplit(fronts.bucket)
    parts = []
    if shown.netloc != bucket.netloc:
        rewrite = f"    rewrite * {bucket.path}{{uri}}\n" if bucket.path else ""
        old = (
            "        @missing status 404\n        handle_response @missing {\n"
            f"            root * {fronts.old}\n            file_server\n        }}\n"
            if fronts.old
            else ""
        )
        parts.append(
            f"# {shown.netloc}: from the bucket{', then from the old disk' if fronts.old else ''}\n"
            f"{shown.netloc} {{\n{rewrite}"
            f"    reverse_proxy {bucket.scheme}://{bucket.netloc} {{\n        header_up Host {bucket.netloc}\n{old}    }}\n}}"
        )
    if fronts.old:
        parts.append(
            f"# {fronts.host}: addresses from before the move\n"
            "handle_path /system/* {\n"
            f"    redir {fronts.public}{{uri}} temporary\n}}"
        )
    return "\n\n".join(parts)


def puts(files: int, size: int, storage: Storage) -> int:
    """About how many requests storing so many files takes."""
    threshold = storage.multipart_threshold if isinstance(storage, S3Storage) else size + 1
    return files + (size // _PART if files and size // files >= threshold else 0)


def same(one: Storage, other: Storage) -> bool:
    """Whether two settings name one storage, as far as they say; whatever else they say of it."""
    match one, other:
        case S3Storage(), S3Storage():
            regions = one.endpoint is not None or one.region == other.region
            buckets = (_plain(one.endpoint), one.bucket, one.key_prefix) == (
                _plain(other.endpoint),
                other.bucket,
                other.key_prefix,
            )
            return regions and buckets
        case AzureStorage(), AzureStorage():
            return (one.account, one.container, _plain(one.endpoint)) == (
                other.account,
                other.container,
                _plain(other.endpoint),
            )
        case FilesystemStorage(), FilesystemStorage():
            return one.root.rstrip("/") == other.root.rstrip("/")
        case _:
            return False


def host(storage: Storage) -> str:
    """Where it is, besides its own name: two providers may have a bucket of one name."""
    match storage:
        case S3Storage():
            return _plain(storage.endpoint) or storage.region
        case AzureStorage():
            return _plain(storage.endpoint)
        case _:
            return ""


def _plain(endpoint: str | None) -> str:
    """An endpoint as its host, without what is the same anyway."""
    parts = urlsplit(endpoint or "")
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{(parts.hostname or '').lower()}{port}{parts.path.rstrip('/')}"


def nested(one: Storage, other: Storage) -> bool:
    """Whether two storages are one, or one lies in the other."""
    if isinstance(one, FilesystemStorage) and isinstance(other, FilesystemStorage):
        a, b = f"{one.root.rstrip('/')}/", f"{other.root.rstrip('/')}/"
        return a.startswith(b) or b.startswith(a)
    return same(one, other)
