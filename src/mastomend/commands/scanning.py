"""One scan of an instance, as every command begins it: gone on with or new, the database, the storage, what is to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mastomend.actions.quarantine import QUARANTINE_FOLDER
from mastomend.commands.costs import Cost, announced
from mastomend.commands.instance import Instance, refuse_ignored_prefix
from mastomend.commands.names import refuse_unknown
from mastomend.commands.nothing import NothingSelectedError
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of
from mastomend.errors import ConfigurationError, SafetyStop
from mastomend.images.ffmpeg_paths import find_ffprobe
from mastomend.inventory.sample import Sample
from mastomend.inventory.scan import Inventory, Scanned, Want, Watch, scan
from mastomend.inventory.taking_up import Begun, Terms, take_up
from mastomend.inventory.workspace import discard, workspace
from mastomend.mastodon.keys import CACHE, below
from mastomend.mastodon.kinds import Kind, choose_kinds
from mastomend.mastodon.rows_sql import must_see
from mastomend.mastodon.selection import EVERYTHING, Selection, may_match
from mastomend.progress import Progress
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Mounts, Store


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at, by which command. `kinds` empty means all; `everything`, `described`, `weighed` as in `Want`.

    `resume` allows to go on with a scan of that command that was cut off.
    """

    command: str
    kinds: tuple[str, ...] = ()
    but_kinds: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    deep: Sample | None = None
    listing: tuple[Path, ...] = ()
    connections: int = 32
    everything: bool = False
    described: bool = False
    weighed: bool = False
    resume: bool = True

    @property
    def part(self) -> str:
        """What is looked at in words, if it is not everything."""
        kinds = [*self.kinds, *(f"not {kind}" for kind in self.but_kinds)]
        some = [", ".join(kinds)] if kinds else []
        return "; ".join([*some, str(self.selection)] if self.selection != EVERYTHING else some)


@dataclass(slots=True)
class Scan:
    """A scan that is made: `inventory` lives as long as the block. `available` are all kinds this version has, `chosen` those
    that were looked at; `cost` is what the bucket was expected to be asked.
    """

    begun: Begun
    database: MastodonDatabase
    store: Store
    available: tuple[Kind, ...]
    chosen: tuple[Kind, ...]
    holds_anything: bool
    folder: Path
    cost: Cost | None = None
    inventory: Inventory = field(init=False)


@contextmanager
def scanning(
    instance: Instance,
    look: Look,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Scan]:
    """Take the inventory.

    Raises:
        ConfigurationError, DatabaseError, StorageError: it cannot be taken; what was seen so far is gone on with next time.
    """
    begun = _begin(instance, look, progress, now())
    try:
        with _scanning(instance, look, begun, progress, sleep) as made:
            yield made
    except NothingSelectedError:
        discard(instance.state / "scans" / begun.scan)  # whoever looks again looks anew
        raise


@contextmanager
def _scanning(
    instance: Instance, look: Look, begun: Begun, progress: Progress, sleep: Callable[[float], None]
) -> Iterator[Scan]:
    storage, settings = instance.configuration.storage, instance.settings
    with ExitStack() as stack:
        database = stack.enter_context(_database(instance, look, begun, progress))
        if database.version.note:
            progress.note(f"The database's schema is {database.version.note}")
        store = build_store(storage)
        stack.callback(store.close)
        holds_anything = store.probe()
        available = kinds_of(database)
        chosen = choose_kinds(look.kinds, available, but=look.but_kinds)
        chosen = tuple(kind for kind in chosen if may_match(kind, look.selection))
        if not chosen:
            raise ConfigurationError(
                "That leaves no kind to look at.",
                hint="All that is given must be met, and a post has no avatar, an emoji no account: leave something out.",
            )
        database.require(must_see(chosen, look.selection, described=look.described))
        refuse_unknown(database, look.selection)
        refuse_ignored_prefix(instance, database.version)
        if look.everything and isinstance(store, Mounts):
            _refuse_twins(store, available, instance.key_prefix)
            if "may not be entered" in (why := store.obstacle(f"{below(instance.key_prefix)}{QUARANTINE_FOLDER}")):
                progress.note(f"{why.partition(' (')[0]}: what is in the quarantine is not counted.")
        folder = instance.state / "scans" / begun.scan
        made = Scan(begun, database, store, available, chosen, holds_anything, folder)

        def announce(requests: int) -> None:
            made.cost = announced(instance, requests, progress)

        want = Want(
            chosen,
            look.selection,
            begun.deep,
            look.listing,
            everything=look.everything,
            described=look.described,
            weighed=look.weighed,
            connections=look.connections,
            settle_s=settings.settle_s,
        )
        of = Scanned(database, store, storage, find_ffprobe(instance.variables))
        work = stack.enter_context(workspace(folder, settings.memory_bytes, begun.scope, begun.started_at))
        made.inventory = stack.enter_context(scan(of, want, work, Watch(progress, announce, sleep)))
        yield made


def _refuse_twins(store: Mounts, kinds: tuple[Kind, ...], key_prefix: str) -> None:
    """Of a file with two names one would look like nobody's, and its bytes would count twice."""
    base = below(key_prefix)
    folders = dict.fromkeys(
        f"{base}{cache}{part}"
        for cache in ("", CACHE)
        for kind in kinds
        for part in ("", kind.name.partition("/")[0], kind.name)
    )
    if (twins := store.twins([folder.rstrip("/") for folder in folders])) is not None:
        one, other = (name or "the media directory" for name in twins)
        raise SafetyStop(
            f"{one} and {other} are the same directory: every file in it has two names, and one of them would look like "
            "nobody's. Nothing was changed.",
            hint="Give each a directory of its own (links, `mount --bind`).",
        )


def _begin(instance: Instance, look: Look, progress: Progress, now: datetime) -> Begun:
    terms = Terms(
        look.command,
        (*look.kinds, *(f"-{kind}" for kind in look.but_kinds)),
        instance.configuration.storage,
        instance.configuration.database,
        look.deep,
        look.listing,
        look.selection,
    )
    begun = take_up(instance.state / "scans", terms, now, resume=look.resume)
    if begun.resumed:
        progress.note(
            f"Going on with {look.command} {begun.scan}, which was cut off; what it has seen since "
            f"{begun.started_at.astimezone():%H:%M} is not looked at again (--fresh begins anew)."
        )
    return begun


def _database(instance: Instance, look: Look, begun: Begun, progress: Progress) -> MastodonDatabase:
    return MastodonDatabase(
        instance.configuration.database,
        f"mastomend {look.command} {begun.scan}",
        replica=instance.configuration.replica,
        timeout_s=instance.settings.statement_timeout_s,
        note=progress.note,
    )
