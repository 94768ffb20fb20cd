"""Where files wait that were moved away: in the storage itself, below one folder of ours. Pure."""

from __future__ import annotations

import hashlib
import re

from mastomend.mastodon.keys import Key, below

QUARANTINE_FOLDER = ".mastomend/quarantine"


def quarantine_prefix(key_prefix: str = "") -> str:
    """Where all quarantines are, ending in a slash."""
    return f"{below(key_prefix)}{QUARANTINE_FOLDER}/"


def quarantine_key(run: str, key: str, key_prefix: str = "") -> Key:
    """Where a key waits in the quarantine of a run.

    One flat folder with the key's slashes encoded: no directory depth that a Mastodon tool could take for a key of
    its own (`tootctl media remove-orphans` on S3 deletes foreign keys of 7 or 10 segments, facts §9).
    """
    flat = key.replace("%", "%25").replace("/", "%2F")
    if len(flat.encode()) > 240:  # a disk allows 255 bytes a name
        flat = hashlib.sha256(key.encode()).hexdigest()
    return Key(f"{quarantine_prefix(key_prefix)}{run}/{flat}")


def quarantined_by(key: str, key_prefix: str = "") -> str | None:
    """The run in whose quarantine that key is; None if it is in none."""
    prefix = quarantine_prefix(key_prefix)
    run, slash, name = key.removeprefix(prefix).partition("/")
    return run if key.startswith(prefix) and slash and name else None


def waits_for(key: str, key_prefix: str = "") -> Key | None:
    """The key a file in the quarantine had; None if it is in none, or its name was too long to say."""
    name = key.rpartition("/")[2]
    if quarantined_by(key, key_prefix) is None or ("%2F" not in name and re.fullmatch("[0-9a-f]{64}", name)):
        return None
    return Key(name.replace("%2F", "/").replace("%25", "%"))
