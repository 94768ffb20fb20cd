"""stdout carries the result, stderr everything else; `--json` puts exactly one JSON object on stdout.

Much of what is shown comes from strangers: a domain, a file name, an answer. It is never markup, never an emoji code and
never a line of its own: `escape` hides what would mean something until rich has looked for its own marks. What a terminal
cannot show becomes plain characters, and a stdout that cannot be written to becomes an error in words.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from mastomend.cli.log_file import write_log
from mastomend.errors import MastomendError, OutputClosed, OutputError

#: What means something to rich, and what stands for it meanwhile: characters of private use, which are never shown.
_HIDDEN = {"[": "\ue000", "\\": "\ue001"}
_SHOWN = str.maketrans({hidden: shown for shown, hidden in _HIDDEN.items()})
_PLAIN = {"█": "#", "·": "-", "…": "...", "→": "->", "×": "x", "•": "*", "\u00a0": " ", "“": '"', "”": '"', "’": "'"}


class Console(RichConsole):
    """rich's, for text that was escaped here. On a terminal it breaks lines between words, and never inside a `[command]`."""

    def render_str(self, text: str, **options: Any) -> Text:
        rendered = super().render_str(text, **options)
        rendered.plain = rendered.plain.translate(_SHOWN)
        return rendered

    def print(self, *objects: Any, **options: Any) -> None:
        if self.is_terminal and len(objects) == 1 and isinstance(objects[0], str):
            lines = self.render_str(objects[0], markup=options.pop("markup", None)).split("\n", allow_blank=True)
            objects = (Text("\n").join(short for line in lines for short in self._fitted(line)),)
        try:
            super().print(*objects, **options)
        except OSError as error:
            raise cannot_write(error) from None

    def _fitted(self, line: Text) -> list[Text]:
        """Lines that fit, indented as the first is. A command has a line of its own, however long: it is copied."""
        if line.cell_len <= self.width:
            return [line]
        start = min((span.start for span in line.spans if span.style == "command"), default=None)
        if start is not None:
            before = line[:start]
            before.rstrip()
            return [*(self._fitted(before) if before else ()), Text("  ") + line[start:]]
        indent = len(line.plain) - len(line.plain.lstrip(" "))
        return [Text(" " * indent) + one for one in line[indent:].wrap(self, max(self.width - indent, 20))]

    def on_broken_pipe(self) -> NoReturn:
        """Whoever read our output has gone."""
        raise OutputClosed("The output was closed before everything was written.")


_THEME = Theme({"command": "bold"})
result = Console(soft_wrap=True, highlight=False, emoji=False, theme=_THEME)
log = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, theme=_THEME)


class _Aside:
    """stderr, where notes go: that nobody can be told them is no reason to stop, or to answer otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As a stream does."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As a stream does."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def prepare_streams() -> None:
    """What a stream cannot encode becomes plain characters.

    Raises:
        OutputError: there is no stdout.
    """
    codecs.register_error("mastomend-plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="mastomend-plain")  # type: ignore[union-attr]
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives
    if not isinstance(sys.stderr, _Aside):
        sys.stderr = _Aside(sys.stderr)
    if sys.stdout is None:
        raise OutputError("stdout is closed: there is nowhere to write the result.")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in bad), error.end


def flush() -> None:
    """Everything printed so far is with whoever reads it.

    Raises:
        OutputError: it is not.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        raise cannot_write(error) from None


def cannot_write(error: OSError) -> OutputError:
    """Nobody can be told: why."""
    if error.errno == errno.EPIPE:
        return OutputClosed("The output was closed before everything was written.")
    return OutputError(f"The output cannot be written: {error.strerror}.")


def give_up_stdout() -> None:
    """Nothing more can be written there, not even at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def emit_json(document: dict[str, Any], exit_code: int) -> None:
    """One JSON object, ids as strings, times as RFC 3339, with the exit code.

    Raises:
        OutputError: it cannot be written.
    """

    def default(value: object) -> Any:
        if isinstance(value, datetime):
            return value.isoformat().replace("+00:00", "Z")
        if isinstance(value, Path):
            return str(value)
        raise TypeError(type(value).__name__)

    text = json.dumps({**document, "exit_code": exit_code}, default=default, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps({**document, "exit_code": exit_code}, default=default)
    try:
        sys.stdout.write(text + "\n")
    except OSError as error:
        raise cannot_write(error) from None
    flush()


_GUIDE = re.compile(r"\bdocs/((?:how-to|reference)/[\w-]+\.md)")


def with_guides(text: str) -> str:
    """A guide that is named, by where it is on this machine, or else where everybody finds it."""
    here = Path(sys.prefix) / "share/doc/mastomend/docs"
    return _GUIDE.sub(lambda found: str(here / found[1]) if (here / found[1]).exists() else found[0], text)


def show_error(error: MastomendError) -> None:
    """What is wrong and what to do next, without a traceback."""
    error.hint = with_guides(error.hint)
    write_log(f"Error: {error.message} Next: {error.next}")
    log.print(f"[bold red]Error:[/] {escape(error.message)}")
    if error.hint:
        before, colon, command = error.hint.rpartition(": ")
        is_command = bool(colon) and "mastomend " in command
        said = f"{escape(before)}: [command]{escape(command)}[/]" if is_command else escape(error.hint)
        log.print(f"[bold]Next:[/] {said}")
    for statement in error.statements:
        log.print(f"  [command]{escape(statement)}[/]")


def escape(text: str) -> str:
    """Text from elsewhere, safe for rich and for a terminal: one line, control characters made visible."""
    return "".join(_HIDDEN.get(c) or (c if c.isprintable() else _visible(c)) for c in text)


def _visible(character: str) -> str:
    code = ord(character)
    return f"\ue001x{code:02x}" if code < 0x100 else f"\ue001u{code:04x}"


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `14 hours`, `3 days`: the largest unit of which there are at least two."""
    for unit, of_it in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 2 * of_it:
            return f"{seconds / of_it:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """`1 file`, `1,234 files`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def clock(moment: datetime) -> str:
    """A moment, as the clock of this machine shows it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def size(n: int) -> str:
    """Bytes for people."""
    amount = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def show_table(
    headings: Sequence[str],
    rows: Iterable[tuple[Sequence[str], str | None]],
    *,
    sentences: bool = False,
    texts: int = 1,
) -> None:
    """Rows, each with its style: the first columns (`texts` of them) to the left, numbers to the right, bars (which have no
    heading) to the left, and `sentences`, if the last column holds them. Where they are too wide for the terminal, a line each
    in words.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        is_number = number >= texts and heading and not (sentences and number == len(headings) - 1)
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    some = list(rows)
    for cells, style in some:
        table.add_row(*map(escape, cells), style=style)
    if table.__rich_measure__(result, result.options.update(max_width=10_000)).maximum <= result.width:
        result.print(table)
        return
    for all_cells, style in some:
        first, cells = " · ".join(all_cells[:texts]), list(all_cells[texts:])
        end = f". {cells.pop()}" if sentences else ""
        said = ", ".join(
            cell if heading in _HAVE_UNITS else f"{cell} {heading.removesuffix('s') if cell == '1' else heading}"
            for heading, cell in zip(headings[texts:], cells, strict=False)
            if heading and cell != NONE
        )
        result.print(f"{escape(first)}: {escape(said + end)}", style=style)


#: Headings whose cells say what they are themselves.
_HAVE_UNITS = ("bytes", "size")


def own_lines(names: Sequence[str], own: Sequence[tuple[str, int]], number: int, rest: str) -> Iterator[str]:
    """Records that matter most, a few of them by name and kind; `rest` is the command that shows the others."""
    for name, (kind, _) in zip(names, own, strict=True):
        yield f"  [bold red]{escape(name)}[/]{'' if name.startswith(kind) else f'  {escape(kind)}'}"
    if number > len(own):
        yield f"  … and {number - len(own):,} more: [command]{escape(rest)}[/]"


#: A cell of a table that stands for 0.
NONE = "·"
#: For those who know that what is missing really is gone.
WITHOUT_LIMIT = "--max-missing 100%"


def command_line(env: Path | None, state: Path | None, rest: str, *, by_root: bool = False) -> str:
    """The command a person should run next, with the options they gave; it runs as it is printed."""
    words = ["sudo" if by_root else _as_whom(), _program()]
    if env is not None:
        words.append(f"--env {shlex.quote(os.fspath(env))}")
    if state is not None:
        words.append(f"--state {shlex.quote(os.fspath(state))}")
    return " ".join([*filter(None, words), rest])


_OURS = re.compile(
    r"\bmastomend (?=(?:check|repair|usage|orphans|prune|guard|migrate|doctor|history|undo|show|cleanup|systemd)\b)"
)


def as_given(text: str, prefix: str) -> str:
    """A sentence of ours with its commands about the instance this one is about: `prefix` is how one begins."""
    return _OURS.sub(lambda _: prefix, text)


def marked(text: str, prefix: str) -> str:
    """The same as markup: the command a sentence ends with is one to copy."""
    found = _OURS.search(text)
    if found is None:
        return escape(text)
    before, command = text[: found.start()], text[found.start() :].removesuffix(".")
    return f"{escape(before)}[command]{escape(as_given(command, prefix))}[/]"


def _as_whom() -> str:
    """What stands before a command if this one was called by sudo: a shell here is another user's."""
    by, called = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_COMMAND", "").partition(" ")[0]
    if not by.isdecimal() or int(by) == os.geteuid() or Path(called).name not in ("mastomend", Path(sys.argv[0]).name):
        return ""  # or a shell was called by it, in which this stands
    try:
        return "sudo" if os.geteuid() == 0 else f"sudo -u {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return ""


def _program() -> str:
    """How this program was called, so that a shell here finds it."""
    called = Path(sys.argv[0]) if sys.argv else Path()
    found = shutil.which("mastomend")
    if found is not None or called.name not in ("mastomend", "__main__.py"):
        return "mastomend"
    if called.name == "mastomend" and called.is_file():
        return shlex.quote(os.fspath(called))
    return f"{shlex.quote(sys.executable)} -m mastomend"
