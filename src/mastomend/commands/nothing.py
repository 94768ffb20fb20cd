"""A selection that selects nothing is an error: nothing was seen then, and nothing of it is well."""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.errors import ConfigurationError
from mastomend.mastodon.selection import EVERYTHING, Selection


class NothingSelectedError(ConfigurationError):
    """No record is selected: what was begun for it is of no use."""


def refuse_nothing(
    records: int, selection: Selection, kinds: Sequence[str] = (), but_kinds: Sequence[str] = ()
) -> None:
    """Refuse it if so many records are selected: none.

    Raises:
        NothingSelectedError: no record is selected.
    """
    if records or selection == EVERYTHING:
        return
    among = f" among {', '.join((*kinds, *(f'all but {k}' for k in but_kinds)))}" if kinds else ""
    raise NothingSelectedError(
        f"No record with a file is selected by {selection}{among}: nothing was looked at.",
        hint=_why_nothing(selection),
    )


def _why_nothing(selection: Selection) -> str:
    """Why there may be no record like that."""
    if selection.criteria > 1:
        return "What is selected must all be true of a record: leave something out."
    if selection.domains:
        return "Is the server's name misspelt? No record here is of it."
    return (
        "Mastodon itself knows of no such picture, and shows none: there is nothing to bring back. See "
        "docs/how-to/one-user.md."
    )
