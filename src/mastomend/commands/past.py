"""Scans and runs that are over, by their names: in full, by how they begin, or `latest`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from mastomend.actions.journal import Journal, JournaledRun
from mastomend.actions.journal_file import journal_path
from mastomend.actions.ledger import Ledger
from mastomend.actions.lineage import Lineage
from mastomend.actions.owners import is_alive
from mastomend.commands.instance import Instance
from mastomend.commands.repair_report import OUTCOMES
from mastomend.errors import ConfigurationError
from mastomend.ids import chosen, moment_of
from mastomend.inventory.browse import Wanted, filled, number_of
from mastomend.outcomes import Outcome


def kept_findings(instance: Instance, name: str) -> tuple[str, Path]:
    """That scan's id and its findings.

    Raises:
        ConfigurationError: there is none of that name, or several may be meant.
    """
    scans = _kept(instance, "scans", "findings")
    _refuse_removed(name, scans, _journaled(instance))
    scan = chosen(name, scans, "scan", f"Scans are in {instance.state / 'scans'}.")
    return scan, scans[scan]


def refuse_empty(scan: str, path: Path, broken: int, budget: int) -> None:
    """Findings that hold nothing while something is broken are those of a scan that looked at less.

    Raises:
        ConfigurationError: they are.
    """
    if broken and not number_of(path, Wanted(), budget):
        raise ConfigurationError(
            f"The scan {scan} found nothing, but {broken:,} records are broken now.",
            hint="Leave out --scan, or name another one: it may have looked at less.",
        )


def either(
    instance: Instance, name: str, *, is_run: bool | None = None, of_records: bool = False, of_files: bool | None = True
) -> tuple[str, Path, bool]:
    """The scan or the run of that name, its report, and whether it is a run. `latest` is the report written last, of scans
    only or of runs that were applied only where `is_run` says so, or of both where `of_records` does; without `of_files` none
    of files nobody expects, and where that is None no other. A run that found nothing to do, as a timer's does most hours, is
    not meant, nor a look for files nobody expects that found none.

    Raises:
        ConfigurationError: as above.
    """
    _report_what_was_cut_off(instance)
    scans, runs = _kept(instance, "scans", "findings"), _kept(instance, "runs", "outcomes")
    strays = _kept(instance, "scans", "strays")
    where = f"Scans and runs are in {instance.state}."
    both = strays | scans | runs
    if name == "latest" and not both:
        where = "To look now: mastomend check"
    if of_files is None:
        some = strays
    elif of_records:
        some = scans | _applied(instance, runs)
    else:
        some = (both if of_files else scans | runs) if is_run is None else _applied(instance, runs) if is_run else scans
    if name == "latest" and some:
        newest = sorted(some, key=lambda one: some[one].stat().st_mtime_ns, reverse=True)
        first = next(filled(some[one] for one in newest if one not in scans), None)
        name = next((one for one in newest if one in scans or some[one] == first), newest[0])
    if name not in both and name in (journaled := _journaled(instance)):
        raise ConfigurationError(
            f"Run {name} has no report: {_why_none(name, journaled)}.", hint=f"What it did: mastomend history {name}"
        )
    _refuse_removed(name, some if name == "latest" else both, _journaled(instance))
    found = chosen(name, some if name == "latest" else both, "scan or run", where)
    return found, both[found], found in runs


def newer_check(instance: Instance, report: Path) -> str:
    """The newest check, if it is newer than that report; ''."""
    scans = _kept(instance, "scans", "findings")
    newest = max(scans, key=lambda one: scans[one].stat().st_mtime_ns, default="")
    return newest if newest and scans[newest].stat().st_mtime_ns > report.stat().st_mtime_ns else ""


def _report_what_was_cut_off(instance: Instance) -> None:
    """A report of each run that was cut off before it wrote one, out of the journal: what it has decided so far."""
    if not journal_path(instance.state).exists():
        return
    with contextlib.closing(Journal(instance.state)) as journal:
        for run in journal.runs():
            report = instance.state / "runs" / run.id / "outcomes.parquet"
            if run.finished_at is not None or run.command != "repair" or is_alive(instance.state, run.id):
                continue
            last = report.parent.stat().st_mtime if report.parent.exists() else 0.0
            rows = (done.row() for done in journal.outcomes(run.id))
            OUTCOMES.write(report, rows, instance.settings.memory_bytes // 4)
            began = datetime.fromisoformat(run.started_at).timestamp()
            for path in (report, report.parent):  # it is as old as what it tells
                os.utime(path, (max(last, began),) * 2)


def _why_none(name: str, runs: Mapping[str, JournaledRun]) -> str:
    if runs[name].undoes:
        return "it is an undo"
    if runs[name].command == "cleanup":
        return "it removed what was old"
    if runs[name].finished_at is None:
        return "it was cut off before it decided anything"
    later = _removed_by(name, runs)
    return (
        f"the cleanup {later} has removed it, as it was old" if later else "nothing was written down record by record"
    )


def _refuse_removed(name: str, known: Mapping[str, Path], runs: Mapping[str, JournaledRun]) -> None:
    """What a cleanup took is told from what never was."""
    if name not in known and not (name == "latest" and known) and (cleanup := _removed_by(name, runs)):
        what = "No scan or run is there" if name == "latest" else f"The scan {name} is not there"
        raise ConfigurationError(
            f"{what} any more: the cleanup {cleanup} has removed what was old.",
            hint="What is broken now: mastomend check",
        )


def _removed_by(name: str, runs: Mapping[str, JournaledRun]) -> str | None:
    """The cleanup that removed scans and reports after what that id is of was made."""
    if name != "latest" and moment_of(name) is None:
        return None
    cleanups = (one for one in runs.values() if one.command == "cleanup" and one.summary.get("reports", 1))
    return next((one.id for one in cleanups if name == "latest" or one.id > name), None)


def _applied(instance: Instance, runs: dict[str, Path]) -> dict[str, Path]:
    """Without dry runs, which have a report, and no outcomes in it."""
    applied = _journaled(instance)
    return {name: path for name, path in runs.items() if name in applied}


def _journaled(instance: Instance) -> dict[str, JournaledRun]:
    """Every run that may have changed something, by its id."""
    if not journal_path(instance.state).exists():
        return {}
    with contextlib.closing(Journal(instance.state)) as journal:
        return {run.id: run for run in journal.runs()}


def _kept(instance: Instance, folder: str, report: str) -> dict[str, Path]:
    return {one.parent.name: one for one in (instance.state / folder).glob(f"*/{report}.parquet")}


@contextlib.contextmanager
def kept_ledger(instance: Instance) -> Iterator[Ledger | None]:
    """What is known of broken records; None where no run has ever been."""
    if not journal_path(instance.state).exists():
        yield None
        return
    with contextlib.closing(Journal(instance.state)) as journal:
        yield Ledger(journal, instance.settings.deferral)


def of_other_runs(ledger: Ledger | None, wanted: Wanted, number: int) -> int:
    """How many more records are so since other runs, where only outcomes are chosen."""
    if ledger is None or wanted.kinds or wanted.reasons:
        return 0
    kept = {one.value: one for one in (Outcome.GONE, Outcome.REFUSED, Outcome.LOST, Outcome.DEFERRED)}
    return max(0, sum(ledger.number(kept[word]) for word in wanted.words if word in kept) - number)


def taken_back(instance: Instance, run: str) -> str:
    """The undo because of which not all is as that run left it, and how much is; empty if it stands, or was none."""
    if not journal_path(instance.state).exists():
        return ""
    with contextlib.closing(Journal(instance.state)) as journal:
        runs = journal.runs()
        later = Lineage(runs).overtaken_by(run) if run in {one.id for one in runs} else None
        left, changed = (journal.standing(run), journal.changed(run)) if later is not None else (0, 0)
    if later is None or left == changed:
        return ""
    return f"{later.id}, but for {left:,}" if left else later.id
