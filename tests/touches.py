"""Everything people here can do to a post or an account from elsewhere, one by one; and an oracle that finds it again.

The oracle reads whole tables into Python and loops over them: slow, plain, and written from the facts (§8.3) alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from mastomend.demo.instance import SimulatedInstance

_numbers = itertools.count(1)
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 92


@dataclass(slots=True)
class Town:
    """An instance with somebody here (`me`) and somebody elsewhere."""

    instance: SimulatedInstance
    me: int = 0
    they: int = 0
    friend: int = 0
    conversation: int = 0
    made: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def of(instance: SimulatedInstance) -> Town:
        town = Town(instance)
        town.me = instance.somebody("me")
        town.they = town.account("they")
        town.friend = town.account("friend")
        instance.insert("follows", account_id=town.me, target_account_id=town.friend)
        return town

    def has(self, table: str, column: str = "id") -> bool:
        return column in self.instance.columns(table)

    def account(self, name: str = "", **values: object) -> int:
        name = name or f"u{next(_numbers)}"
        return self.instance.insert(
            "accounts",
            username=name,
            domain="far.example",
            uri=f"https://far.example/{name}-{next(_numbers)}",
            **values,
        )

    def post(self, account: int | None = None, **values: object) -> int:
        """A post: of somebody elsewhere, if nobody is named."""
        account = self.they if account is None else account
        is_ours = account == self.me
        uri = None if is_ours else f"https://far.example/posts/{next(_numbers)}"
        return self.instance.insert("statuses", account_id=account, local=is_ours, uri=uri, **values)

    def media(self, post: int | None, account: int | None = None, *, size: int = 100, **values: object) -> int:
        """A cached picture of a post, of so many bytes; its two files are there."""
        name = f"{next(_numbers):016x}.png"
        new = self.instance.insert(
            "media_attachments", status_id=post, account_id=self.they if account is None else account, type=0, processing=2,
            file_file_name=name, file_content_type="image/png", file_file_size=size - 10, file_storage_schema_version=1,
            file_updated_at="2026-01-01", **{"remote_url": f"https://far.example/{name}", **values},
        )  # fmt: skip
        home = partitioned("cache/media_attachments/files", new)
        self.instance.media.write(f"{home}/original/{name}", bytes(size - 10))
        self.instance.media.write(f"{home}/small/{name}", bytes(10))
        return new

    def picture(self, account: int, attachment: str = "avatar", size: int = 100) -> None:
        """The avatar or header of an account elsewhere."""
        name = f"{next(_numbers):016x}.png"
        self.instance.db.execute(
            sql.SQL(
                "UPDATE accounts SET {0}_file_name = %s, {0}_content_type = 'image/png', {0}_file_size = %s, "
                "{0}_updated_at = '2026-01-01', {0}_storage_schema_version = 1, {0}_remote_url = 'https://far.example/a' "
                "WHERE id = %s"
            ).format(sql.SQL(attachment)),
            [name, size, account],
        )
        home = partitioned(f"cache/accounts/{attachment}s", account)
        self.instance.media.write(f"{home}/original/{name}", bytes(size))

    def insert(self, table: str, **values: object) -> int:
        return self.instance.insert(table, **values)


def partitioned(prefix: str, number: int) -> str:
    digits = f"{number:018d}"
    return "/".join([prefix, *(digits[i : i + 3] for i in range(0, 18, 3))])


def _reply(town: Town, post: int, at: str) -> None:
    town.post(town.me, in_reply_to_id=post, created_at=at)


def _quote(town: Town, post: int, at: str) -> None:
    town.insert(
        "quotes", account_id=town.me, status_id=town.post(town.me), quoted_status_id=post, state=1, created_at=at
    )


def _earlier_quote(town: Town, post: int, at: str) -> None:
    quote = town.insert(
        "quotes", account_id=town.they, status_id=town.post(), quoted_status_id=post, state=3, created_at=at
    )
    town.insert("status_edits", status_id=town.post(town.me), account_id=town.they, quote_id=quote, created_at=at)


def _quotes_us(town: Town, post: int, at: str) -> None:
    ours = town.post(town.me)
    town.instance.db.execute("DELETE FROM quotes WHERE status_id = %s", [post])
    town.insert(
        "quotes", account_id=town.they, status_id=post, quoted_status_id=ours, quoted_account_id=town.me, created_at=at
    )


def _vote(town: Town, post: int, at: str) -> None:
    poll = town.insert("polls", account_id=town.they, status_id=post)
    town.insert("poll_votes", account_id=town.me, poll_id=poll, created_at=at)


def _notified(of: str) -> Callable[[Town, int, str], None]:
    def notify(town: Town, post: int, at: str) -> None:
        match of:
            case "Status":
                activity = post
            case "Mention":
                activity = town.insert("mentions", account_id=town.friend, status_id=post)
            case "Poll":
                activity = town.insert("polls", account_id=town.they, status_id=post)
            case "Favourite":
                activity = town.insert("favourites", account_id=town.friend, status_id=post)
            case _:
                there = town.instance.db.execute("SELECT id FROM quotes WHERE status_id = %s", [post]).fetchone()
                activity = (
                    there["id"] if there else town.insert("quotes", account_id=town.they, status_id=post, state=1)
                )
        town.insert(
            "notifications", activity_id=activity, activity_type=of, account_id=town.me, from_account_id=town.friend,
            created_at=at,
        )  # fmt: skip

    return notify


def _conversation(town: Town, post: int, at: str, **values: object) -> None:
    conversation = town.insert("conversations")
    town.insert("account_conversations", account_id=town.me, conversation_id=conversation, **values)


def _muted(town: Town, post: int, at: str) -> None:
    conversation = town.insert("conversations")
    town.instance.db.execute("UPDATE statuses SET conversation_id = %s WHERE id = %s", [conversation, post])
    town.insert("conversation_mutes", account_id=town.me, conversation_id=conversation)


def _thread(town: Town, post: int, at: str) -> None:
    conversation = town.insert("conversations")
    town.instance.db.execute("UPDATE statuses SET conversation_id = %s WHERE id = %s", [conversation, post])
    town.post(town.me, conversation_id=conversation, created_at=at)


def _parent(town: Town, post: int, at: str) -> None:
    conversation = town.insert("conversations", parent_status_id=post)
    town.post(town.me, conversation_id=conversation, created_at=at)


def _tag(town: Town, post: int, at: str) -> None:
    tag = town.insert("tags", name=f"tag{next(_numbers)}")
    town.instance.db.execute("INSERT INTO statuses_tags (status_id, tag_id) VALUES (%s, %s)", [post, tag])
    town.insert("tag_follows", tag_id=tag, account_id=town.me)


def _collected(town: Town, post: int, at: str) -> None:
    town.insert(
        "tagged_objects", status_id=post, ap_type="Collection", object_type="Collection", object_id=1, created_at=at
    )


@dataclass(frozen=True, slots=True)
class Touch:
    """Something done to a post: the relationship it makes, and the table (or its column) without which it cannot be."""

    relationship: str
    do: Callable[[Town, int, str], Any]
    table: str
    column: str = "id"
    has_time: bool = True


def _row(table: str, relationship: str, **columns: Callable[[Town, int], object]) -> Touch:
    def do(town: Town, post: int, at: str) -> None:
        town.insert(table, **{name: value(town, post) for name, value in columns.items()}, created_at=at, updated_at=at)

    return Touch(relationship, do, table)


def _me(town: Town, _: int) -> int:
    return town.me


def _it(_: Town, post: int) -> int:
    return post


#: Every place of §8.3 that names a post, the further ones too.
TOUCHES: dict[str, Touch] = {
    "favourite": _row("favourites", "favourited", account_id=_me, status_id=_it),
    "bookmark": _row("bookmarks", "bookmarked", account_id=_me, status_id=_it),
    "boost": Touch("boosted", lambda t, p, at: t.post(t.me, reblog_of_id=p, created_at=at), "statuses"),
    "reply": Touch("answered", _reply, "statuses"),
    "quote": Touch("quoted", _quote, "quotes"),
    "earlier quote": Touch("quoted", _earlier_quote, "status_edits", "quote_id"),
    "quotes us": Touch("quotes_us", _quotes_us, "quotes"),
    "vote": Touch("voted", _vote, "poll_votes"),
    "mention": _row("mentions", "mentioned", account_id=_me, status_id=_it),
    "silent mention": _row("mentions", "mentioned", account_id=_me, status_id=_it, silent=lambda *_: True),
    "pin": _row("status_pins", "pinned", account_id=_me, status_id=_it),
    "report": _row(
        "reports", "reported", account_id=lambda t, _: t.they, target_account_id=lambda t, _: t.they,
        status_ids=lambda _, p: [1, p],
    ),
    "warning": _row(
        "account_warnings", "warned", account_id=_me, target_account_id=lambda t, _: t.they, text=lambda *_: "",
        status_ids=lambda _, p: ["x", str(p)],
    ),
    "filter": Touch(
        "filtered",
        lambda t, p, at: t.insert(
            "custom_filter_statuses", status_id=p, created_at=at,
            custom_filter_id=t.insert("custom_filters", account_id=t.me),
        ),
        "custom_filter_statuses",
    ),
    "conversation": Touch(
        "conversation", lambda t, p, at: _conversation(t, p, at, status_ids=[7, p]), "account_conversations", has_time=False
    ),
    "last of a conversation": Touch(
        "conversation", lambda t, p, at: _conversation(t, p, at, last_status_id=p), "account_conversations", has_time=False
    ),
    "notified": Touch("notified", _notified("Status"), "notifications"),
    "notified of a mention": Touch("notified", _notified("Mention"), "notifications"),
    "notified of a poll": Touch("notified", _notified("Poll"), "notifications"),
    "notified of a favourite": Touch("notified", _notified("Favourite"), "notifications"),
    "notified of a quote": Touch("notified", _notified("Quote"), "quotes"),
    "filtered notification": Touch(
        "notified",
        lambda t, p, at: t.insert(
            "notification_requests", account_id=t.me, from_account_id=t.account(), last_status_id=p, updated_at=at
        ),
        "notification_requests",
    ),
    "collection": Touch("collected", _collected, "tagged_objects"),
    "announcement": _row("announcements", "announced", status_ids=lambda _, p: [p], text=lambda *_: ""),
    "scheduled reply": Touch(
        "scheduled",
        lambda t, p, at: t.insert("scheduled_statuses", account_id=t.me, scheduled_at=at, params=Jsonb({"in_reply_to_id": p})),
        "scheduled_statuses",
    ),
    "scheduled quote": Touch(
        "scheduled",
        lambda t, p, at: t.insert(
            "scheduled_statuses", account_id=t.me, scheduled_at=at, params=Jsonb({"quoted_status_id": str(p)})
        ),
        "quotes",
    ),
    "muted thread": Touch("muted_thread", _muted, "conversation_mutes", has_time=False),
    "moderated": _row(
        "admin_action_logs", "acted_upon", account_id=_me, action=lambda *_: "update", target_type=lambda *_: "Status",
        target_id=_it,
    ),
    "followed tag": Touch("followed_tag", _tag, "tag_follows", has_time=False),
    "parent": Touch("parent", _parent, "conversations", "parent_status_id"),
    "thread": Touch("thread", _thread, "statuses"),
    "trend": Touch(
        "trending", lambda t, p, at: t.insert("status_trends", status_id=p, account_id=t.they), "status_trends", has_time=False
    ),
}  # fmt: skip


def possible(town: Town) -> dict[str, Touch]:
    """Those this version of Mastodon knows."""
    return {name: touch for name, touch in TOUCHES.items() if town.has(touch.table, touch.column)}


def _listed(town: Town, account: int, at: str) -> None:
    town.insert("list_accounts", list_id=town.insert("lists", account_id=town.me), account_id=account)


def _shown(town: Town, account: int, at: str) -> None:
    collection = town.insert(
        "collections", account_id=town.me, discoverable=True, local=True, name="c", sensitive=False
    )
    town.insert("collection_items", account_id=account, collection_id=collection, state=1, created_at=at)


def _to(table: str, relationship: str, **columns: object) -> Touch:
    def do(town: Town, account: int, at: str) -> None:
        taken = town.instance.db.execute(
            sql.SQL("SELECT 1 FROM {} WHERE account_id = %s AND target_account_id = %s").format(sql.Identifier(table)),
            [town.me, account],
        ).fetchone()
        if not taken:
            town.insert(table, account_id=town.me, target_account_id=account, created_at=at, **columns)

    return Touch(relationship, do, table)


def _update(column: str, of_me: bool) -> Callable[[Town, int, str], None]:
    def do(town: Town, account: int, at: str) -> None:
        value, where = (account, town.me) if of_me else (at, account)
        town.instance.db.execute(
            sql.SQL("UPDATE accounts SET {} = %s WHERE id = %s").format(sql.Identifier(column)), [value, where]
        )

    return do


#: What people here can have to do with an account elsewhere.
PEOPLE: dict[str, Touch] = {
    "follow": _to("follows", "followed"),
    "follower": Touch(
        "follower", lambda t, a, at: t.insert("follows", account_id=a, target_account_id=t.me, created_at=at), "follows"
    ),
    "request": _to("follow_requests", "requested"),
    "asked": Touch(
        "requested",
        lambda t, a, at: t.insert("follow_requests", account_id=a, target_account_id=t.me, created_at=at),
        "follow_requests",
    ),
    "list": Touch("listed", _listed, "lists", has_time=False),
    "note": _to("account_notes", "noted", comment=""),
    "pin": _to("account_pins", "featured"),
    "collection": Touch("featured", _shown, "collection_items"),
    "mute": _to("mutes", "muted"),
    "block": _to("blocks", "blocked"),
    "conversation": Touch(
        "conversation", lambda t, a, at: _conversation(t, a, at, participant_account_ids=[a]), "account_conversations",
        has_time=False,
    ),
    "mention": Touch(
        "mentioned", lambda t, a, at: t.insert("mentions", account_id=a, status_id=t.post(t.me), created_at=at), "mentions"
    ),
    "report": Touch(
        "reported", lambda t, a, at: t.insert("reports", account_id=t.me, target_account_id=a, created_at=at), "reports"
    ),
    "moderator's note": Touch(
        "moderated",
        lambda t, a, at: t.insert(
            "account_moderation_notes", account_id=t.me, target_account_id=a, content="", created_at=at
        ),
        "account_moderation_notes",
    ),
    "moderator's action": Touch(
        "moderated",
        lambda t, a, at: t.insert(
            "admin_action_logs", account_id=t.me, action="x", target_type="Account", target_id=a, created_at=at
        ),
        "admin_action_logs",
    ),
    "moved": Touch("moved", _update("moved_to_account_id", True), "accounts", has_time=False),
    "suspended": Touch("suspended", _update("suspended_at", False), "accounts"),
    "favourite": Touch(
        "author", lambda t, a, at: t.insert("favourites", account_id=t.me, status_id=t.post(a), created_at=at), "favourites"
    ),
    "bookmark": Touch(
        "author", lambda t, a, at: t.insert("bookmarks", account_id=t.me, status_id=t.post(a), created_at=at), "bookmarks"
    ),
    "boost": Touch("author", lambda t, a, at: t.post(t.me, reblog_of_id=t.post(a), created_at=at), "statuses"),
    "reply": Touch("author", lambda t, a, at: t.post(t.me, in_reply_to_account_id=a, created_at=at), "statuses"),
    "noticed": Touch(
        "noticed",
        lambda t, a, at: t.insert(
            "notifications", activity_id=1, activity_type="Follow", account_id=t.me, from_account_id=a, created_at=at
        ),
        "notifications",
    ),
}  # fmt: skip
