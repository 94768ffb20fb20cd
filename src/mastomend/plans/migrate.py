"""What changes when the media move: the lines of Mastodon's settings, the web server's, and how long and how much. Pure.

No secret is ever in it: a line with one says which file has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mastomend.mastodon.storage_settings import FilesystemStorage, S3Storage, Storage

#: Variables that say where the media are, and under which address they are shown (facts §4.2).
_OF_STORAGE = re.compile(
    r"(S3|SWIFT|AZURE)_[A-Z0-9_]+|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|PAPERCLIP_ROOT_(PATH|URL)"
)
_SECRET = re.compile(r".*(SECRET|PASSWORD|ACCESS_KEY|TEMP_URL_KEY)")
#: A file's upload in parts takes one request for each, and two more.
_PART = 8 * 1024 * 1024


def is_of_storage(name: str) -> bool:
    """Whether that variable says where the media are, or how they are shown."""
    return _OF_STORAGE.fullmatch(name) is not None


def env_lines(before: Mapping[str, str], after: Mapping[str, str], named: str) -> list[str]:
    """What to change in `.env.production`, line by line: `-NAME` goes, `NAME=value` is set. `named` is the file that has the
    values, for those that are secret.
    """
    old = {name: value for name, value in before.items() if is_of_storage(name)}
    new = {name: value for name, value in after.items() if is_of_storage(name)}
    lines = [f"-{name}" for name in sorted(old) if name not in new]
    for name, value in new.items():
        if old.get(name) == value:
            continue
        secret = _SECRET.fullmatch(name) and name != "AWS_ACCESS_KEY_ID"
        lines.append(f"{name}=(as in {named})" if secret else f"{name}={_quoted(value)}")
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
        miss = f"        proxy_intercept_errors on;\n        error_page 403 404 = {fallback};\n" if fronts.old else ""
        parts.append(
            f"# {shown.netloc}: from the bucket{', then from the old disk' if fronts.old else ''}\n"
            f"server {{\n    listen 443 ssl;\n    server_name {shown.hostname};\n"
            "    # ssl_certificate …; ssl_certificate_key …;\n"
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
            f"# {fronts.host}: addresses from before the move\n"
            "location ~ ^/system/(.*)$ {\n"
            f"    return 301 {fronts.public}/$1;\n}}"
        )
    return "\n\n".join(parts)


def caddy(fronts: Fronts) -> str:
    """The same for Caddy."""
    shown, bucket = urlsplit(fronts.public), urlsplit(fronts.bucket)
    parts = []
    if shown.netloc != bucket.netloc:
        rewrite = f"    rewrite * {bucket.path}{{uri}}\n" if bucket.path else ""
        old = (
            "        @missing status 403 404\n        handle_response @missing {\n"
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
            f"    redir {fronts.public}{{uri}} permanent\n}}"
        )
    return "\n\n".join(parts)


def puts(files: int, size: int, storage: Storage) -> int:
    """About how many requests storing so many files takes."""
    threshold = storage.multipart_threshold if isinstance(storage, S3Storage) else size + 1
    return files + (size // _PART if files and size // files >= threshold else 0)


def nested(one: Storage, other: Storage) -> bool:
    """Whether two storages are one, or one lies in the other."""
    if isinstance(one, FilesystemStorage) and isinstance(other, FilesystemStorage):
        a, b = f"{one.root.rstrip('/')}/", f"{other.root.rstrip('/')}/"
        return a.startswith(b) or b.startswith(a)
    if isinstance(one, S3Storage) and isinstance(other, S3Storage):
        same = (one.bucket, one.endpoint, one.region) == (other.bucket, other.endpoint, other.region)
        return same and one.key_prefix == other.key_prefix
    return one == other
