"""`usage --html`: one page that needs nothing but itself. No script, no network, dark and light, charts with their tables.

Much of what is on it comes from strangers: everything is escaped, and a policy on the page itself allows its one style and
nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mastomend.cli.output import clock, size
from mastomend.cli.usage_screen import PARTS
from mastomend.commands.usage_report import UsageReport
from mastomend.errors import ConfigurationError
from mastomend.inventory.usage import Amount
from mastomend.state_files import replace_text

_PAGES = Path(__file__).with_name("pages")
_LONGEST = 48
_APART = {
    "unrecognized": "not Mastodon's",
    "quarantine": "Mastomend's quarantine",
    "leftovers": "folder markers and unfinished files",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: its name, its parts in bytes with their classes, and which row it is."""

    name: str
    parts: Sequence[tuple[int, str]]
    place: int

    @property
    def whole(self) -> int:
        """All of it."""
        return sum(part for part, _ in self.parts)


@dataclass(slots=True)
class Section:
    """A chart, and the same numbers as a table. `parted`: its bars have parts of several colours."""

    title: str
    headings: Sequence[str]
    bars: list[Bar] = field(default_factory=list)
    rows: list[Sequence[str]] = field(default_factory=list)
    parted: bool = False

    def add(self, name: str, *cells: str, parts: Sequence[tuple[int, str]]) -> None:
        """One row."""
        self.bars.append(Bar(name, parts, len(self.bars)))
        self.rows.append((name, *cells))


def write(report: UsageReport, path: Path) -> None:
    """Write the page; only its owner may read it.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        replace_text(path, page(report), 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.", hint="Name another file.") from None


def page(report: UsageReport) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"size": size, "clock": clock, "shorten": _shorten}
    style = (_PAGES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    differences = [(words, _signed(report.difference.get(name, 0))) for name, words in PARTS.items()]
    return environment.get_template("usage.html").render(
        report=report,
        sections=sections(report),
        differences=differences,
        style=style,
        style_hash=f"sha256-{digest}",
    )


def sections(report: UsageReport) -> list[Section]:
    """The charts, each with its table."""
    kinds = Section("By kind", ("kind", "files", "local", "cached", "nobody's", "all"), parted=True)
    for one in report.kinds:
        whole = one.local + one.cached + one.orphans
        if whole.files:
            each = (one.local.bytes, one.cached.bytes, one.orphans.bytes)
            cells = (f"{whole.files:,}", *map(size, (*each, whole.bytes)))
            kinds.add(one.kind, *cells, parts=list(zip(each, ("local", "bar", "nobody"), strict=True)))
    days = [
        ("older" if n is None else f"up to {n} {'day' if n == 1 else 'days'}", one)
        for n, one in report.ages
        if one.files
    ]
    apart = [] if report.is_selected else [(_APART[name], one) for name, one in report.apart.items() if one.files]
    return [
        kinds,
        _plain("Cached, by server", "server", report.domains),
        _plain("By account", "account", [(name, one) for name, _, one in report.accounts]),
        _plain("Cached, by age", "age", days),
        _plain("By style", "style", [(f"{kind} {style}", one) for kind, style, one in report.styles]),
        _plain("No record's", "what", apart),
    ]


def _plain(title: str, heading: str, found: Sequence[tuple[str, Amount]]) -> Section:
    section = Section(title, (heading, "files", "size"))
    for name, one in found:
        section.add(name, f"{one.files:,}", size(one.bytes), parts=[(one.bytes, "bar")])
    return section


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _signed(n: int) -> str:
    return f"{'-' if n < 0 else '+'}{size(abs(n))}"
