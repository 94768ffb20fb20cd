"""Whether a scan is a new one, or one that was cut off and is gone on with.

It is gone on with by the command it belongs to, if that looks at the same things in the same way: what it saw then is not
looked at again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mastomend import __version__
from mastomend.errors import ConfigurationError
from mastomend.ids import new_id
from mastomend.inventory.sample import Sample
from mastomend.inventory.workspace import Scope, discard, unfinished
from mastomend.mastodon.database_settings import Database
from mastomend.mastodon.selection import EVERYTHING, Selection
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage


@dataclass(frozen=True, slots=True)
class Begun:
    """The scan to make. `deep` is the slice a deep check reads: that of the scan that is gone on with."""

    scan: str
    started_at: datetime
    deep: Sample | None
    scope: Scope
    resumed: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What two scans must have in common for one to go on where the other was cut off."""

    command: str
    kinds: Sequence[str]
    storage: Storage
    database: Database
    deep: Sample | None = None
    listing: Sequence[Path] = ()
    selection: Selection = EVERYTHING

    def same(self) -> dict[str, object]:
        """As it is kept with the scan. Raises ConfigurationError: a listing is not there."""
        return {
            "command": self.command,
            "kinds": sorted(self.kinds),
            "mastomend": __version__,
            "storage": identity(self.storage),
            "database": str(self.database),
            "selection": json.loads(json.dumps(self.selection.scope())),  # as it comes back from the disk
            "deep": self.deep.percent if self.deep else None,
            "listing": [[str(file.absolute()), _modified(file)] for file in self.listing],
        }


def take_up(scans: Path, terms: Terms, now: datetime, *, resume: bool) -> Begun:
    """The newest scan below that folder that was cut off on those terms, if `resume` allows it; else a new one. Older ones are
    discarded: what they saw is never newer than what is seen now.
    """
    same = terms.same()
    alike = [one for one in unfinished(scans, now) if all(one.scope.get(name) == it for name, it in same.items())]
    for older in alike[1 if resume else 0 :]:
        discard(scans / older.scan)
    if resume and alike:
        earlier = alike[0]
        seed = earlier.scope.get("seed")
        deep = replace(terms.deep, seed=seed) if terms.deep and isinstance(seed, int) else terms.deep
        return Begun(earlier.scan, earlier.started_at, deep, earlier.scope, resumed=True)
    scope = {**same, "seed": terms.deep.seed if terms.deep else None}
    return Begun(new_id(now), now, terms.deep, scope, resumed=False)


def identity(storage: Storage) -> str:
    """What tells one storage from another: all of its settings, and which directory a path leads to now."""
    if isinstance(storage, FilesystemStorage):
        with contextlib.suppress(OSError):  # it is not there: `probe` will say so
            status = Path(storage.root).stat()
            return f"{storage} {status.st_dev}:{status.st_ino}"
    return hashlib.sha256(repr(storage).encode()).hexdigest()


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", hint="Check --listing.") from None
