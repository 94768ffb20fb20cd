"""The jobs Mastodon's own workers take, and the cache keys and locks that concern media (facts §6.2, §7, §10). Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from mastomend.mastodon.kinds import AVATARS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage
from mastomend.mastodon.versions import Version

QUEUE = "pull"
CACHE_BUSTER = "CacheBusterWorker"
#: How long Mastodon's own media download may hold its lock.
MEDIA_LOCK_S = 900

_WORKERS: dict[str, tuple[str, int]] = {
    AVATARS.name: ("RedownloadAvatarWorker", 7),
    HEADERS.name: ("RedownloadHeaderWorker", 7),
    MEDIA_FILES.name: ("RedownloadMediaWorker", 3),
    MEDIA_THUMBNAILS.name: ("RedownloadMediaWorker", 3),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One Sidekiq job. `jid` is made of the run and the record, so that the same job is the same job again."""

    worker: str
    argument: int | str
    retry: int
    jid: str

    def payload(self, now: float, *, enqueued: bool) -> str:
        """Sidekiq's JSON; seconds as floats, which every version from 6 to 8 reads rightly (facts §7)."""
        stamps = {"created_at": float(now)} | ({"enqueued_at": float(now)} if enqueued else {})
        body = {"class": self.worker, "args": [self.argument], "queue": QUEUE, "retry": self.retry, "jid": self.jid}
        return json.dumps(body | stamps)


def redownload_job(kind: Kind, record_id: int, run: str) -> Job | None:
    """The job that makes Mastodon download that record again; None for kinds that have no such worker.

    A medium's file and thumbnail are one job: the worker downloads both.
    """
    found = _WORKERS.get(kind.name)
    if found is None:
        return None
    worker, retry = found
    return Job(worker, record_id, retry, _jid(run, worker, record_id))


def cache_buster_job(url: str, run: str) -> Job:
    """The job that asks the CDN to forget one address (facts §4.3)."""
    return Job(CACHE_BUSTER, url, 3, _jid(run, CACHE_BUSTER, url))


def busted_address(key: str, public_url: str, storage: Storage, version: Version) -> str:
    """What CacheBusterWorker is given: the public address; a path in the storage up to 4.3 (facts §10)."""
    if version.at_least_4_4:
        return public_url
    return f"{storage.root}/{key}" if isinstance(storage, FilesystemStorage) else key


def _jid(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:24]


def emoji_cache_key(shortcode: str, domain: str | None) -> str:
    """Where an emoji's record is cached for seven days (facts §6.4)."""
    name = f"emoji:{shortcode.lower()}"
    return f"{name}:{domain.lower()}" if domain else name


def status_cache_keys(status_id: int, version: Version) -> tuple[str, ...]:
    """Where a post with its media is cached for ten minutes (facts §10)."""
    rendered = f"fan-out/{status_id}"
    return (rendered,) if version.number >= (4, 3) else (rendered, f"v3:statuses/{status_id}")


def media_lock(media_id: int) -> str:
    """The lock of Mastodon's media proxy (facts §5.3)."""
    return f"lock:media_download:{media_id}"
