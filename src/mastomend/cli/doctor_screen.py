"""What a person reads of a doctor's look: a line a thing, and what to do where it is not green."""

from __future__ import annotations

from mastomend.cli.output import count, escape, marked, result, with_guides
from mastomend.commands.doctor_report import DoctorReport, Health

#: A command of ours in an advice.
_MARKS = {
    Health.GOOD: "[green]good   [/]",
    Health.BAD: "[bold red]BAD    [/]",
    Health.ADVISED: "[yellow]advice [/]",
    Health.UNKNOWN: "?      ",
}


def show(report: DoctorReport, check: str, prefix: str, *, quiet: bool) -> None:
    """All lines by area; only what is wrong where one wants quiet. `prefix` is how a command of this instance begins."""
    area = ""
    for line in report.lines:
        if quiet and line.health is not Health.BAD:
            continue
        if line.area != area:
            area = line.area
            result.print(f"[bold]{escape(area)}[/]")
        result.print(f"  {_MARKS[line.health]}{escape(line.name)}: {escape(line.said)}")
        if line.advice:
            result.print(f"         → {marked(with_guides(line.advice), prefix)}")
        for statement in line.statements:
            result.print(f"         [command]{escape(statement)}[/]")
    bad, advised = report.number(Health.BAD), report.number(Health.ADVISED)
    if bad:
        result.print(
            f"[bold red]{count(bad, 'thing')} {'does' if bad == 1 else 'do'} not work.[/] ({report.duration_s:.1f} s)"
        )
        result.print("Next: what stands behind the arrows; then doctor again.")
    else:
        rest = f" {count(advised, 'piece')} of advice." if advised else ""
        result.print(f"[green]All that was looked at works.[/]{rest} Next: [command]{escape(check)}[/]")
