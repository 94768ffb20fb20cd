"""Which posts from elsewhere nobody here has touched, and what goes with them: SQL for PostgreSQL. Pure.

A superset of what `tootctl statuses remove` spares (facts §8.4): it, too, leaves alone what anybody answered, what a newer
post boosts, what boosts a local post, and whose author anybody follows. Whether somebody here has touched a post is asked of
every place of `relationships` besides. Sources: facts §8.2, §8.4, §13.2a.
"""

from __future__ import annotations

from datetime import datetime

#: What is asked of the tables besides the places of `relationships`.
NEEDS = {
    "statuses": {
        "id", "uri", "local", "account_id", "in_reply_to_id", "reblog_of_id", "deleted_at", "created_at", "conversation_id",
    },
    "accounts": {"id", "domain"},
    "follows": {"target_account_id"},
    "status_pins": {"status_id"},
}  # fmt: skip


def first_id(moment: datetime) -> int:
    """The smallest id a post of that moment can have: milliseconds, then sixteen bits (facts §13)."""
    return int(moment.timestamp() * 1000) << 16


def _spared(cut_off: int) -> str:
    """Conditions on a post `s`, all of which must be met for it to go; by its time, too, as old ids are a plain sequence's."""
    return f"""
        s.id < {cut_off} AND s.created_at < to_timestamp({cut_off >> 16} / 1000.0) AT TIME ZONE 'utc'
        AND s.deleted_at IS NULL AND s.local IS NOT TRUE AND s.uri IS NOT NULL
        AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = s.account_id AND a.domain IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM statuses r WHERE r.in_reply_to_id = s.id)
        AND NOT EXISTS (SELECT 1 FROM statuses b WHERE b.reblog_of_id = s.id
                        AND (b.id >= {cut_off} OR b.local IS TRUE OR b.uri IS NULL OR b.deleted_at IS NOT NULL))
        AND NOT EXISTS (SELECT 1 FROM statuses o WHERE o.id = s.reblog_of_id AND (o.local IS TRUE OR o.uri IS NULL))
        AND NOT EXISTS (SELECT 1 FROM follows f WHERE f.target_account_id = s.account_id)
        AND NOT EXISTS (SELECT 1 FROM status_pins p WHERE p.status_id = s.id)
    """


def candidates_sql(cut_off: int) -> str:
    """Every post that may go as far as posts themselves tell: `id`."""
    return f"SELECT s.id::int8 AS id FROM statuses s WHERE {_spared(cut_off)}"


#: Every boost, and what it boosts: who boosts a post goes with it.
BOOSTS_SQL = "SELECT id::int8 AS id, reblog_of_id::int8 AS boosted FROM statuses WHERE reblog_of_id IS NOT NULL"


def still_sql(cut_off: int) -> str:
    """Those of some posts (one parameter, an array of ids) of which that is true now."""
    return f"SELECT s.id::int8 AS id FROM statuses s WHERE s.id = ANY(%s) AND {_spared(cut_off)}"


#: Some posts (one parameter) with every boost of them, boosts of boosts: `id`, `root` (that of them it goes with), `depth`.
CLOSURE_SQL = """
WITH RECURSIVE gone AS (
    SELECT id, id AS root, 0 AS depth FROM statuses WHERE id = ANY(%s)
    UNION ALL
    SELECT s.id, g.root, g.depth + 1 FROM statuses s JOIN gone g ON s.reblog_of_id = g.id
) SELECT id::int8 AS id, root::int8 AS root, depth FROM gone ORDER BY depth, id
"""

#: What refers to a table (one parameter), by which column (NULL: by several), and what becomes of it: `c` goes, too; `n` is
#: set to NULL.
REFERENCES_SQL = """
SELECT r.relname AS name, CASE WHEN array_length(c.conkey, 1) = 1 THEN a.attname END AS col, f.attname AS target,
    c.confdeltype::text AS rule
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
WHERE c.contype = 'f' AND c.confrelid = to_regclass(%s) AND c.conparentid = 0
ORDER BY r.relname, a.attname
"""
