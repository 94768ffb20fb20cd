"""What people call records: `@user@host`, `:emoji:`, a page. Asked of the database, in batches; told without it, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import read_names, read_namesakes, unknown
from mastomend.errors import ConfigurationError, DatabaseError
from mastomend.mastodon.kinds import KIND_BY_NAME, KINDS, Kind
from mastomend.mastodon.selection import Selection
from mastomend.progress import Progress, Silent

#: A name, and the address where it is seen.
Called = tuple[str, str | None]

_ACCOUNTS = (
    "Accounts are written @user@host, @user for one of this server's, or by their number or their profile's address."
)
_POSTS = "Posts are written by their address, there or here, or by their own number, which is not that of a picture of theirs."
#: How many of this server's own users' losses a summary names.
FEW = 5
#: A kind by its name; a row as a whole is named by its table, and called as any of its kinds is.
_ONE_OF = {kind.table: kind for kind in KINDS} | KIND_BY_NAME
#: What must be seen to name the rows of a table.
_NEEDS: dict[str, dict[str, set[str]]] = {
    "accounts": {"accounts": {"id", "username", "domain", "url"}},
    "media_attachments": {
        "media_attachments": {"id", "account_id", "status_id"},
        "accounts": {"id", "username", "domain"},
    },
    "custom_emojis": {"custom_emojis": {"id", "shortcode", "domain"}},
    "preview_cards": {"preview_cards": {"id", "url"}},
}


@contextlib.contextmanager
def names_of(instance: Instance, progress: Progress = Silent()) -> Iterator[MastodonDatabase | None]:
    """The database, if it can be asked for names: what was found is shown without it, too."""
    with contextlib.ExitStack() as stack:
        try:
            database = stack.enter_context(MastodonDatabase(instance.configuration.database, "mastomend show"))
            unnamed(database, progress)
        except DatabaseError as error:
            progress.note(f"Without names, by number: {error.message}")
            database = None
        yield database


def naming_needs() -> dict[str, set[str]]:
    """The columns, by table, that are read to call records by their names."""
    needs: dict[str, set[str]] = {}
    for one in _NEEDS.values():
        for table, columns in one.items():
            needs.setdefault(table, set()).update(columns)
    return needs


def unnamed(database: MastodonDatabase, progress: Progress) -> None:
    """Say what this user may not read of it, so that records are told by their numbers."""
    try:
        database.require(naming_needs())
    except DatabaseError as error:
        progress.note(f"Some are told by number: {error.message} {error.hint}".rstrip())
        for statement in error.statements:
            progress.note(statement)


def refuse_unknown(database: MastodonDatabase, selection: Selection) -> None:
    """One that was mistyped beside others would be left out without a word.

    Raises:
        ConfigurationError: an account or a post of the selection is not there.
    """
    if names := unknown(database, selection):
        accounts = [name for name in names if name.startswith("@")]
        meant = read_namesakes(database, accounts)
        how = _ACCOUNTS if accounts or not selection.statuses else _POSTS
        raise ConfigurationError(
            f"This server does not know {' or '.join(names)}.",
            hint=f"Did you mean {' or '.join(meant)}?"
            if meant
            else f"{how} Is it misspelt, or was it never seen here?",
        )


def read(database: MastodonDatabase, records: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Called]:
    """What those records, by kind and id, are called; one that is gone, or whose name may not be read, is not in it."""
    ids: dict[str, list[int]] = {}
    for kind, record_id in records:
        ids.setdefault(kind, []).append(record_id)
    ids = {kind: some for kind, some in ids.items() if kind in _ONE_OF and _may_name(database, _ONE_OF[kind])}
    with_posts = database.table("statuses").readable >= {"id", "url", "uri"} if ids else True
    return {
        (kind, record_id): called
        for kind, some in ids.items()
        for record_id, called in read_names(database, _ONE_OF[kind], some, with_posts=with_posts).items()
    }


def who(database: MastodonDatabase, records: Sequence[tuple[str, int]]) -> list[str]:
    """The same for a few, in their order, one name each: kind and id where the database does not say."""
    called = read(database, records)
    return [called.get((kind, record_id), (f"{kind} {record_id}", None))[0] for kind, record_id in records]


def _may_name(database: MastodonDatabase, kind: Kind) -> bool:
    """Whether this user may read what the kind's records are called: who may not is told numbers."""
    needs = _NEEDS.get(kind.table, {})
    database.look_at(needs)
    return all(columns <= database.table(table).readable for table, columns in needs.items())
