"""`--textfile DIR`: what a check or a repair found, for node_exporter's textfile collector.

Each command has a file of its own, which is replaced at once: the collector never reads half of one. That a check did not end
shows in its time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mastomend.errors import ConfigurationError
from mastomend.outcomes import OF_RECORDS, UNDONE, Outcome
from mastomend.state_files import replace_text

if TYPE_CHECKING:
    from mastomend.commands.check_report import CheckReport
    from mastomend.commands.guard_report import GuardReport
    from mastomend.commands.repair_report import RepairReport

Textfile = Annotated[
    Path | None,
    typer.Option(
        "--textfile",
        metavar="DIR",
        help="Also write numbers there for Prometheus (textfile collector).",
        readable=False,
    ),
]


def usable(folder: Path | None, words: Sequence[str]) -> Path | None:
    """The folder, looked at before hours of work. `words` select records.

    Raises:
        ConfigurationError: nothing can be written there, or the numbers would not be those of the whole server.
    """
    if folder is not None and words:
        raise ConfigurationError("--textfile tells of the whole server.", hint="Leave out what selects records.")
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        if not folder.is_dir():
            what, help_ = (
                f"{folder} is no directory.",
                "--textfile names the collector's folder; make it first (install -d).",
            )
        else:
            what = f"This user may not write into {folder}."
            help_ = "As root: chgrp it to this user's group and chmod g+w, or setfacl -m u:USER:rwx."
        raise ConfigurationError(what, hint=help_)
    if folder is not None:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigurationError(f"Nothing can be written into {folder}: {error.strerror}.") from None
        if taken := next((one for one in folder.glob("mastomend_*.prom") if not one.is_file()), None):
            raise ConfigurationError(f"{taken} is no file.", hint="Its name is needed: put it elsewhere.")
    return folder


def of_check(folder: Path, domain: str, report: CheckReport) -> int:
    """The numbers of a check, as `mastomend_check.prom`; 1 if they cannot be written, which is said."""
    kinds = {kind.kind: kind for kind in report.kinds}
    numbers = [
        _metric("check_timestamp_seconds", "when the last check ended", {(): time.time()}),
        _metric("check_duration_seconds", "how long it took", {(): report.duration_s}),
        _metric("broken_records", "broken records", {(("kind", k),): v.records_broken for k, v in kinds.items()}),
        _metric(
            "broken_local_records",
            "those of them that belong to this server's own users",
            {(("kind", k),): v.records_broken_local for k, v in kinds.items()},
        ),
        _metric(
            "unseen_files", "files that could not be looked at", {(("kind", k),): v.unseen for k, v in kinds.items()}
        ),
        _metric(
            "new_records",
            "broken records no repair knows of yet",
            {(("kind", k),): v.records_broken - v.known.total() for k, v in kinds.items()},
        ),
        _metric(
            "known_records",
            "broken records by what became of them before",
            {
                (("kind", k), ("outcome", outcome.value)): v.known[outcome]
                for k, v in kinds.items()
                for outcome in UNDONE
            },
        ),
        _metric("mass_loss", "whether it looks like a disk that is not mounted", {(): int(bool(report.mass_loss))}),
    ]
    return _write(folder / "mastomend_check.prom", domain, numbers)


def of_repair(folder: Path, domain: str, report: RepairReport) -> int:
    """The numbers of a repair that was applied, as `mastomend_repair.prom`; as `of_check`."""
    numbers = [
        _metric("repair_timestamp_seconds", "when the last repair ended", {(): time.time()}),
        _metric("repair_duration_seconds", "how long it took", {(): report.duration_s}),
        _metric(
            "repair_records",
            "records of the last repair by outcome",
            {(("outcome", outcome.value),): report.outcomes[outcome] for outcome in Outcome if outcome in OF_RECORDS},
        ),
        _metric("repair_resting_records", "broken records that were not taken up", {(): report.resting}),
        _metric("repair_bytes", "bytes written", {(): report.bytes}),
    ]
    return _write(folder / "mastomend_repair.prom", domain, numbers)


def of_guard(folder: Path, domain: str, report: GuardReport) -> int:
    """The numbers of a guard, as `mastomend_guard.prom`; as `of_check`."""
    pruned = report.pruned
    went = 0 if pruned is None or not report.applied else pruned.evicted.bytes
    over = pruned.over if pruned else report.needed
    numbers = [
        _metric("guard_timestamp_seconds", "when the last guard ended", {(): time.time()}),
        _metric("guard_marks_passed", "marks of disk and bill that were passed", {(): len(report.passed)}),
        _metric("guard_warnings", "what a person should do something about", {(): len(report.warnings)}),
        _metric("guard_freed_bytes", "what was let go", {(): went}),
        _metric("guard_over_bytes", "what a budget is still exceeded by", {(): over}),
    ]
    if report.total is not None and report.free is not None:
        numbers.append(_metric("guard_disk_free_bytes", "free on the disk of the media", {(): report.free}))
        numbers.append(_metric("guard_disk_bytes", "of that size", {(): report.total}))
    if report.bytes_per_day is not None:
        numbers.append(_metric("guard_growth_bytes_per_day", "what the disk fills by", {(): report.bytes_per_day}))
    if report.usd_month is not None:
        numbers.append(_metric("guard_usd_month", "what a month costs", {(): report.usd_month}))
    return _write(folder / "mastomend_guard.prom", domain, numbers)


_Labels = tuple[tuple[str, str], ...]
_Metric = tuple[str, str, Mapping[_Labels, float]]


def _metric(name: str, meaning: str, values: Mapping[_Labels, float]) -> _Metric:
    return f"mastomend_{name}", meaning, values


def _lines(domain: str, metrics: list[_Metric]) -> Iterator[str]:
    for name, meaning, values in metrics:
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} gauge"
        for labels, value in sorted(values.items()):
            said = ",".join(f'{key}="{_escaped(text)}"' for key, text in (("domain", domain), *labels))
            yield f"{name}{{{said}}} {value:.3f}".removesuffix(".000")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _write(path: Path, domain: str, metrics: list[_Metric]) -> int:
    """What was done is told all the same."""
    from mastomend.cli.output import show_error

    try:
        replace_text(path, "\n".join(_lines(domain, metrics)) + "\n", 0o644)  # the collector is another user
    except OSError as error:
        show_error(ConfigurationError(f"{path} cannot be written: {error.strerror}.", hint="Look at what is there."))
        return 1
    return 0
