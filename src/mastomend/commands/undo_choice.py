"""Which run an undo is about: by its name, or the newest that can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import takewhile
from pathlib import Path

from mastomend.actions.journal import Journal, JournaledRun
from mastomend.actions.lineage import Lineage
from mastomend.errors import ConfigurationError
from mastomend.ids import chosen
from mastomend.progress import Progress

#: What removes for good: there is nothing to take back.
_FOR_GOOD = ("cleanup",)


def find(journal: Journal, state: Path, run_id: str, *, apply: bool, progress: Progress) -> JournaledRun:
    """The run of that name: its id, a beginning of it, or `latest`; with `apply` what `latest` means must be plain.

    Raises:
        ConfigurationError: there is none, or nothing of it is as it left it.
    """
    runs = journal.runs()
    if run_id == "latest":
        run_id = _latest(journal, runs, apply=apply, progress=progress)
    if (
        run_id
        and run_id not in {r.id for r in runs}
        and any((state / kept / run_id).exists() for kept in ("scans", "runs"))
    ):
        raise ConfigurationError(f"{run_id} changed nothing: it was a check, or a run without --apply.")
    run_id = chosen(run_id, (r.id for r in runs), "run", "See them with: mastomend history")
    found = next(r for r in runs if r.id == run_id)
    lineage = Lineage(runs)
    later = lineage.overtaken_by(found.id)
    goes_on = later is not None and later.finished_at is None and later.undoes == found.id
    goes_on |= found.id in journal.unsettled()  # what it has done is known once that is settled
    if later is not None and not goes_on and journal.changed(found.id) and not journal.standing(found.id):
        how = "taken back already, by" if later.undoes == found.id else "overtaken by a later undo,"
        back = f"To take that one back: mastomend undo {later.id} --apply"
        if (purged := lineage.purged_by(later.id)) is not None:
            back = f"The files that one took away, cleanup {purged.id} has removed: they come back by a repair."
        raise ConfigurationError(
            f"Run {run_id} was {how} {later.id}.", hint=f"Older runs that still stand are in history. {back}"
        )
    return found


def _latest(journal: Journal, runs: Sequence[JournaledRun], *, apply: bool, progress: Progress) -> str:
    """The newest run that is no undo, or it would take back itself, and that changed something an undo takes back. With
    `apply` none newer that changed something is passed over: whoever means that one would take back another.
    """
    begun = set(journal.unsettled())  # cut off before it could be written down what was done: it is settled first
    some = [run for run in runs if not run.undoes and run.command not in _FOR_GOOD]
    passed = list(takewhile(lambda run: run.summary.get("reversible") == 0, _changing(journal, some, begun)))
    latest = next((r.id for r in _changing(journal, some, begun) if r.summary.get("reversible") != 0), None)
    stays = "What was brought back for your own users stays."
    if latest is None:
        own = f" {stays}" if passed else ""
        raise ConfigurationError(f"No run has changed anything here that could be taken back.{own}")
    if passed:
        said = f"Nothing is taken back of {passed[0].id}, the newest run that changed something. {stays}"
        if apply:
            raise ConfigurationError(said, hint=f"The one before, if you mean that: mastomend undo {latest} --apply")
        progress.note(f"{said} This is the one before.")
    return latest


def _changing(journal: Journal, runs: Iterable[JournaledRun], begun: Set[str]) -> Iterator[JournaledRun]:
    return (run for run in runs if run.id in begun or journal.changed(run.id))
