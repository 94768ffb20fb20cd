"""Where this instance's state directory is: one for root and for Mastodon's user, as what one of them did the other must know.

Otherwise a command pasted into the other's shell would find nothing of it, ask strangers again, and could take nothing back.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mastomend.actions.journal_file import journal_path
from mastomend.state_files import to_be_handed_over

#: Where services keep their state.
SHARED = Path("/var/lib/mastomend")


def default_state(domain: str, process: Mapping[str, str], owners: Sequence[int]) -> Path:
    """`/var/lib/mastomend/DOMAIN` where this user may write it, else below `$XDG_STATE_HOME` or `~/.local/state`. root takes
    that of Mastodon's user, one of `owners`, where only that one was used.
    """
    folder = "".join(c if c.isalnum() or c in ".-" else "_" for c in domain.lower()).strip(".") or "instance"
    if chosen := process.get("XDG_STATE_HOME"):
        return Path(chosen) / "mastomend" / folder
    shared, is_root = SHARED / folder, os.geteuid() == 0
    may_share = is_root or os.access(shared, os.W_OK) or (not shared.exists() and os.access(SHARED, os.W_OK))
    own = [Path.home() / ".local/state/mastomend" / folder] if not is_root else list(homes(owners, folder))
    used = next((home for home in own if is_used(home)), None)  # it is gone on with, whatever somebody has made since
    if used is not None and not (may_share and is_used(shared)):
        return used
    return shared if may_share else own[0]


def homes(users: Sequence[int], folder: str) -> Iterator[Path]:
    """Where those users keep the state of an instance when they may not write the shared one."""
    for user in users:
        with contextlib.suppress(KeyError):  # a number without a name, as in a container
            yield Path(pwd.getpwuid(user).pw_dir) / ".local/state/mastomend" / folder


def is_used(state: Path) -> bool:
    """Whether anything was ever checked or changed with that state directory, as far as this user may know."""
    try:
        return journal_path(state).exists() or (state / "scans").exists()
    except OSError:  # it is closed to this user
        return False


def owners_of(paths: Sequence[Path]) -> list[int]:
    """Whom those belong to, as far as they are there; nobody twice, and not root."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append(path.stat().st_uid)
    return [user for user in dict.fromkeys(found) if user]


def share(state: Path, owners: Sequence[int]) -> None:
    """When this command ends, what root has written into the state directory belongs to whoever it belongs to, or else to the
    first of `owners`: they must be able to go on with it.
    """
    if os.geteuid() == 0:
        to_be_handed_over(state, owners[0] if owners else 0, SHARED)
