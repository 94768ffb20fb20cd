"""What a person reads of findings and outcomes: two lines each, one's own users in red and first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mastomend.cli.output import clock, count, escape, result
from mastomend.commands.show import Showing, Shown
from mastomend.outcomes import Source
from mastomend.reasons import Reason

_LINKABLE = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%-]+")
#: Between two of those who were asked: what one said may hold any character itself.
_NEXT_SOURCE = re.compile(f"; (?=(?:{'|'.join(Source)}): )")
#: How many sentences of advice a page ends with.
_ADVICE = 12
_STYLES = {"restored": "green", "refreshed": "green", "deferred": "yellow"}


#: Where what was mended came from.
_SOURCES = {
    Source.ACTOR.value: "the address its account tells now",
    Source.NOTE.value: "the address its post tells now",
}
#: What its owner calls a file of a kind, in a text for them.
_THEIRS = {
    "accounts/avatars": "the picture of your profile",
    "accounts/headers": "the header of your profile",
    "media_attachments/files": "pictures or films in your posts",
    "media_attachments/thumbnails": "covers of your films or recordings",
    "backups/dumps": "the archive you asked for",
}


def page(found: Showing) -> None:
    """Everything, through a pager where it does not fit on the terminal; elsewhere line by line as it comes."""
    if not result.is_terminal:
        for line in _text(found):
            result.print(line)
        return
    lines = list(_text(found))
    if len(lines) < result.height:
        result.print("\n".join(lines))
        return
    os.environ.setdefault("LESS", "FRX")
    with result.pager(styles=True, links=True):
        result.print("\n".join(lines))


def _text(found: Showing) -> Iterator[str]:
    shown, is_ours = 0, False
    theirs: dict[str, None] = {}
    advice: dict[str, str] = {}
    for row in found.rows:
        shown += 1
        if row.advice and row.word not in ("restored", "refreshed") and row.why != Reason.LOCAL:  # which is told apart
            advice.setdefault(row.advice, _why(row))
        if row.is_local and row.word not in ("restored", "refreshed"):
            is_ours = True
            theirs |= {_THEIRS[row.kind]: None} if row.kind in _THEIRS else {}
        yield from _lines(row)
    if shown:
        yield ""
    what = "outcome" if found.is_run else "file" if found.is_of_strays else "finding"
    title = f"{count(found.number, what)} of {'run' if found.is_run else 'scan'} {found.of}"
    more = f" {shown:,} of them are shown; --limit 0 shows all." if shown < found.number else ""
    yield f"[bold]{escape(title)}.[/]{more}"
    if is_ours:
        yield ""
        yield "What your own users miss no other server has. Look for a backup: repair --local --from DIR"
        if theirs:
            yield "If there is none, they can upload it again. A text for them:"
            lost = " and ".join([", ".join(list(theirs)[:-1]), list(theirs)[-1]] if len(theirs) > 1 else theirs)
            yield f"   A fault on our side has lost {lost}. If you still have it, please upload it again. We are sorry."
    if advice:
        yield ""
        yield "What can be done:"
        for what, why in list(advice.items())[:_ADVICE]:
            yield f"   {escape(why)}: [bold]{escape(what)}[/]"


def _why(row: Shown) -> str:
    """The reason in general, not that one record's."""
    return Reason(row.why).words


def _lines(row: Shown) -> Iterator[str]:
    who = escape(row.who)
    if row.address and _LINKABLE.fullmatch(
        row.address
    ):  # it comes from strangers, and would reach the terminal as it is
        who = f"[link={row.address}]{who}[/link]"
    style = "bold red" if row.is_local else _STYLES.get(row.word, "bold")
    whose = " (one of your own users)" if row.is_local else ""
    what = f"{row.kind}{f' ({row.style})' if row.style else ''}" if row.kind != row.who else ""
    yield f"{who}{whose}  {escape(what)}  [{style}]{escape(row.word.replace('_', ' '))}[/]"
    said = [
        row.key if row.key != row.who else "",
        row.said,
        _asked(row),
        f"earlier: {row.known}" if row.known else "",
    ]
    if row.next_try is not None:
        said.append(f"tried again from {clock(row.next_try)} on")
    for one in said:
        if one:
            yield f"   {escape(one)}"


def _asked(row: Shown) -> str:
    """Who was asked, and what each said, in words; the last one's is told anyway."""
    known = {one.value for one in Reason}
    said = []
    for one in filter(None, _NEXT_SOURCE.split(row.tried)):
        source, _, reason = one.partition(": ")
        words = Reason(reason).words if reason in known else reason
        said.append(source if reason == row.reason or not words else f"{source} ({words})")
    asked = [f"asked: {', '.join(said)}"] if said else []
    given = (
        [f"from: {_SOURCES.get(row.source, row.source)}"] if row.source and (row.word in _STYLES or not said) else []
    )
    return "; then ".join([*asked, *given])
