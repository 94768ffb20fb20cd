"""Names in a media storage that are no record's: Mastodon's folders, and what Mastomend was writing when it was killed. Pure.

As patterns for DuckDB's RE2, and through `to_the_end` for Python; what no pattern here or in `keys` knows is somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mastomend.mastodon.keys import CACHE, ORIGINAL, below
from mastomend.mastodon.kinds import Kind, RemoteRule

#: How Mastomend names a file while it writes it (`storage.durable`).
TEMPORARY = r"(^|/)\.[0-9a-f]{40}\.mastomend-tmp$"


def keys_of(kinds: Sequence[Kind], key_prefix: str) -> str:
    """Keys Mastodon could have made."""
    return f"(?s)^{re.escape(below(key_prefix))}({'|'.join(_forms(kinds))})$"


def folders_of(kinds: Sequence[Kind], key_prefix: str) -> str:
    """Names of folders on the way to such keys, from the kind's own on, with a slash behind them or without. What is further up
    (`cache`, `backups`) may be anybody's.
    """
    names = "|".join(sorted(kind.name for kind in kinds))
    styles = "|".join(sorted({ORIGINAL, *(re.escape(d.style) for kind in kinds for d in kind.derived)}))
    return f"(?s)^{re.escape(below(key_prefix))}({CACHE})?({names})((/[0-9]{{3}}){{0,6}}(/({styles}))?)?/?$"


def to_the_end(pattern: str) -> str:
    """The pattern for Python, whose `$` would let a line break follow; RE2's does not."""
    return pattern.removesuffix("$") + r"\Z"


def _forms(kinds: Sequence[Kind]) -> list[str]:
    """Each kind's folder with its styles, as patterns."""
    found = []
    for kind in kinds:
        styles = "|".join(sorted({ORIGINAL, *(re.escape(d.style) for d in kind.derived)}))
        cache = "" if kind.remote is RemoteRule.NEVER else f"({CACHE})?"
        found.append(f"{cache}{kind.name}(/[0-9]{{3}}){{2,6}}/({styles})/[^/]+")
    return found
