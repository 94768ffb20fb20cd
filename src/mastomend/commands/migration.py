"""A move from one storage to another: which two they are, what is remembered of it between the steps, and the comparison every
step begins with.

Mastodon's settings name one of them, `--to` the other. Until they are switched the instance's own storage is where the files
come from; afterwards it is the target, and where they came from is what was written down then (a directory), or named with
`--from` (a bucket, whose keys are never written down).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mastomend.commands.instance import Instance, storage_variables
from mastomend.commands.losses import losses, sampled
from mastomend.commands.moves import no_room, remembered
from mastomend.commands.nothing import refuse_nothing
from mastomend.commands.past import kept_ledger
from mastomend.commands.places import resolved, same_place
from mastomend.commands.scanning import Look, Scan, scanning
from mastomend.errors import ConfigurationError
from mastomend.inventory import crossing, known
from mastomend.inventory.held import is_few
from mastomend.inventory.weigh import weigh
from mastomend.mastodon.selection import EVERYTHING
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage, storage
from mastomend.plans.migrate import is_of_storage, nested
from mastomend.progress import Progress
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store

_NAMES_STORAGE = {"S3_ENABLED", "AZURE_ENABLED", "SWIFT_ENABLED", "PAPERCLIP_ROOT_PATH"}


@dataclass(frozen=True, slots=True)
class Named:
    """A storage somebody named: itself, its variables, and the file or directory that names it."""

    storage: Storage
    variables: dict[str, str]
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a move. `is_switched`: Mastodon's settings name the target already."""

    source: Storage
    target: Named
    is_switched: bool


def named(path: Path | Named) -> Named:
    """The storage of that name: a directory, or a file in Mastodon's grammar; or one that is known already.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(path, Named):
        return path
    if path.is_dir():
        root = str(path.absolute())
        return Named(FilesystemStorage(root), {"PAPERCLIP_ROOT_PATH": root}, path)
    if not path.exists() and not path.suffix:
        raise ConfigurationError(
            f"{path} does not exist.",
            hint=f"A directory must be there: mkdir {path}. A file holds Mastodon's variables.",
        )
    variables = dict(storage_variables(path))
    if not variables.keys() & _NAMES_STORAGE:
        raise ConfigurationError(
            f"{path} names no storage: neither S3_ENABLED nor AZURE_ENABLED nor PAPERCLIP_ROOT_PATH is in it.",
            hint="Write into it what shall be in .env.production: S3_ENABLED=true, S3_BUCKET=…, S3_ENDPOINT=…, the keys.",
        )
    found = storage(variables, str(path.parent.absolute()))
    if isinstance(found, FilesystemStorage) and "PAPERCLIP_ROOT_PATH" not in variables:
        raise ConfigurationError(
            f"{path} names no storage: S3_ENABLED, or AZURE_ENABLED, must be exactly true.",
            hint="Write S3_ENABLED=true.",
        )
    return Named(found, {name: value for name, value in variables.items() if is_of_storage(name)}, path)


def ends(instance: Instance, to: Path | Named, origin: Path | Named | None) -> Ends:
    """Both ends, as the settings stand now.

    Raises:
        ConfigurationError: they are one storage, or nobody knows where the files came from.
    """
    target = named(to)
    now = instance.configuration.storage
    if not same_place(now, target.storage):
        source = now if origin is None else named(origin).storage
        if not same_place(source, now):
            raise ConfigurationError(
                f"Mastodon's media are in {now}, which is neither --from nor --to.", hint="Leave --from out."
            )
        if nested(resolved(source), resolved(target.storage)):
            raise ConfigurationError(
                f"{target.storage} and {source} lie one in the other.", hint="Name a place of its own with --to."
            )
        return Ends(source, target, is_switched=False)
    if origin is not None:
        source = named(origin).storage
        if nested(resolved(source), resolved(target.storage)):
            raise ConfigurationError(
                f"{source} and {target.storage} are one.", hint="--from is where the media were before."
            )
        return Ends(source, target, is_switched=True)
    root = remembered(instance, target.storage)
    if root is None:
        raise ConfigurationError(
            f"Mastodon uses {target.storage} already, and where its media were before is not known.",
            hint="Name it: --from DIRECTORY, or --from FILE with the old variables.",
        )
    return Ends(FilesystemStorage(root), target, is_switched=True)


def at(instance: Instance, place: Storage) -> Instance:
    """The same instance, as if its media were there."""
    return replace(instance, configuration=replace(instance.configuration, storage=place))


def shown_by(instance: Instance, both: Ends) -> tuple[Instance, dict[str, str]]:
    """The instance and the variables as they are, or will be, when its media are in the target: what public addresses need."""
    stays = ("PAPERCLIP_ROOT_URL",) if isinstance(both.target.storage, FilesystemStorage) else ()
    kept = {name: value for name, value in instance.variables.items() if name in stays or not is_of_storage(name)}
    return at(instance, both.target.storage), kept | both.target.variables


@dataclass(slots=True)
class Compared:
    """Both storages compared, for as long as the block lasts. `stops` say why the numbers look like an unmounted disk.

    `only_missing`: what the target holds with another size is not to be written over, and does not count as to be copied.
    """

    scan: Scan
    source: Store
    target: Store
    sides: dict[str, crossing.Sides]
    stops: list[str]
    only_missing: bool = False

    @property
    def all(self) -> crossing.Sides:
        """The kinds together."""
        return sum(self.sides.values(), crossing.Sides())


@contextmanager
def compared(
    instance: Instance,
    source: Storage,
    target: Storage,
    look: Look,
    max_missing: float | None,
    progress: Progress,
    clocks: tuple[Callable[[float], None], Callable[[], datetime]],
    *,
    only_missing: bool = False,
) -> Iterator[Compared]:
    """What records expect, and what of it the one storage holds and the other does.

    Raises:
        ConfigurationError, DatabaseError, StorageError: it cannot be compared.
    """
    with ExitStack() as stack:
        there = build_store(target)
        stack.callback(there.close)
        there.probe()
        made = stack.enter_context(scanning(at(instance, source), look, progress, *clocks))
        refuse_nothing(made.inventory.records, look.selection, look.kinds, look.but_kinds)
        tables = [replace(table, key_prefix=target.key_prefix) for table in made.inventory.expected]
        few = look.selection != EVERYTHING and is_few(tables, made.database.estimated_rows)
        weigh(tables, there, made.inventory.work, progress, look.connections, into=crossing.ARRIVED, few=few)
        with kept_ledger(instance) as ledger:
            known.join_ledger(made.inventory, () if ledger is None else ledger.tables())
        percent = instance.settings.max_missing_percent if max_missing is None else max_missing
        prefix, holds = source.key_prefix, made.holds_anything
        stops = losses(made.inventory, made.store, str(source), prefix, percent, holds_anything=holds)
        if not stops and look.selection != EVERYTHING:  # what is left out tells of a wrong disk, too
            stops = sampled(made.database, made.store, made.chosen, prefix, percent)
        crossing.name(made.inventory.work, made.inventory.expected)
        sides = crossing.sides(made.inventory.work, only_missing=only_missing)
        yield Compared(made, made.store, there, sides, stops + no_room(target, sides), only_missing)
