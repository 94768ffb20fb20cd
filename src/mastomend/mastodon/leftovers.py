"""Names in a media storage that are no record's: Mastodon's folders, and what Mastomend was writing when it was killed. Pure.

As patterns in a form that Python and DuckDB's RE2 read alike; what no pattern here or in `keys` knows is somebody else's.
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
    """Names of the folders on the way to such keys, with a slash behind them or without."""
    classes = "|".join(sorted({kind.name.split("/")[0] for kind in kinds}))
    names = "|".join(sorted({kind.name.split("/")[1] for kind in kinds}))
    styles = "|".join(sorted({ORIGINAL, *(re.escape(d.style) for kind in kinds for d in kind.derived)}))
    on_the_way = f"({CACHE})?({classes})(/({names})((/[0-9]{{3}}){{0,6}}(/({styles}))?)?)?|{CACHE.rstrip('/')}"
    return f"(?s)^{re.escape(below(key_prefix))}({on_the_way})/?$"


def _forms(kinds: Sequence[Kind]) -> list[str]:
    """Each kind's folder with its styles, as patterns."""
    found = []
    for kind in kinds:
        styles = "|".join(sorted({ORIGINAL, *(re.escape(d.style) for d in kind.derived)}))
        cache = "" if kind.remote is RemoteRule.NEVER else f"({CACHE})?"
        found.append(f"{cache}{kind.name}(/[0-9]{{3}}){{2,6}}/({styles})/[^/]+")
    return found
