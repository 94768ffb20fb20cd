"""What a person reads of a repair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mastomend.cli.output import count, escape, own_lines, result, size, span
from mastomend.commands.repair_report import RepairOptions, RepairReport
from mastomend.outcomes import Engine, Outcome
from mastomend.reasons import Reason

#: What a dry run says of the records that would be restored from each source.
SOURCES = {
    "original": "to be made from the original that is still there",
    "elsewhere": "in the storage under another name",
    "backup": "in the backup",
    "origin": "to be asked for at the origin",
    "page": "to be asked for at the page it shows",
    "none": "without a source, or to be left alone",
}


#: How long something must take for that to be worth a line, in seconds.
_TELLING_S = 10
_BY_OTHERS = {
    Engine.SIDEKIQ: "to be emptied and handed to Mastodon's workers where the kind has one, else asked for directly",
    Engine.RESET: "to be emptied, for Mastodon to fetch on its next occasion",
}


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next."""

    again: str
    without_limit: str
    later: str
    undo: str
    show: str
    findings: str


def show(report: RepairReport, options: RepairOptions, commands: Commands, rate: float = 0) -> None:
    """What a person reads: how much, what became of it and why, what to do next. `rate` is how often a server is asked a
    second; 0 is as often as can be.
    """
    if report.records and report.applied:
        _show_done(report, options, commands)
    elif report.records:
        _show_intended(report, options, commands, rate)
    elif report.resting or report.not_taken:
        _show_resting(report, commands)
    else:
        result.print("Nothing that was deferred is due." if options.deferred else "[green]Nothing is broken.[/]")


def _show_intended(report: RepairReport, options: RepairOptions, commands: Commands, rate: float) -> None:
    result.print(f"{count(report.records, 'record')} broken.")
    for source, words in SOURCES.items():
        if found := report.plan[source]:
            by_others = _BY_OTHERS.get(options.engine) if source in ("origin", "page") else None
            result.print(f"{found:>9,} {by_others or words}")
    if options.engine is Engine.DIRECT and report.hosts:
        ((domain, most),) = report.hosts.most_common(1)
        if (seconds := most / rate if rate else 0) >= _TELLING_S:
            result.print(
                f"{most:,} of them are of {escape(domain)}, and a server is asked {rate:g} times a second at most: that alone "
                f"takes {span(seconds)}, and two or three times that where pictures have moved and it is asked where to."
            )
    _show_resting(report, commands)
    result.print(f"Record by record: [command]{escape(commands.show)}[/]")
    for reason in report.mass_loss:
        result.print(f"[bold red]{escape(reason)}[/]")
    if report.mass_loss:
        result.print("Is everything mounted that should be, and is it the right storage? With --apply this stops.")
        result.print("Nothing was changed. If the files really are gone:")
        result.print(f"  [command]{escape(commands.without_limit)}[/]")
    elif set(report.plan) == {"none"}:
        result.print("Nothing of this can be mended as it is. What can be done is told there, too.")
    elif report.barred is not None:
        result.print(
            f"Nothing was changed. With the rights that are missing (above): [command]{escape(commands.again)}[/]"
        )
    else:
        result.print(f"Nothing was changed. Next: [command]{escape(commands.again)}[/]")


def _show_done(report: RepairReport, options: RepairOptions, commands: Commands) -> None:
    if report.lost_local:
        verb = "is" if report.lost_local == 1 else "are"
        result.print(f"[bold red]{count(report.lost_local, 'record')} of your own users {verb} still broken:[/]")
        for line in own_lines(report.names, report.own, report.lost_local, f"{commands.show} --local --limit 0"):
            result.print(line)
        backup = (
            "What the backup has of them, and what"
            if options.backups
            else "A backup may have them (repair --from DIR). What"
        )
        result.print(f"{backup} you can tell them stands in:")
        result.print(f"  [command]{escape(commands.show)} --local[/]\n")
    for line in reason_lines(report.reasons, has_backup=bool(options.backups)):
        result.print(line)
    mended = report.outcomes[Outcome.RESTORED] + report.outcomes[Outcome.REFRESHED]
    result.print(
        f"\n[bold]{mended:,} of {count(report.records, 'record')} mended[/], {size(report.bytes)} written. "
        f"({report.duration_s:.1f} s{', since it went on' if report.resumed else ''})"
    )
    _show_resting(report, commands)
    if report.reversible:
        result.print(f"To take this back: [command]{escape(commands.undo)}[/]")
    result.print(f"Record by record: [command]{escape(commands.show)}[/]")
    if report.outcomes[Outcome.DEFERRED]:
        result.print(f"{count(report.outcomes[Outcome.DEFERRED], 'record')} may succeed later; when they are due:")
        result.print(f"  [command]{escape(commands.later)}[/]")
    left = [outcome.value for outcome in (Outcome.GONE, Outcome.LOST, Outcome.REFUSED) if report.outcomes[outcome]]
    if left:
        only = " ".join(f"--outcome {outcome}" for outcome in left)
        result.print(f"What stays broken, and why: [command]{escape(f'{commands.show} {only}')}[/]")


def reason_lines(reasons: Mapping[tuple[Outcome, str], int], *, has_backup: bool = False) -> Iterator[str]:
    """What became of records, and why, in words; the best first. `has_backup`: one was looked into."""
    widest = max((len(f"{n:,}") for n in reasons.values()), default=0)
    for (outcome, reason), n in sorted(reasons.items(), key=lambda item: (list(Outcome).index(item[0][0]), -item[1])):
        style = "green" if outcome in (Outcome.RESTORED, Outcome.REFRESHED) else "yellow"
        words = Reason(reason).words if reason in {one.value for one in Reason} else reason
        if has_backup and reason == Reason.LOCAL:
            words = "a file of one of your own users, and that backup does not have it"
        yield f"{n:>{widest},} [{style}]{outcome.value.replace('_', ' ')}[/]: {escape(words)}"


def _show_resting(report: RepairReport, commands: Commands) -> None:
    if report.resting:
        what = count(report.resting, "record")
        said = "is" if report.resting == 1 else "are"
        result.print(
            f"{what} {said} not asked for again yet: gone at the origin, of no use when asked, or to be waited for."
        )
        again = commands.without_limit if report.mass_loss else commands.again
        which = " ".join(f"--outcome {one}" for one in ("gone", "refused", "deferred", "lost"))
        result.print(f"   Among these: [command]{escape(f'{commands.findings} {which}')}[/]")
        result.print(f"   To ask all the same: [command]{escape(f'{again} --again')}[/]")
    if report.not_taken:
        result.print(f"{count(report.not_taken, 'more broken record')} are left for the next run (--limit).")
