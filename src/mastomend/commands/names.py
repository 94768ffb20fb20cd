"""What people call records: `@user@host`, `:emoji:`, a page. Asked of the database, in batches; told without it, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_names, unknown
from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.kinds import KIND_BY_NAME, KINDS
from mastomend.mastodon.selection import Selection
from mastomend.progress import Progress, Silent

#: A name, and the address where it is seen.
Called = tuple[str, str | None]

#: How many of this server's own users' losses a summary names.
FEW = 5
#: A kind by its name; a row as a whole is named by its table, and called as any of its kinds is.
_ONE_OF = {kind.table: kind for kind in KINDS} | KIND_BY_NAME
_NEEDS = {
    "accounts": {"id", "username", "domain", "url"},
    "statuses": {"id", "url", "uri"},
    "media_attachments": {"id", "account_id", "status_id"},
    "custom_emojis": {"id", "shortcode", "domain"},
    "preview_cards": {"id", "url"},
}


@contextlib.contextmanager
def names_of(instance: Instance, progress: Progress = Silent()) -> Iterator[MastodonDatabase | None]:
    """The database, if it can be asked for names: what was found is shown without it, too."""
    with contextlib.ExitStack() as stack:
        try:
            database = stack.enter_context(MastodonDatabase(instance.configuration.database, "mastomend show"))
            database.require(_NEEDS)
        except DatabaseError as error:
            progress.note(f"Without names, by number: {error.message}")
            database = None
        yield database


def refuse_unknown(database: MastodonDatabase, selection: Selection) -> None:
    """One that was mistyped beside others would be left out without a word.

    Raises:
        ConfigurationError: an account or a post of the selection is not there.
    """
    if names := unknown(database, selection):
        raise ConfigurationError(
            f"This server does not know {' or '.join(names)}.",
            hint="Is it spelled as its profile or its address shows it?",
        )


def read(database: MastodonDatabase, records: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Called]:
    """What those records, by kind and id, are called; one that is gone is not in it."""
    ids: dict[str, list[int]] = {}
    for kind, record_id in records:
        ids.setdefault(kind, []).append(record_id)
    return {
        (kind, record_id): called
        for kind, some in ids.items()
        for record_id, called in read_names(database, _ONE_OF[kind], some).items()
    }


def who(database: MastodonDatabase, records: Sequence[tuple[str, int]]) -> list[str]:
    """The same for a few, in their order, one name each: kind and id where the database does not say."""
    try:
        database.require(_NEEDS)
        called = read(database, records)
    except DatabaseError:  # who may not see names is told numbers
        called = {}
    return [called.get((kind, record_id), (f"{kind} {record_id}", None))[0] for kind, record_id in records]
