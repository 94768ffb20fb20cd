"""The switch itself: which lines change in Mastodon's settings and the web server's, and whether Mastodon was restarted."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mastomend.commands.instance import Instance
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport
from mastomend.commands.migration import Ends, Named, ends, named, shown_by
from mastomend.commands.moves import variables_before
from mastomend.commands.processes import web_started
from mastomend.commands.transferring import Move
from mastomend.errors import ConfigurationError, SourceError
from mastomend.jobs.liveness import look
from mastomend.mastodon.bucket import bucket_address
from mastomend.mastodon.configuration import redis_group
from mastomend.mastodon.storage_settings import AzureStorage, FilesystemStorage, S3Storage
from mastomend.mastodon.urls import public_url
from mastomend.plans.migrate import Fronts, caddy, env_lines, nginx
from mastomend.progress import Progress

_POLL_S = 5.0
#: The kernel tells the time of day of a start only to about a second.
_ROUNDED_S = 1.0


def waited(
    reopen: Callable[[], Instance], options: MigrateOptions, progress: Progress, sleep: Callable[[float], None]
) -> Instance:
    """The instance once its settings name the target, or when patience ends."""
    progress.note(f"Waiting until the settings name {options.to}'s storage and Mastodon was restarted (at most "
                  f"{options.wait_s / 60:.0f} min).")  # fmt: skip
    deadline = time.monotonic() + options.wait_s
    while True:
        is_over = time.monotonic() > deadline
        try:
            instance = reopen()
            is_switched = ends(instance, options.to, options.origin).is_switched
            if is_over or (is_switched and not not_restarted(instance, lambda: datetime.now(UTC))):
                return instance
        except ConfigurationError:  # half of it is saved right now
            if is_over:
                raise
        sleep(_POLL_S)


def not_restarted(instance: Instance, now: Callable[[], datetime]) -> list[str]:
    """What speaks against Mastodon having been restarted with the new settings: processes older than the file of settings.

    Sidekiq says in Redis when its own began, wherever they run; Puma's are seen if they run on this machine, in the directory
    of the settings.
    """
    if instance.env is None:
        return []
    try:
        changed = instance.env.stat().st_mtime
        alive = look(
            redis_group(instance.variables, "SIDEKIQ_", redis_group(instance.variables, "")), now().timestamp()
        )
        web = sum(started < changed - _ROUNDED_S for started in web_started(instance.folder))
    except (OSError, SourceError, ConfigurationError):
        return ["whether Mastodon was restarted is not known: its Redis does not say"]
    old = sum(started < changed for started in alive.started)
    return [
        f"{n} of Mastodon's {what} run since before the settings changed: restart mastodon-sidekiq and mastodon-web"
        for n, what in ((old, "workers"), (web, "web processes (puma)"))
        if n
    ]


def tell_lines(move: Move, report: MigrateReport) -> None:
    """What changes in the settings and in the web server's."""
    both, instance = move.both, move.instance
    at_target, variables = shown_by(instance, both)
    report.lines = env_lines(instance.variables, variables)
    target = both.target.storage
    if isinstance(target, FilesystemStorage):
        return
    public = public_url("", at_target.configuration, variables).rstrip("/")
    if isinstance(target, S3Storage):
        bucket = bucket_address(target).url().rstrip("/")
    else:
        assert isinstance(target, AzureStorage)
        bucket = (target.endpoint or f"https://{target.account}.blob.core.windows.net") + f"/{target.container}"
    old = both.source.root if isinstance(both.source, FilesystemStorage) else None
    fronts = Fronts(bucket, public, old, instance.configuration.web_domain)
    report.nginx, report.caddy = nginx(fronts), caddy(fronts)


def origin_variables(instance: Instance, both: Ends, origin: Path | Named | None) -> dict[str, str]:
    """What Mastodon's settings said of the storage the media came from."""
    if origin is not None:
        return named(origin).variables
    if not isinstance(both.source, FilesystemStorage):
        return {}
    return {"PAPERCLIP_ROOT_PATH": both.source.root} | variables_before(instance, both.target.storage)
