"""What a person reads of a move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mastomend.cli.output import NONE, command_line, count, escape, result, show_table, size
from mastomend.commands.migrate_report import SHOWN, MigrateReport, Step
from mastomend.plans.prices import dollars

#: So many problems are told one by one.
_FEW = 5
#: The steps that may be of some records only.
_SELECT = ("copy", "verify")


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next."""

    copy: str
    verify: str
    finish: str
    finish_now: str
    set_aside: str
    rollback: str
    check: str
    undo: str
    show: str
    vouched: str = ""
    unquarantine: str = ""
    verify_all: str = ""


def commands(
    given: tuple[Path | None, Path | None], where: list[str], kept: list[str], chosen: list[str], report: MigrateReport
) -> Commands:
    """The commands with what was given: the settings and the state directory, both ends, what a copy keeps to, a selection."""

    def step(name: str, *rest: str) -> str:
        return command_line(*given, " ".join(["migrate", name, *where, *(chosen if name in _SELECT else []), *rest]))

    return Commands(
        step("copy", *kept, "--apply"),
        step("verify"),
        step("finish"),
        step("finish", "--apply"),
        step("finish", "--apply", "--set-aside"),
        step("rollback", "--apply"),
        command_line(*given, "check"),
        command_line(*given, f"undo {report.run} --apply"),
        command_line(*given, f"show {report.run}"),
        step("finish", "--apply", "--set-aside", "--restarted"),
        command_line(*given, f"undo {report.waiting} --apply"),
        command_line(*given, " ".join(["migrate", "verify", *where])),
    )


def show(report: MigrateReport, commands: Commands, named: str) -> None:
    """What there is, what was done, what is wrong, and the one command to run next."""
    ends = (report.source, report.target)
    if report.step is Step.ROLLBACK:
        result.print(f"Back from {escape(ends[1])} to {escape(ends[0])}.")
    else:
        result.print(f"From {escape(ends[0])} to {escape(ends[1])}.")
    if not (report.applied and report.step is Step.COPY):
        _show_sides(report)
    for reason in report.stops:
        result.print(f"[bold red]{escape(reason)}[/]")
    _show_abilities(report)
    {
        Step.PLAN: _show_plan,
        Step.COPY: _show_copy,
        Step.VERIFY: _show_verify,
        Step.FINISH: _show_finish,
        Step.ROLLBACK: _show_rollback,
    }[report.step](report, commands, named)


def _show_sides(report: MigrateReport) -> None:
    rows = []
    for name, one in report.sides.items():
        if not one.expected:
            continue
        numbers = [one.alike.files, one.to_copy.files]
        cells = [f"{n:,}" if n else NONE for n in (*numbers, one.missing + one.unseen)]
        rows.append(([name, f"{one.expected:,}", cells[0], cells[1], size(one.to_copy.bytes), cells[2]], None))
    if rows:
        show_table(["kind", "expected", "there", "to copy", "bytes", "not seen"], rows)
    whole = report.all
    if whole.empty:
        verb = _is(whole.empty)
        result.print(f"{count(whole.empty, 'file')} {verb} empty where the media are, and {verb} moved as such.")
    if whole.differing and report.step is Step.ROLLBACK:
        verb = "stays" if whole.differing == 1 else "stay"
        result.print(
            f"{count(whole.differing, 'file')} of another size on the old side {verb} as {_it_is(whole.differing)}."
        )
    if whole.missing:
        result.print(
            f"{count(whole.missing, 'file')} {_is(whole.missing)} missing where the media are: a move does not mend that; "
            "check and repair do."
        )
    if whole.unseen:
        result.print(f"[bold red]{count(whole.unseen, 'file')} may not be looked at.[/] Of them nothing is known.")


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _it_is(n: int) -> str:
    return "it is" if n == 1 else "they are"


def _show_abilities(report: MigrateReport) -> None:
    for one in report.abilities:
        if one.works and report.step is not Step.PLAN:
            continue
        mark = {True: "[green]yes[/]", False: "[red]no[/] " if one.is_needed else "[yellow]no[/] ", None: "?  "}[
            one.works
        ]
        advice = f" {one.advice}" if one.advice and not one.works else ""
        result.print(f"  {mark} {escape(one.name)}: {escape(one.said)}.{escape(advice)}")


def _show_plan(report: MigrateReport, commands: Commands, named: str) -> None:
    goes, estimate = report.all.to_copy, report.estimate
    if report.evictable.files:
        result.print(
            f"{count(report.evictable.files, 'cached attachment')} ({size(report.evictable.bytes)}) would be let go instead."
        )
    if estimate is not None and goes.files:
        said = f"About {count(estimate.requests, 'request')}"
        if estimate.usd is not None:
            said += f" ({dollars(estimate.usd)})"
        if estimate.usd_month is not None and estimate.price is not None:
            said += f"; a month there then costs {dollars(estimate.usd_month)} ({estimate.price.name})"
        result.print(f"{escape(said)}.")
        if estimate.seconds is not None:
            result.print(f"It takes about {_time(estimate.seconds)} at the speed that was measured, or allowed.")
        elif not report.abilities:
            result.print("How long it takes, and what the target can do, only a try tells: --write-test.")
    result.print("Files that no record expects stay behind.")
    if report.stops:
        result.print("With --apply this stops.")
    elif goes.files:
        what = f"{count(goes.files, 'file')} ({size(goes.bytes)}) would be copied"
        result.print(f"{what}. Nothing was changed. Next: [command]{escape(commands.copy)}[/]")
    else:
        what = "What was selected" if report.is_selective else "All of it"
        result.print(f"[green]{what} is there.[/] Next: [command]{escape(commands.verify)}[/]")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_copied(report: MigrateReport) -> None:
    if report.evicted.files:
        went = f"{count(report.evicted.files, 'cached attachment')} let go[/], {size(report.evicted.bytes)}"
        result.print(
            f"[bold]{went}: deleted where they were; Mastodon fetches them again when somebody looks (run {report.pruned_by})."
        )
    result.print(
        f"[bold]{count(report.copied.files, 'file')} copied[/], {size(report.copied.bytes)}; "
        f"{count(report.all.alike.files, 'file')} had been there. ({report.duration_s:.1f} s)"
    )
    if report.hidden:
        result.print(f"{count(report.hidden, 'copy', 'copies')} of suspended accounts hidden from the public.")
    if report.skipped:
        result.print(f"{count(report.skipped, 'file')} changed meanwhile: the next pass sees what is left of them.")


def _show_problems(report: MigrateReport, commands: Commands) -> None:
    few = report.problems if report.wrong <= _FEW else report.problems[: _FEW - 2]
    if report.wrong > _FEW:
        for cause, n in report.causes.most_common(SHOWN):
            result.print(f"[red]{count(n, 'file')}[/]: {escape(cause)}")
        result.print("Such as:")
    for one in few:
        result.print(f"[red]{escape(one.key)}[/]: {escape(one.why)}")
    if report.failed:
        result.print(f"All that were not copied: [command]{escape(commands.show)}[/]")
    for said in report.uncertain:
        result.print(f"[yellow]{escape(said)}.[/]")


def _show_copy(report: MigrateReport, commands: Commands, named: str) -> None:
    if not report.applied:
        _show_plan(report, commands, named)
        return
    _show_copied(report)
    _show_problems(report, commands)
    if report.failed:
        result.print(f"Next: [command]{escape(commands.copy)}[/]")
        return
    if not report.evicted.files:
        result.print("Nothing was changed where they came from.")
    result.print("What comes in from now on the same command copies, in seconds.")
    result.print(f"Next: [command]{escape(commands.verify)}[/]")


def _show_proof(report: MigrateReport, commands: Commands) -> None:
    result.print(
        f"{count(report.verified, 'file')} there with the same size; of {report.read_back:,} of them all bytes were compared, "
        f"{report.asked:,} were asked for as the public: {report.seen:,} came as they should."
    )
    _show_problems(report, commands)


def _show_verify(report: MigrateReport, commands: Commands, named: str) -> None:
    _show_proof(report, commands)
    left = report.all.to_copy.files
    if left:
        result.print(f"{count(left, 'file')} still to be copied. Next: [command]{escape(commands.copy)}[/]")
    elif report.wrong:
        result.print(f"[bold red]{count(report.wrong, 'file')} not as it should be.[/]")
        result.print("What it means, and what helps: docs/how-to/move-to-a-bucket.md. Then verify again.")
        result.print(f"Next: [command]{escape(commands.verify)}[/]")
    elif report.is_selective:
        doubt = report.uncertain or report.all.unseen
        said = "Not all of what was selected is proven." if doubt else "[green]What was selected is there.[/]"
        result.print(f"{said} Next, all: [command]{escape(commands.verify_all)}[/]")
    elif report.uncertain or report.all.unseen:
        result.print(f"Not all of it is proven. Next: [command]{escape(commands.finish)}[/]")
    else:
        result.print(f"[green]All of it is there.[/] Next: [command]{escape(commands.finish)}[/]")


def _in_words(line: str, named: str) -> str:
    """What is to be done with a line; what is secret only its file has."""
    if line.startswith("-"):
        return f"remove {line[1:]}"
    return line if "=" in line else f"{line}: the line of {named}"


def _raw(line: str) -> None:
    """A line that is to be copied, in one piece whatever the terminal's width."""
    result.file.write(f"{line}\n")


def _show_lines(report: MigrateReport, named: str) -> None:
    if not report.lines:
        result.print("No line of .env.production has to change.")
        return
    result.print("In .env.production:")
    for line in report.lines:
        _raw(f"  {_in_words(line, named)}")
    result.print("Then restart Mastodon: systemctl restart mastodon-web mastodon-sidekiq mastodon-streaming")


def _show_end(report: MigrateReport, commands: Commands) -> None:
    """After the switch: what the last pass found."""
    _show_copied(report)
    _show_proof(report, commands)
    if report.still_missing:
        result.print(f"[bold red]{count(report.still_missing, 'file')} could not be copied.[/]")
    if report.quarantined.files:
        result.print(f"{count(report.quarantined.files, 'old file')} set aside, {size(report.quarantined.bytes)}.")
        result.print(f"cleanup removes them for good. To take this back: [command]{escape(commands.undo)}[/]")
    elif report.blocked:
        result.print("[bold red]Nothing was set aside: not all is proven.[/] Mend what is said above.")
        if report.uncertain and not (report.wrong or report.still_missing or report.failed):
            result.print(f"If Mastodon was restarted: [command]{escape(commands.vouched)}[/]")
        result.print(f"Next: [command]{escape(commands.finish_now)}[/]")
    elif report.wrong or report.still_missing or report.all.missing:
        result.print(f"Next, when that is mended: [command]{escape(commands.finish_now)}[/]")
    elif report.uncertain:
        result.print("All that could be looked at is there.")
        result.print(f"If Mastodon was restarted, the move is done. Next: [command]{escape(commands.check)}[/]")
    else:
        result.print(f"[green]The move is done.[/] See for yourself: [command]{escape(commands.check)}[/]")
        result.print(f"Old files on the disk, once you trust it: [command]{escape(commands.set_aside)}[/]")
    result.print(f"Back to the old storage: [command]{escape(commands.rollback)}[/]")


def _show_finish(report: MigrateReport, commands: Commands, named: str) -> None:
    if report.is_switched and report.applied:
        _show_end(report, commands)
        return
    if report.is_switched:
        result.print(f"Mastodon uses {escape(report.target)}. Next: [command]{escape(commands.finish_now)}[/]")
        return
    if report.applied:
        result.print("[yellow]--apply has nothing to do yet:[/] .env.production still names the old storage.")
    left = report.all.to_copy.files
    if left > max(_FEW, report.all.alike.files // 50):
        result.print(
            f"[bold red]{count(left, 'file')} still to be copied.[/] Next: [command]{escape(commands.copy)}[/]"
        )
        return
    if left:
        result.print(f"{count(left, 'file')} still to be copied; after the switch a last pass does that.")
    _show_lines(report, named)
    for name, text in (("nginx", report.nginx), ("Caddy", report.caddy)):
        if text:
            result.print(f"\nFor {name}:")
            for line in text.splitlines():
                _raw(f"  {line}" if line else "")
    if report.nginx:
        result.print("\nTry the web server's lines before you reload it: nginx -t && systemctl reload nginx")
    result.print(f"\nNothing was changed. Next, after the restart: [command]{escape(commands.finish_now)}[/]")


def _show_rollback(report: MigrateReport, commands: Commands, named: str) -> None:
    if report.applied:
        _show_copied(report)
        _show_problems(report, commands)
    elif report.all.to_copy.files:
        what = f"{count(report.all.to_copy.files, 'file')} ({size(report.all.to_copy.bytes)}) would be copied back"
        result.print(f"{what}. Nothing was changed. Next: [command]{escape(commands.rollback)}[/]")
    if report.waiting:
        result.print("Old files wait in the quarantine of that disk. Without a download they come back by:")
        result.print(f"  [command]{escape(commands.unquarantine)}[/]")
    if report.is_switched:
        _show_lines(report, named)
        result.print("What leads addresses of /system/ to the bucket in the web server must go again, too.")
        result.print(
            f"After the restart once more, for what came in meanwhile: [command]{escape(commands.rollback)}[/]"
        )
    elif report.applied or not report.all.to_copy.files:
        result.print(
            f"Mastodon uses the old storage, and all of it is there. Next: [command]{escape(commands.check)}[/]"
        )
