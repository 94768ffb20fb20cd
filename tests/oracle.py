"""Who cares for what, found again in plain Python: whole tables, loops, nothing shared with what is tested (facts §8.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mastomend.demo.instance import SimulatedInstance

Row = dict[str, Any]
#: What ties something: the relationship, and since when, if that is said.
Tie = tuple[str, int | None]


class Oracle:
    """Everything an instance holds, read once."""

    def __init__(self, instance: SimulatedInstance) -> None:
        self._instance = instance
        self._tables: dict[str, list[Row]] = {}
        self.accounts = {row["id"]: row for row in self.rows("accounts")}
        self.statuses = {row["id"]: row for row in self.rows("statuses")}
        self.here = {number for number, row in self.accounts.items() if row["domain"] is None}

    def rows(self, table: str) -> list[Row]:
        if table not in self._tables:
            known = self._instance.columns(table)
            self._tables[table] = list(self._instance.db.execute(f"SELECT * FROM {table}")) if known else []
        return self._tables[table]

    def _by_id(self, table: str) -> dict[int, Row]:
        return {row["id"]: row for row in self.rows(table)}

    def _ours(self, status: int | None) -> bool:
        found = self.statuses.get(status) if status is not None else None
        return found is not None and (bool(found["local"]) or found["uri"] is None)

    def posts(self) -> dict[int, list[Tie]]:
        """What ties each post."""
        found: dict[int, list[Tie]] = {}
        for post, relationship, at in self._posts():
            if post is not None:
                found.setdefault(int(post), []).append((relationship, None if at is None else epoch(at)))
        return found

    def _posts(self) -> Iterator[tuple[int | None, str, datetime | None]]:  # noqa: C901 - one loop a table
        for table, name in (
            ("favourites", "favourited"), ("mentions", "mentioned"), ("status_pins", "pinned"), ("status_edits", "edited"),
        ):  # fmt: skip
            for row in self.rows(table):
                if row["account_id"] in self.here:
                    yield row["status_id"], name, row["created_at"]
        for row in self.rows("bookmarks"):
            yield row["status_id"], "bookmarked", row["created_at"]
        for number, row in self.statuses.items():
            if self._ours(number):
                yield row["reblog_of_id"], "boosted", row["created_at"]
                yield row["in_reply_to_id"], "answered", row["created_at"]
        quotes = self._by_id("quotes")
        for row in quotes.values():
            if row["account_id"] in self.here:
                yield row["quoted_status_id"], "quoted", row["created_at"]
            if self._ours(row["quoted_status_id"]) or row["quoted_account_id"] in self.here:
                yield row["status_id"], "quotes_us", row["created_at"]
        for row in self.rows("status_edits"):
            if row.get("quote_id") in quotes and self._ours(row["status_id"]):
                yield quotes[row["quote_id"]]["quoted_status_id"], "quoted", row["created_at"]
        polls = self._by_id("polls")
        for row in self.rows("poll_votes"):
            if row["account_id"] in self.here and row["poll_id"] in polls:
                yield polls[row["poll_id"]]["status_id"], "voted", row["created_at"]
        for table, name in (("reports", "reported"), ("account_warnings", "warned"), ("announcements", "announced")):
            for row in self.rows(table):
                for post in row["status_ids"] or ():
                    if str(post).isdecimal():
                        yield int(post), name, row["created_at"]
        for row in self.rows("custom_filter_statuses"):
            yield row["status_id"], "filtered", row["created_at"]
        for row in self.rows("account_conversations"):
            for post in [row["last_status_id"], *(row["status_ids"] or ())]:
                yield post, "conversation", None
        of = {
            "Mention": self._by_id("mentions"), "Poll": polls, "Quote": quotes, "Favourite": self._by_id("favourites"),
        }  # fmt: skip
        for row in self.rows("notifications"):
            if row["activity_type"] == "Status":
                yield row["activity_id"], "notified", row["created_at"]
            elif row["activity_id"] in of.get(row["activity_type"], {}):
                yield of[row["activity_type"]][row["activity_id"]]["status_id"], "notified", row["created_at"]
        for row in self.rows("notification_requests"):
            yield row["last_status_id"], "notified", row["updated_at"]
        for row in self.rows("tagged_objects"):
            yield row["status_id"], "collected", row["created_at"]
        for row in self.rows("scheduled_statuses"):
            for name in ("in_reply_to_id", "quoted_status_id"):
                if (post := (row["params"] or {}).get(name)) is not None:
                    yield int(post), "scheduled", row["scheduled_at"]
        for row in self.rows("admin_action_logs"):
            if row["target_type"] == "Status":
                yield row["target_id"], "acted_upon", row["created_at"]
        for row in self.rows("status_trends"):
            yield row["status_id"], "trending", None
        yield from self._threads()

    def _threads(self) -> Iterator[tuple[int | None, str, datetime | None]]:
        muted = {row["conversation_id"] for row in self.rows("conversation_mutes")}
        written: dict[int, datetime] = {}
        for number, row in self.statuses.items():
            if self._ours(number) and row["conversation_id"] is not None:
                old = written.get(row["conversation_id"], row["created_at"])
                written[row["conversation_id"]] = max(old, row["created_at"])
        for number, row in self.statuses.items():
            if row["conversation_id"] in muted:
                yield number, "muted_thread", None
            if row["conversation_id"] in written:
                yield number, "thread", written[row["conversation_id"]]
        for row in self.rows("conversations"):
            if row.get("parent_status_id") is not None and row["id"] in written:
                yield row["parent_status_id"], "parent", written[row["id"]]
        followed = {row["tag_id"] for row in self.rows("tag_follows")}
        for row in self.rows("statuses_tags"):
            if row["tag_id"] in followed:
                yield row["status_id"], "followed_tag", None

    def people(self) -> dict[int, list[Tie]]:
        """What ties each account."""
        found: dict[int, list[Tie]] = {}
        for account, relationship, at in self._people():
            if account is not None:
                found.setdefault(int(account), []).append((relationship, None if at is None else epoch(at)))
        return found

    def _people(self) -> Iterator[tuple[int | None, str, datetime | None]]:  # noqa: C901 - one loop a table
        for table, name in (
            ("follows", "followed"), ("follow_requests", "requested"), ("account_notes", "noted"), ("account_pins", "featured"),
            ("mutes", "muted"), ("blocks", "blocked"),
        ):  # fmt: skip
            for row in self.rows(table):
                if row["account_id"] in self.here:
                    yield row["target_account_id"], name, row["created_at"]
        for table, name in (("follows", "follower"), ("follow_requests", "requested")):
            for row in self.rows(table):
                if row["target_account_id"] in self.here:
                    yield row["account_id"], name, row["created_at"]
        for row in self.rows("list_accounts"):
            yield row["account_id"], "listed", None
        collections = self._by_id("collections")
        for row in self.rows("collection_items"):
            if row["state"] == 1 and collections[row["collection_id"]]["local"]:
                yield row["account_id"], "featured", row["created_at"]
        for row in self.rows("account_conversations"):
            for account in row["participant_account_ids"] or ():
                yield account, "conversation", None
        for row in self.rows("mentions"):
            if self._ours(row["status_id"]):
                yield row["account_id"], "mentioned", row["created_at"]
        for row in self.rows("reports"):
            yield row["target_account_id"], "reported", row["created_at"]
        for table in ("account_moderation_notes", "account_warnings"):
            for row in self.rows(table):
                yield row["target_account_id"], "moderated", row["created_at"]
        for row in self.rows("admin_action_logs"):
            if row["target_type"] == "Account":
                yield row["target_id"], "moderated", row["created_at"]
        for row in self.rows("severed_relationships"):
            yield row["remote_account_id"], "severed", None
        for number in self.here:
            yield self.accounts[number]["moved_to_account_id"], "moved", None
        for number, account in self.accounts.items():
            if account["suspended_at"] is not None:
                yield number, "suspended", account["suspended_at"]
        for row in self.rows("notifications"):
            yield row["from_account_id"], "noticed", row["created_at"]
        yield from self._authors()

    def _authors(self) -> Iterator[tuple[int | None, str, datetime | None]]:
        for row in self.rows("favourites"):
            if row["account_id"] in self.here:
                yield self.statuses[row["status_id"]]["account_id"], "author", row["created_at"]
        for row in self.rows("bookmarks"):
            yield self.statuses[row["status_id"]]["account_id"], "author", row["created_at"]
        for number, row in self.statuses.items():
            if self._ours(number):
                if row["reblog_of_id"] is not None:
                    yield self.statuses[row["reblog_of_id"]]["account_id"], "author", row["created_at"]
                yield row["in_reply_to_account_id"], "author", row["created_at"]


def epoch(moment: datetime) -> int:
    """Seconds since 1970; the database has no time zone. Halves are rounded up, as PostgreSQL does."""
    return int(moment.replace(tzinfo=UTC).timestamp() + 0.5)


def is_kept(ties: list[Tie], terms: dict[str, int], used: int, now: int, forever: int) -> bool:
    """Whether one of them still keeps what was used then."""
    return any(
        terms[name] >= forever or max(used, since if since is not None else 0) + terms[name] > now
        for name, since in ties
    )
