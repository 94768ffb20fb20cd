"""What a person reads of files nobody expects."""

from __future__ import annotations

from dataclasses import dataclass

from mastomend.cli.output import NONE, count, escape, result, show_table, size
from mastomend.commands.orphans_report import OrphansReport
from mastomend.vocabulary import Stray


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next. `is_for_good`: with `--apply` files are deleted, not set aside."""

    is_for_good: bool
    again: str
    apply: str
    undo: str
    show: str


_SAID = {
    Stray.ORPHAN: "orphans",
    Stray.STALE_DUPLICATE: "stale duplicates",
    Stray.DIRECTORY_MARKER: "folder markers",
    Stray.TEMPORARY: "unfinished files",
    Stray.UNRECOGNIZED: "not Mastodon's",
}


def show(report: OrphansReport, commands: Commands, purge_after: str) -> None:
    """What there is, what may be moved and why not yet, what was moved, and the one command to run next."""
    _show_table(report)
    if Stray.UNRECOGNIZED in report.sorts:
        result.print("What is not Mastodon's (other tenants, favicons, names nobody understands) is never touched.")
    for reason in report.stops:
        result.print(f"[bold red]{escape(reason)}[/]")
    if report.applied:
        _show_moved(report, purge_after, commands.undo)
    if report.sorts:
        result.print(f"Which: [command]{escape(commands.show)}[/]")
    if not report.objects:
        result.print("[green]Every file is expected by a record.[/]" if not report.sorts else "No file is an orphan.")
    elif report.stops:
        result.print("With --apply this stops.")
    elif not report.applied:
        _show_next(report, commands)


def _show_table(report: OrphansReport) -> None:
    rows = []
    for sort, words in _SAID.items():
        if (one := report.sorts.get(sort)) is None:
            continue
        numbers = [one.files, one.young, one.first, one.ready]
        if sort is Stray.UNRECOGNIZED:
            numbers = [one.files, 0, 0, 0]
        cells = [f"{n:,}" if n else NONE for n in numbers]
        rows.append(([words, cells[0], size(one.bytes), *cells[1:]], None))
    if rows:
        show_table(["what", "files", "bytes", "too young", "first seen", "ready"], rows)


def _show_next(report: OrphansReport, commands: Commands) -> None:
    if report.ready:
        what = f"{count(report.ready, 'file')} ({size(report.ready_bytes)})"
        may = "would be [bold red]deleted for good[/]" if commands.is_for_good else "may be moved"
        result.print(f"{what} {may}. Nothing was changed. Next: [command]{escape(commands.apply)}[/]")
        return
    why = (
        "This was the first scan."
        if report.first_scan
        else "Nothing of it is both old enough and was seen by the scan before."
    )
    result.print(f"{why} What a second one sees as well, and is old enough, may be moved: an upload under way is not.")
    when = "to look a second time" if report.first_scan else "once they are old enough"
    result.print(f"Nothing was changed. Next, {when}: [command]{escape(commands.again)}[/]")


def _show_moved(report: OrphansReport, purge_after: str, undo: str) -> None:
    if report.purged:
        result.print(f"[bold]{count(report.purged, 'file')} deleted for good[/], {size(report.purged_bytes)}.")
    else:
        moved = f"{count(report.quarantined, 'file')} moved to the quarantine"
        result.print(f"[bold]{moved}[/], {size(report.quarantined_bytes)}. ({report.duration_s:.1f} s)")
    if report.expired:
        result.print(f"{count(report.expired, 'file')} that earlier runs had set aside purged.")
    for line in report.left:
        result.print(f"[yellow]left:[/] {escape(line)}")
    if report.left_alone > len(report.left):
        result.print(f"… and {report.left_alone - len(report.left):,} more that were left.")
    if report.quarantined:
        if purge_after != "never":
            result.print(
                f"They wait there. The first run of this command after {escape(purge_after)} removes them for good."
            )
        result.print(f"To take this back: [command]{escape(undo)}[/]")
