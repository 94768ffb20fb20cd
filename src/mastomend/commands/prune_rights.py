"""What a pruning takes of whoever runs it: to read who cares for what, to empty rows, to delete files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from mastomend.commands.instance import Instance
from mastomend.commands.restoration import and_unwritable, said_barred, unwritable
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import barred_from
from mastomend.errors import DatabaseError, StorageError
from mastomend.inventory import cached
from mastomend.inventory.cached import UNITS
from mastomend.mastodon.clearing import emptied
from mastomend.mastodon.kinds import Kind
from mastomend.progress import Progress
from mastomend.storage.build import build
from mastomend.storage.ports import Store


def emptied_columns(units: Sequence[str] = tuple(UNITS)) -> list[tuple[str, str]]:
    """The columns (table, column) a pruning of those units empties."""
    return [(kind.table, column) for unit in units for kind in UNITS[unit] for column in emptied(kind)]


def refuse_blind(instance: Instance, units: Sequence[str], progress: Progress, *, apply: bool) -> bool:
    """Before a scan that takes its time: may this user read who cares? Whether it may not change what is emptied, which with
    `apply` is an error.

    Raises:
        DatabaseError: it may not.
    """
    with MastodonDatabase(instance.configuration.database, "mastomend prune") as database:
        cached.require(database, units)
        if (barred := barred_from(database, emptied_columns(units))) is not None:
            if apply:
                with closing(build(instance.configuration.storage)) as store:
                    said = unwritable(store, [kind for unit in units for kind in UNITS[unit]], instance.key_prefix)
                raise and_unwritable(barred, said)
            said_barred(barred, progress)
    return barred is not None


def refuse_unwritable(store: Store, kinds: Sequence[Kind], key_prefix: str, progress: Progress, *, apply: bool) -> bool:
    """Rows would be emptied whose files would stay. Whether a dry run has to be told so.

    Raises:
        StorageError: so it is, with `apply`.
    """
    said = unwritable(store, kinds, key_prefix)
    if said:
        if apply:
            raise StorageError(f"{said}: nothing could be deleted there.", hint="Run the same command as that user.")
        progress.note(f"With --apply this stops: {said}.")
    return bool(said)


def cannot(instance: Instance) -> str:
    """Why this user could not let anything go; '' if it could."""
    try:
        with MastodonDatabase(instance.configuration.database, "mastomend guard") as database:
            cached.require(database, tuple(UNITS))
            barred = barred_from(database, emptied_columns())
    except DatabaseError as error:
        return error.message
    if barred is not None:
        return barred.message
    with closing(build(instance.configuration.storage)) as store:
        return unwritable(store, [kind for parts in UNITS.values() for kind in parts], instance.key_prefix)
