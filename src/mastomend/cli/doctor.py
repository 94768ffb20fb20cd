"""`mastomend doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mastomend.cli import context as cli_context
from mastomend.cli.options import Json

if TYPE_CHECKING:
    from mastomend.commands.doctor_report import DoctorReport

EXAMPLES = """
Examples:
  mastomend doctor                    # looks, and never writes
  mastomend doctor --write-test       # also tries the storage with a few
                                      # objects that are removed again
  mastomend doctor --json             # for monitoring
"""


def doctor_command(
    ctx: typer.Context,
    write_test: Annotated[
        bool, typer.Option("--write-test", help="Also write a few objects to the storage, and remove them again.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what works, and what to do where it does not."""
    from mastomend.cli.doctor_screen import show
    from mastomend.cli.output import command_line, emit_json
    from mastomend.commands.doctor import doctor

    given = cli_context.options(ctx)
    with cli_context.watched(ctx, json=json) as observer:
        report = doctor(cli_context.instance(ctx), write_test=write_test, progress=observer)
    code = exit_code(report)
    if json:
        emit_json(document(report), code)
    elif not (given.quiet and code == 0):
        words = ("check", "")
        show(report, *(command_line(given.env, given.state, word) for word in words), quiet=given.quiet)
    return code


def exit_code(report: DoctorReport) -> int:
    """1 if something does not work."""
    from mastomend.commands.doctor_report import Health

    return 1 if report.number(Health.BAD) else 0


def document(report: DoctorReport) -> dict[str, Any]:
    """`doctor --json`."""
    from mastomend.commands.doctor_report import Health

    return {
        "command": "doctor",
        "domain": report.domain,
        "lines": [
            {
                "area": line.area,
                "name": line.name,
                "health": line.health.value,
                "said": line.said,
                "advice": line.advice,
                "statements": list(line.statements),
            }
            for line in report.lines
        ],
        **{health.value: report.number(health) for health in Health},
        "duration_s": round(report.duration_s, 3),
    }
