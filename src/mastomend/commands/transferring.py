"""One pass of a move: both storages compared, and what the second lacks copied, as one journaled plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from mastomend.actions.actions import Transfer
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.run import Run, run
from mastomend.commands.hiding import hiding
from mastomend.commands.instance import Instance
from mastomend.commands.migrate_copy import Copier
from mastomend.commands.migrate_report import MigrateOptions, MigrateReport
from mastomend.commands.migration import Compared, Ends, compared
from mastomend.commands.parts import Parts, changing_parts, ground
from mastomend.commands.places import place_of, same_place
from mastomend.commands.repair_report import OUTCOMES
from mastomend.commands.scanning import Look
from mastomend.errors import SafetyStop
from mastomend.inventory import crossing
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage
from mastomend.outcomes import Copied, Restored
from mastomend.progress import Progress
from mastomend.reasons import Reason
from mastomend.storage.carrying import Pace
from mastomend.vocabulary import Done, ObjectAt

Clocks = tuple[Callable[[float], None], Callable[[], datetime]]


@dataclass(frozen=True, slots=True)
class Move:
    """What every step needs."""

    instance: Instance
    options: MigrateOptions
    both: Ends
    progress: Progress
    clocks: Clocks

    def begun(self, run_id: str, scan: str = "") -> MigrateReport:
        """An empty report of it."""
        both = self.both
        return MigrateReport(
            self.options.step,
            run_id,
            self.options.apply,
            scan,
            str(both.source),
            str(both.target.storage),
            both.is_switched,
            is_selective=self.options.is_selective,
        )

    @contextmanager
    def compared(
        self, source: Storage, target: Storage, report: MigrateReport, *, only_missing: bool = False
    ) -> Iterator[Compared]:
        """Both storages, compared; the report knows it. `only_missing`: what is there otherwise is to stay as it is."""
        options = self.options
        live = same_place(source, self.instance.configuration.storage)
        percent = (
            options.max_missing_percent if live else 100.0
        )  # what Mastodon does not use any more lacks what is new
        look = Look(
            "migrate", options.kinds, options.but_kinds, options.selection, weighed=True, described=True,
            connections=options.connections, resume=False,
        )  # fmt: skip
        ways = (source, target, look, percent, self.progress, self.clocks)
        with compared(self.instance, *ways, only_missing=only_missing) as found:
            report.scan, report.sides, report.stops = found.scan.begun.scan, found.sides, found.stops
            yield found


@contextmanager
def changing(move: Move, new: str, goes_to: Storage, scope: str = "") -> Iterator[tuple[Parts, Run]]:
    """A run of that step, or of what `scope` says, and what it works with.

    Raises:
        SafetyStop: another changing run is under way.
    """
    instance, options = move.instance, move.options
    scope = scope or f"{options.step} {move.both.source} to {move.both.target.storage}"
    if options.is_selective:
        scope += f", {','.join((*options.kinds, *options.but_kinds))} of {options.selection}"
    with (
        ground(instance, new, move.progress.note, goes_to) as here,
        run(here, "migrate", scope, new) as current,
        changing_parts(instance, goes_to) as parts,
    ):
        yield parts, current


def transfer(
    move: Move, parts: Parts, current: Run, report: MigrateReport, found: Compared, way: tuple[Storage, Storage]
) -> None:
    """Copy what the second storage of `way` lacks, as one journaled plan; what is to be hidden there is hidden first.

    Raises:
        SafetyStop: what is missing looks like a disk that is not mounted.
    """
    source, target = way
    if report.stops:
        raise SafetyStop(
            f"{' '.join(report.stops)} Nothing was copied.",
            hint="Mount what is missing. If the files really are gone: --max-missing 100%.",
        )
    pace = Pace(move.options.connections, move.options.bytes_per_s)
    prefixes = (source.key_prefix, target.key_prefix)
    copier = Copier(found.scan.database, found.source, found.target, prefixes, pace, report, move.progress)
    copier.is_to_disk = isinstance(target, FilesystemStorage)
    copier.path = found.scan.folder / "crossing.parquet"
    crossing.save(found.scan.inventory.work, copier.path, only_missing=found.only_missing)
    goes = found.all.to_copy
    current.begin(replace(parts.world(), carrier=copier), scan=report.scan, resumed_within_s=0.0)
    report.run = current.id
    _hide(current, found, target, report)
    move.progress.start("copying", goes.files)
    subject = ObjectAt(Key(str(target)))
    if goes.files:
        action = Transfer(place_of(source), place_of(target), goes.files, goes.bytes)
        planned = Copied(Reason.COPIED, files=goes.files, bytes=goes.bytes)
        done = current.change(Plan(subject, planned, (action,), Rule.TRANSFER))
        told = Copied(Reason.COPIED, files=report.copied.files, bytes=report.copied.bytes)
        current.close(Done(subject, told if isinstance(done.verdict, Copied) else done.verdict))
    if copier.trouble:
        report.report = move.instance.state / "runs" / current.id / "outcomes.parquet"
        OUTCOMES.write(report.report, copier.trouble, move.instance.settings.memory_bytes // 4)
    current.summary = {
        "copied": report.copied.files, "bytes": report.copied.bytes, "hidden": report.hidden, "failed": report.failed,
        "to": str(target),
    }  # fmt: skip


def _hide(current: Run, found: Compared, target: Storage, report: MigrateReport) -> None:
    for done in current.execute(hiding(found.scan.database, found.target, target)):
        if isinstance(done.verdict, Restored):
            report.hidden += done.verdict.files
        else:
            report.tell(str(done.subject), f"still public: {done.verdict.detail}")
