"""Mastodon's own retention: what its settings mean, and how it fights with keeping what people touched. Pure.

Only a positive whole number switches one on; values are YAML (facts §8.1). The vacuum runs once a day, between three and six.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

MEDIA, CONTENT = "media_cache_retention_period", "content_cache_retention_period"
#: Days that what is older than its period may wait for the vacuum: one run, and one that failed.
PATIENCE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which Mastodon itself deletes cached media, and cached posts; None: it does not."""

    media: int | None = None
    content: int | None = None


def parse_days(value: str | None) -> int | None:
    """`--- 14\\n` is 14 days; anything but a positive whole number is nothing."""
    found = re.fullmatch(r"(?:---)?\s*([0-9]{1,6})\s*(?:\.\.\.\s*)?", value or "")
    return int(found[1]) or None if found else None


def settings_sql(columns: Collection[str]) -> str:
    """Those two settings as `var` and `value`; up to 4.3 others of the same names belong to users."""
    of_server = " AND thing_type IS NULL AND thing_id IS NULL" if "thing_type" in columns else ""
    return f"SELECT var, value FROM settings WHERE var IN ('{MEDIA}', '{CONTENT}'){of_server}"  # noqa: S608 - our own words


#: Cached attachments that Mastodon's retention should have cleared (one parameter, days).
OVERDUE_SQL = (
    "SELECT count(*) AS n FROM media_attachments WHERE remote_url <> '' AND file_file_name IS NOT NULL "
    "AND greatest(created_at, updated_at) < now() AT TIME ZONE 'utc' - make_interval(days => %s)"
)


def fights(retention: Retention, *, keeps: bool) -> list[str]:
    """What of Mastodon's settings works against keeping what people touched, in words. `keeps`: anything is to be kept."""
    said = []
    if retention.media is not None and keeps:
        said.append(
            f"Mastodon's own media cache retention deletes after {retention.media} days whatever people here touched: prune "
            "keeps it in vain. Empty that field (Administration, Server settings, Content retention), and leave it to prune."
        )
    if retention.content is not None:
        said.append(
            f"Mastodon's content cache retention deletes posts after {retention.content} days, also those that people here "
            "favourited, bookmarked or answered, and with them their own boosts. Empty that field, too."
        )
    return said


def looks_dead(retention: Retention, overdue: int) -> str | None:
    """Why Mastodon's retention seems not to run, in words; `overdue` attachments should have gone days ago."""
    if retention.media is None or not overdue:
        return None
    return (
        f"{overdue:,} attachments are older than Mastodon's media cache retention of {retention.media} days and still cached: "
        "its vacuum seems not to run, or to fail. See Sidekiq's page (Cron, vacuum_scheduler; Dead)."
    )
