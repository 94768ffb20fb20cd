"""What a person reads of a check."""

from __future__ import annotations

from mastomend.cli.output import NONE, clock, count, escape, own_lines, result, show_table
from mastomend.commands.check_report import CheckReport
from mastomend.outcomes import Outcome
from mastomend.plans.public import in_short, is_ours
from mastomend.vocabulary import State

_OF_A_PROFILE = ("accounts/avatars", "accounts/headers")
_DO = {True: "does not reach the public as it", False: "do not reach the public as they"}


def show(report: CheckReport, next_command: str, without_limit: str, findings: str, *, new_first: bool = False) -> None:
    """What a person reads: a table, what is broken, where it came from, and the one command to run next, which is the last
    one where all looks lost. `new_first` begins with what nobody knew of yet, as a mail of cron should.
    """
    if new_first and report.new:
        result.print(f"[bold red]{count(report.new, 'record')} {'is' if report.new == 1 else 'are'} newly broken:[/]")
        for line in own_lines(report.fresh_names, report.fresh, report.new, f"{findings} --new --limit 0"):
            result.print(line)
        result.print("")
    note = f" ({escape(report.version.note)})" if report.version.note else ""
    result.print(f"{escape(report.domain)}, Mastodon {report.version.name}{note}, media in {escape(report.storage)}")
    _show_table(report)
    for reason in report.mass_loss:
        result.print(f"[bold red]{escape(reason)}[/]")
    if report.mass_loss:
        result.print(
            "This looks like a disk that is not mounted or a wrong bucket rather than like damage. Is everything mounted "
            "that should be (`findmnt`, `mount -a`), and is it the right storage? Changing commands stop until it is."
        )
    _show_broken(report, findings, is_new_told=new_first)
    if report.unseen:
        result.print(f"[bold red]{count(report.unseen, 'file')} could not be looked at[/], and may be whole or broken:")
        for reason, n in report.obstacles:
            result.print(f"  {n:,}: {escape(reason)}")
        result.print("Repair leaves them alone until they can be seen.")
    _show_public(report, next_command)
    if report.unsettled:
        result.print(
            f"[bold red]{count(report.unsettled, 'record')} kept changing during the scan[/]: somebody holds a transaction "
            "open. Run check again when it is over."
        )
    if report.resumed and report.looked_since is not None:
        result.print(
            f"This check went on where one of {clock(report.looked_since)} was cut off: what broke after it had been looked "
            "at is not in it (--fresh)."
        )
    if not report.is_whole:
        only = " --new" if new_first and report.new else ""
        result.print(f"What it is: [command]{escape(findings + only)}[/]")
    _show_next(report, next_command, without_limit)


def _show_public(report: CheckReport, next_command: str) -> None:
    """What was seen from outside."""
    if report.public is None:
        return
    asked = count(report.public.asked, "file")
    if not report.public.asked:
        result.print("No file was asked for as the public: none that is selected is there.")
        return
    if not report.hidden:
        said = "it comes as it should" if report.public.asked == 1 else "all of them come as they should"
        result.print(f"{asked} asked for as the public: {said}.")
        return
    result.print(f"[bold red]{report.hidden:,} of {asked} {_DO[report.hidden == 1]} should:[/]")
    ours = False
    for cause, n in sorted(report.public.causes.items(), key=lambda one: -one[1]):
        mendable = is_ours(cause, in_bucket=not report.storage.startswith("file://"))
        ours |= mendable
        result.print(f"  {n:,}: {escape(in_short(cause))}{' (repair can set that)' if mendable else ''}")
    if ours and not report.new:
        result.print(f"Next: [command]{escape(next_command)}[/]")


def _show_table(report: CheckReport) -> None:
    states = [s for s in State if any(k.states[s] for k in report.kinds)]
    rows = []
    for kind in report.kinds:
        if kind.expected:
            cells = [kind.records, kind.records_broken, kind.expected, *(kind.states[s] for s in states)]
            style = "red" if kind.records_broken else None
            rows.append(([kind.kind, *(f"{n:,}" if n else NONE for n in cells)], style))
    show_table(["kind", "records", "broken", "files", *(s.value for s in states)], rows)
    if report.of_accounts:
        for name in (one.kind for one in report.kinds if one.kind in _OF_A_PROFILE and not one.records):
            result.print(f"{name}: Mastodon knows of none there.")


def _show_next(report: CheckReport, next_command: str, without_limit: str) -> None:
    """The one command to run next."""
    if report.mass_loss:
        result.print(f"If the files really are gone: [command]{escape(without_limit)}[/]")
        return
    if report.broken and sum(kind.records_broken_local for kind in report.kinds) == report.broken:
        result.print(f"With a backup: [command]{escape(f'{next_command} --from DIR')}[/]")
    if report.new:
        result.print(f"Next: [command]{escape(next_command)}[/]")
    elif report.known[Outcome.DEFERRED] and report.next_try is not None:
        result.print(f"The deferred ones are due from {clock(report.next_try)} on:")
        result.print(f"  [command]{escape(f'{next_command} --deferred --apply')}[/]")


def _show_broken(report: CheckReport, findings: str, *, is_new_told: bool) -> None:
    """How much is broken, what is known of it, and where it came from."""
    took = f"({report.duration_s:.1f} s)"
    unseen = f"; {report.unseen:,} could not be looked at" if report.unseen else ""
    if not report.broken:
        if report.is_whole:
            result.print(f"[green]Nothing is broken.[/] {took}")
        else:
            result.print(f"\n[bold]Nothing else is broken{unseen}.[/] {took}")
        return
    local = sum(kind.records_broken_local for kind in report.kinds)
    verb = "is" if report.broken == 1 else "are"
    result.print(f"\n[bold]{count(report.broken, 'record')} {verb} broken{unseen}.[/] {took}")
    if local:
        result.print(
            f"[bold red]{count(local, 'local record')}[/] among them. What cannot be made from what is still there needs a "
            "backup: no other server has the original (repair --from)."
        )
        for line in own_lines(report.names, report.own, local, f"{findings} --local --limit 0"):
            result.print(line)
    elif report.broken:
        result.print("None of them belongs to your own users.")
    if report.known:
        known = ", ".join(
            f"{report.known[outcome]:,} {words}" for outcome, words in _KNOWN.items() if report.known[outcome]
        )
        may_change = report.new or report.known[Outcome.DEFERRED] or report.unseen
        nothing = "" if may_change else ": nothing to do"
        when = f"Tried before, last on {clock(report.last_tried)}" if report.last_tried else "Tried before"
        result.print(f"{when}: {known}; {report.new:,} new{nothing}.")
        for line in (
            ()
            if is_new_told
            else own_lines(report.fresh_names, report.fresh, report.new, f"{findings} --new --limit 0")
        ):
            result.print(line)
    if report.top_domains:
        origins = ", ".join(f"{escape(domain)} ({n:,})" for domain, n in report.top_domains)
        result.print(f"Most come from: {origins}")


_KNOWN = {
    Outcome.GONE: "gone at their origin",
    Outcome.REFUSED: "refused",
    Outcome.LOST: "lost",
    Outcome.DEFERRED: "to be tried again",
}
