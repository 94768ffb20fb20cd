"""Objects nobody expects, each with why: what a listing of everything leaves when the expected keys are taken out.

What is Mastomend's own (the quarantine) is none. The others are told apart by their keys and by which records live: whoever
acts on them asks again, row and object, right before. What is not understood is *unrecognized*, never an orphan; so are the
keys of kinds that were not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mastomend.inventory.expected import Expected
from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.keys import CACHE, ORIGINAL, below
from mastomend.mastodon.kinds import Kind, RemoteRule
from mastomend.vocabulary import Stray

#: Where Mastomend keeps its own, and how what it was writing is named (`storage.durable`, `actions.actions`).
OURS = ".mastomend/"
_TEMPORARY = r"(^|/)\.[0-9a-f]{40}\.mastomend-tmp$"


def create(work: Workspace) -> None:
    """The relations `objects` (key, size, modified: all there is) and `stray` (the same, and `why`)."""
    columns = "key VARCHAR, size BIGINT, modified BIGINT"
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS objects ({columns})")
    work.connection.execute(f"CREATE TABLE IF NOT EXISTS stray ({columns}, why VARCHAR)")


def sort_out(work: Workspace, tables: Sequence[Expected], key_prefix: str) -> None:
    """Fill `stray` from `objects`. An object a listing gave twice is one."""
    if work.did("sorted out"):
        return
    kinds = [kind for table in tables for kind in table.kinds]
    expected = " UNION ALL ".join(f"SELECT key FROM ({table.files()})" for table in tables)
    living = " UNION ALL ".join(
        f"SELECT {_home('key', key_prefix)} AS home FROM ({table.files()}) WHERE contains(key, '/{ORIGINAL}/')"
        for table in tables
    )
    with work.step("sorted out") as connection:
        connection.execute(
            f"""
            INSERT INTO stray
            WITH left_over AS (
                SELECT DISTINCT ON (key) key, size, modified FROM objects
                ANTI JOIN ({expected}) e USING (key) WHERE NOT starts_with(key, {quote(below(key_prefix) + OURS)})
            ),
            living AS (SELECT DISTINCT home FROM ({living}))
            SELECT key, size, modified, CASE
                WHEN regexp_matches(key, {quote(_TEMPORARY)}) THEN {quote(Stray.TEMPORARY)}
                WHEN size = 0 AND regexp_matches(key, {quote(_folder(kinds, key_prefix))}) THEN {quote(Stray.DIRECTORY_MARKER)}
                WHEN NOT regexp_matches(key, {quote(_ours(kinds, key_prefix))}) THEN {quote(Stray.UNRECOGNIZED)}
                WHEN living.home IS NOT NULL THEN {quote(Stray.STALE_DUPLICATE)}
                ELSE {quote(Stray.ORPHAN)} END AS why
            FROM left_over LEFT JOIN living ON living.home = {_home("key", key_prefix)}
            """
        )


def _home(key: str, key_prefix: str) -> str:
    """A record's directory, whether below `cache/` or not: kind and partition of the id."""
    before = re.escape(below(key_prefix)) + f"({CACHE})?"
    return f"regexp_extract({key}, {quote(f'(?s)^{before}(.*)/[^/]+/[^/]+$')}, 2)"


def _forms(kinds: Sequence[Kind]) -> list[str]:
    """Each kind's folder with its styles, as patterns."""
    found = []
    for kind in kinds:
        styles = "|".join(sorted({ORIGINAL, *(re.escape(d.style) for d in kind.derived)}))
        cache = "" if kind.remote is RemoteRule.NEVER else f"({CACHE})?"
        found.append(f"{cache}{kind.name}(/[0-9]{{3}}){{2,6}}/({styles})/[^/]+")
    return found


def _ours(kinds: Sequence[Kind], key_prefix: str) -> str:
    """Keys Mastodon could have made."""
    return f"(?s)^{re.escape(below(key_prefix))}({'|'.join(_forms(kinds))})$"


def _folder(kinds: Sequence[Kind], key_prefix: str) -> str:
    """Names of folders on the way to such keys, with a slash behind them or without; and anything that ends in a slash."""
    classes = "|".join(sorted({kind.name.split("/")[0] for kind in kinds}))
    on_the_way = f"({CACHE})?(({classes})(/[a-z_]+((/[0-9]{{3}}){{0,6}}(/[^/]+)?)?)?)?"
    return f"(?s)^{re.escape(below(key_prefix))}{on_the_way.rstrip()}/?$|/$"
