"""Mastodon's own retention settings, and what they should have removed, from the database."""

from __future__ import annotations

from mastomend.database.reader import MastodonDatabase
from mastomend.mastodon.retention import CONTENT, MEDIA, OVERDUE_SQL, PATIENCE_DAYS, Retention, parse_days, settings_sql


def read_retention(database: MastodonDatabase) -> Retention:
    """As the administration set it.

    Raises:
        DatabaseError: the settings may not be read.
    """
    database.require({"settings": {"var", "value"}})
    rows = {row["var"]: row["value"] for row in database.query(settings_sql(database.columns("settings")))}
    return Retention(parse_days(rows.get(MEDIA)), parse_days(rows.get(CONTENT)))


def read_overdue(database: MastodonDatabase, retention: Retention) -> int:
    """Attachments that are cached for days longer than Mastodon's retention says."""
    if retention.media is None:
        return 0
    needs = {"remote_url", "file_file_name", "created_at", "updated_at"}
    database.require({"media_attachments": needs})
    return int(database.query(OVERDUE_SQL, [retention.media + PATIENCE_DAYS])[0]["n"])
