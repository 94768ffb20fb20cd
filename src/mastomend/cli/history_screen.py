"""What a person reads of past runs; times are those of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mastomend.cli.output import count, escape, result
from mastomend.cli.repair_screen import reason_lines
from mastomend.commands.history import PastRun
from mastomend.outcomes import Outcome


def show_runs(runs: Sequence[PastRun]) -> None:
    """All of them, newest first, two lines each."""
    if not runs:
        result.print("Nothing was ever changed here.")
    for past in runs:
        _show(past)


def show_run(past: PastRun, reasons: Mapping[tuple[Outcome, str], int], show: str, undo: str) -> None:
    """One of them, with what became of its records and why."""
    _show(past)
    for line in reason_lines(reasons):
        result.print(line)
    result.print(f"Record by record: [bold]{escape(show)}[/]")
    if past.rows_changed or past.files_written or past.files_moved:
        result.print(f"To take it back: [bold]{escape(undo)}[/]")


def _show(past: PastRun) -> None:
    run = past.run
    what = f"undo of {run.undoes}" if run.undoes else run.command
    result.print(f"[bold]{escape(run.id)}[/]  {escape(what)}  {local(run.started_at)}  {past.state}")
    words = {Outcome.RESTORED: "taken back", Outcome.REFUSED: "left as they are"} if run.undoes else {}
    outcomes = ", ".join(
        f"{n:,} {words.get(outcome, outcome.value.replace('_', ' '))}" for outcome, n in past.outcomes.most_common()
    )
    did = f"{count(past.rows_changed, 'row')} changed, {count(past.files_written, 'file')} written, {past.files_moved:,} moved"
    result.print(f"   {outcomes or 'no records'}; {did}")


def local(moment: str) -> str:
    """A moment of the journal, as the clock here shows it."""
    found = datetime.fromisoformat(moment)
    return f"{(found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone():%Y-%m-%d %H:%M}"
