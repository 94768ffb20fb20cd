"""What a person reads of findings and outcomes: two lines each, one's own users in red and first."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mastomend.cli.output import NONE, clock, count, escape, result, show_table
from mastomend.commands.own_losses import IN_FULL, OwnLosses
from mastomend.commands.show import Showing, Sums
from mastomend.commands.shown import Shown
from mastomend.outcomes import Source
from mastomend.reasons import Reason

_LINKABLE = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%-]+")
#: Between two of those who were asked: what one said may hold any character itself.
_NEXT_SOURCE = re.compile(f"; (?=(?:{'|'.join(Source)}): )")
#: How many sentences of advice a page ends with.
_ADVICE = 12
#: So many users are named rather than all of this server's.
_NAMED = 3
#: Posts that are named in a text for their author.
_POSTS = 5
_MENDED = ("restored", "refreshed")
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
    "media_attachments/files": "what you had attached to posts of yours",
    "media_attachments/thumbnails": "covers of your films or recordings",
    "backups/dumps": "the archive you asked for",
}


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next. `same` shows the same of the newest check; `selects`: they are about a part of all records;
    `filters`: only some outcomes or reasons of them are shown.
    """

    from_backup: str
    check: str
    repair: str
    same: str
    selects: bool
    filters: bool = False


def page(found: Showing, commands: Commands) -> None:
    """Everything, through a pager where it does not fit on the terminal and there is one that can page it; elsewhere line by
    line as it comes.
    """
    if not (result.is_terminal and (shutil.which("less") or os.environ.get("PAGER"))):  # `more` takes links for letters
        for line in _text(found, commands):
            result.print(line)
        return
    lines = list(_text(found, commands))
    if len(lines) < result.height:
        result.print("\n".join(lines))
        return
    os.environ.setdefault("LESS", "FRX")
    with result.pager(styles=True, links=True):
        result.print("\n".join(lines))


def _text(found: Showing, commands: Commands) -> Iterator[str]:
    shown, is_new = 0, False
    advice: dict[str, str] = {}
    for row in found.rows:
        shown += 1
        is_new |= not row.known
        if row.advice and row.word not in ("restored", "refreshed") and row.why != Reason.LOCAL:  # which is told apart
            advice.setdefault(row.advice, _why(row))
        yield from _lines(row)
    if shown:
        yield ""
    yield f"[bold]{escape(_title(found, found.number, found.records))}.[/]{_not_all(shown, found.number)}"
    if found.part:
        yield f"That check looked only at {escape(found.part)}."
    yield from _since(found)
    if found.earlier:
        yield f"{found.earlier:,} more became so in other runs. A check finds them, and then they are shown:"
        yield f"   [command]{escape(commands.check)}[/]"
        yield f"   [command]{escape(commands.same)}[/]"
    elif not found.number and commands.selects and not commands.filters:
        said = "That run had nothing to do there" if found.is_run else "Nothing of that was broken"
        known = "" if found.part == "" else ", if it was looked at"
        yield f"{said}{known}. To look now: [command]{escape(commands.check)}[/]"
    yield from _for_users(found.own, commands)
    if is_new and not found.is_run and not found.is_of_strays:
        scope = "" if commands.selects else f" --scan {found.of}"
        yield ""
        yield f"What would be done: [command]{escape(commands.repair + scope)}[/]"
    if advice:
        yield ""
        yield "What can be done:"
        for what, why in list(advice.items())[:_ADVICE]:
            yield f"   {escape(why)}: [bold]{escape(what)}[/]"


def _title(found: Showing | Sums, files: int, records: int) -> str:
    """How many there are. Several files of a record may be broken: `check` counts the records."""
    what = "outcome" if found.is_run else "file" if found.is_of_strays else "finding"
    of = f" in {count(records, 'record')}" if not found.is_run and records not in (0, files) else ""
    return f"{count(files, what)}{of} of {'run' if found.is_run else 'scan'} {found.of}"


def _since(found: Showing | Sums) -> Iterator[str]:
    """What came after a run."""
    if found.taken_back:
        yield f"[yellow]It was taken back[/] by {escape(found.taken_back)}."
    if found.newer:
        yield f"[yellow]The check {escape(found.newer)} is newer[/]; only runs have what was asked for."


def _not_all(shown: int, number: int) -> str:
    return f" {shown:,} of them are shown; --limit 0 shows all." if shown < number else ""


def show_sums(found: Sums, most: int | None, same: str) -> None:
    """How many of each; `same` is the command that shows them one by one, if there is one."""
    groups = found.groups[:most]
    headings = [{"domain": "server", "reason": "why", "known": "known as"}.get(word, word) for word in found.by]
    amounts = ["files"] if found.is_of_strays else ["records"] if found.is_run else ["records", "files"]
    if any(one.own for one in groups):
        amounts.append("your own")
    rows = []
    for one in groups:
        numbers = {"records": one.records, "files": one.files, "your own": one.own}
        names = [_named_group(word, value, one.own) for word, value in zip(found.by, one.values, strict=True)]
        cells = [f"{numbers[word]:,}" if numbers[word] else NONE for word in amounts]
        rows.append(([*names, *cells], "red" if one.own else None))
    if rows:
        show_table([*headings, *amounts], rows, texts=len(headings))
        result.print("")
    result.print(f"[bold]{escape(_title(found, found.all.files, found.all.records))}.[/]")
    if len(groups) < len(found.groups):
        result.print(f"{len(groups):,} of {len(found.groups):,} lines are shown; --limit 0 shows all.")
    for line in _since(found):
        result.print(line)
    if found.part:
        result.print(f"That check looked only at {escape(found.part)}.")
    for one in groups[:1] if same else ():
        filters = [_filter(word, value, one.own) for word, value in zip(found.by, one.values, strict=True)]
        if all(filters) and not {"outcome", "known"} <= set(found.by):  # states and outcomes of a check cannot be mixed
            line = " ".join([same, *filters])
            result.print(f"The first of these, record by record: [command]{escape(line)}[/]")


def _filter(word: str, value: str | None, own: int) -> str:
    """The words of `show` that choose that group; '' if there are none."""
    if word == "domain" and value is None:
        return "--local" if own else ""
    if word == "known":
        return "--new" if value == "new" else f"--outcome {value}"
    if not value or value.startswith("would "):
        return ""
    return shlex.quote(value) if word == "kind" else f"--{word} {shlex.quote(value)}"


def _named_group(word: str, value: str | None, own: int) -> str:
    if word == "domain":
        return value or ("this server" if own else NONE)
    if word == "reason":
        return Reason(value).words if value in {one.value for one in Reason} else value or NONE
    return (value or NONE).replace("_", " ")


def _for_users(own: OwnLosses, commands: Commands) -> Iterator[str]:
    """What this server's own users miss, and a text for each of them."""
    if not own.users:
        return
    few = len(own.users) <= _NAMED and all(who.startswith("@") for who in own.users)
    named = " ".join(f"--account {shlex.quote(who)}" for who in own.users) if few else "--local"
    is_named = " --account " in commands.from_backup
    from_backup = commands.from_backup if is_named else commands.from_backup.replace("--local", named)
    yield ""
    a = "another" if own.was_looked_for else "a"
    yield f"What your own users miss no other server has. Look for {a} backup:"
    yield f"   [command]{escape(from_backup)}[/]"
    texts = {
        who: _letter(kinds)
        for who, kinds in own.users.items()
        if any(kind.removesuffix(IN_FULL) in _THEIRS for kind in kinds)
    }
    if texts:
        yield f"If there is none, they can upload it again. A text for {'each of them' if len(texts) > 1 else 'them'}:"
    for who, text in texts.items():
        yield f"   [bold]{escape(who)}[/]: {escape(text)}"
    if own.more:
        yield "   … and for others: --local --csv has all."


def _letter(kinds: Mapping[str, Sequence[str]]) -> str:
    lost = []
    for name, addresses in kinds.items():
        kind = name.removesuffix(IN_FULL)
        if kind in _THEIRS:
            some = [*addresses[:_POSTS], *([f"{len(addresses) - _POSTS:,} more"] if len(addresses) > _POSTS else [])]
            what = _THEIRS[kind] + (f" ({', '.join(some)})" if some and kind.startswith("media_") else "")
            lost.append(what if kind == name else f"{what} (only a smaller copy is left)")
    if not lost:
        return ""
    what = " and ".join([", ".join(lost[:-1]), lost[-1]] if len(lost) > 1 else lost)
    return f"A fault on our side has lost {what}. If you still have it, please upload it again. We are sorry."


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
        row.address or "" if row.is_local and row.kind.startswith("media_") else "",
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
        [f"from: {_SOURCES.get(row.source, row.source)}"] if row.source and (row.word in _MENDED or not said) else []
    )
    return "; then ".join([*asked, *given])
