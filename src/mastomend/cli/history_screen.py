"""What a person reads of past runs; times are those of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from mastomend.actions.ledger import Entry
from mastomend.cli.output import clock, count, escape, result
from mastomend.cli.repair_screen import reason_lines
from mastomend.commands.history import PastRun
from mastomend.outcomes import Outcome
from mastomend.reasons import Reason


def show_runs(runs: Sequence[PastRun]) -> None:
    """All of them, newest first, two lines each."""
    if not runs:
        result.print("Nothing was ever changed here.")
    for past in runs:
        _show(past)


def show_run(past: PastRun, reasons: Mapping[tuple[Outcome, str], int], show: str, undo: str) -> None:
    """One of them, with what became of its records and why."""
    _show(past)
    for line in _of_an_undo(reasons) if past.run.undoes else reason_lines(reasons):
        result.print(line)
    if past.has_report:
        result.print(f"Record by record: [command]{escape(show)}[/]")
    if past.partly or (past.purged_by and past.has_changed and not past.taken_back):
        if past.purged_by:
            result.print(f"The cleanup {past.purged_by} has removed files it had set aside: those do not come back.")
        result.print(f"What can be taken back: [command]{escape(undo.removesuffix(' --apply'))}[/]")
    elif past.has_changed and not past.taken_back:
        result.print(f"To take it back: [command]{escape(undo)}[/]")


def _of_an_undo(reasons: Mapping[tuple[Outcome, str], int]) -> Iterator[str]:
    """What it left, and why; what it took back is told already."""
    for (_, reason), n in reasons.items():
        if reason != Reason.UNDONE:
            yield f"{n:,} left as {'it is' if n == 1 else 'they are'}: {escape(Reason(reason).words)}"


def show_lost(
    entries: Sequence[Entry],
    shown: Sequence[Entry],
    names: Mapping[tuple[str, int], str],
    from_backup: str,
    refused: int,
) -> None:
    """What is lost for good: one's own users' first, then what other servers have no more. `shown` are told one by one."""
    own = [entry for entry in entries if entry.is_local]
    others = [entry for entry in entries if not entry.is_local]
    if own:
        result.print(
            f"[bold red]{count(len(own), 'file')} of your own users {'is' if len(own) == 1 else 'are'} lost.[/]"
        )
        _show_entries([entry for entry in shown if entry.is_local], names)
        result.print(f"Look for a backup: [command]{escape(from_backup)}[/]\n")
    if others:
        what = "is gone at its origin, or lost" if len(others) == 1 else "are gone at their origin, or lost"
        result.print(f"{count(len(others), 'record')} of other servers {what}.")
        servers = Counter(entry.domain for entry in others if entry.domain).most_common(5)
        if len(servers) > 1:
            result.print(f"Most come from: {', '.join(f'{escape(domain)} ({n:,})' for domain, n in servers)}")
        _show_entries([entry for entry in shown if not entry.is_local], names)
    if len(shown) < len(entries):
        result.print(f"… and {len(entries) - len(shown):,} more; --json has all.")
    if refused:
        what = "was refused when it was asked for" if refused == 1 else "were refused when they were asked for"
        result.print(
            f"{count(refused, 'more record')} {what}, which need not be for good: check, then show, tell them."
        )


def _show_entries(entries: Sequence[Entry], names: Mapping[tuple[str, int], str]) -> None:
    """Two lines each."""
    for entry in sorted(entries, key=lambda one: (one.domain or "", one.kind, one.id)):
        record = f"{entry.kind} {entry.id}"
        name = names.get((entry.kind, entry.id))
        style = "bold red" if entry.is_local else "bold"
        of = "" if name else f"  {entry.domain or entry.remote_url or ''}".rstrip()
        result.print(f"[{style}]{escape(name or record)}[/]{escape(of)}  {escape(record if name else '')}".rstrip())
        since = entry.dead_since if entry.dead_since and entry.dead_since.date() != entry.first_seen.date() else None
        dead = f"; gone since {since.astimezone():%Y-%m-%d}" if since else ""
        words = Reason(entry.reason).words if entry.reason in {one.value for one in Reason} else entry.reason
        result.print(f"   {escape(words)}; first seen {entry.first_seen.astimezone():%Y-%m-%d}{dead}")


def _show(past: PastRun) -> None:
    run = past.run
    step = f" {run.scope.partition(' ')[0]}" if run.command == "migrate" else ""
    what = f"undo of {run.undoes}" if run.undoes else f"{run.command}{step}"
    result.print(f"[bold]{escape(run.id)}[/]  {escape(what)}  {local(run.started_at)}  {past.state}")
    if past.taken_back:
        how = "overtaken" if run.undoes else "taken back"
        result.print(f"   {how} by {escape(past.taken_back)}")
    elif past.partly:
        n = count(past.standing, "record")
        result.print(
            f"   taken back in part, last by {escape(past.partly)}: {n} {'is' if past.standing == 1 else 'are'} not"
        )
    words = {Outcome.RESTORED: "taken back", Outcome.REFUSED: "left as they are"} if run.undoes else {}
    if run.command == "migrate":
        words[Outcome.RESTORED] = "hidden"
    if past.posts_deleted:
        words[Outcome.SET_ASIDE] = "archived"
    outcomes = ", ".join(
        f"{n:,} {words.get(outcome, outcome.value.replace('_', ' '))}" for outcome, n in past.outcomes.most_common()
    )
    did = _did(past) or ("" if past.outcomes[Outcome.COPIED] else "nothing changed")
    if outcomes or not past.half_done:
        result.print(f"   {outcomes or 'no records'}{'; ' if did else ''}{did}")
    if past.half_done:
        what = count(past.half_done, "record")
        result.print(f"   {what} half done, as it was cut off: the same command, run again, settles and goes on.")


def _did(past: PastRun) -> str:
    """What was changed, of each sort as much as there was."""
    sorts = (
        (past.rows_changed, "row", "changed"),
        (past.files_written, "file", "written"),
        (past.files_moved, "file", "moved"),
        (past.files_deleted, "file", "deleted for good"),
        (past.files_served, "file", "handed out otherwise"),
        (past.posts_deleted, "post", "deleted"),
        (past.posts_restored, "post", "brought back"),
        (past.jobs, "job", "handed to Sidekiq"),
        (past.reports_removed, "report", "removed"),
    )
    return ", ".join(f"{count(n, what)} {how}" for n, what, how in sorts if n)


def local(moment: str) -> str:
    """A moment of the journal, as the clock here shows it."""
    found = datetime.fromisoformat(moment)
    return clock(found if found.tzinfo else found.replace(tzinfo=UTC))
