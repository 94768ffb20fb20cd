"""Changing one record, whatever its new bytes come from: look again, plan, run, verify.

Everything that is known about the record is a hint until `look_again` has read row and files once more, under the record's lock
and right before the change; what has changed meanwhile is a verdict, not an error. After the change the record is looked at
like a check would look at it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from mastomend.actions.actions import CopyFile, PutFile
from mastomend.actions.plan import Plan, changes_a_row
from mastomend.actions.run import BUSY, Run
from mastomend.database.rows import read_rows
from mastomend.images.decode import UnusableImage
from mastomend.images.ffmpeg_paths import find_ffprobe
from mastomend.inventory.deep import DeepReader
from mastomend.inventory.inspect import broken_files, target
from mastomend.inventory.sample import Sample
from mastomend.mastodon.jobs import media_lock
from mastomend.mastodon.keys import ORIGINAL
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS
from mastomend.outcomes import Deferred, Source, Verdict
from mastomend.plans.repair import Naming, Situation, plan_record, plan_stored, subject, untouchable
from mastomend.plans.reset import plan_reset
from mastomend.reasons import Reason
from mastomend.restore.case import Case, Fresh, Handed, Means, Offer, Received, Stored, StoredCopy
from mastomend.restore.policy import Policy
from mastomend.restore.told import told
from mastomend.restore.workshop import Scratch, Workshop, copying
from mastomend.vocabulary import Row, Target


class Changes:
    """Changes records, each under its lock; used from several threads. Without a run nothing can be changed. Close it."""

    def __init__(self, run: Run | None, means: Means, policy: Policy, workshop: Workshop) -> None:
        self._run = run
        self._means = means
        self._database, self._store = means.database, means.store
        self._key_prefix = means.key_prefix
        self._policy = policy
        self._workshop = workshop
        self.deep = DeepReader(means.store, Sample(), find_ffprobe(means.variables), lambda: None)

    def close(self) -> None:
        """Give back the threads."""
        self.deep.close()

    @contextlib.contextmanager
    def alone(self, t: Target) -> Iterator[bool]:
        """Whether that record is ours to look at and change: no other Mastomend does, until the block ends."""
        assert self._run is not None, "a dry run changes nothing"
        with self._run.locked(subject(t)) as free:
            yield free

    def install(self, case: Case, offer: Offer, source: Source) -> Verdict | None:
        """Take up what a source offers. None if the record is whole by now, or gone.

        Raises:
            UnusableImage: it is not what the record needs.
        """
        match offer:
            case Stored():
                return self._from_storage(case, offer.copies, source)
            case Received():
                return self._from_bytes(case, offer, source)
            case Handed():
                try:
                    return self._hand_over(case, offer, source)
                finally:
                    offer.end()
            case _:
                assert_never(offer)

    def _from_storage(self, case: Case, copies: Mapping[str, StoredCopy], source: Source) -> Verdict | None:
        """What is broken and was not found is made from the original."""
        t = case.target
        with Scratch() as scratch, self.alone(t) as free:
            if not free:
                return BUSY
            fresh = self.look_again(case, source)
            if not isinstance(fresh, Fresh):
                return fresh
            bad = {f.style for f in fresh.broken}
            writing = self._copied(t, copies, bad, scratch)
            missing = bad - writing.keys()
            if ORIGINAL in missing:
                return Deferred(Reason.ROW_CHANGED, "the files changed meanwhile")
            if missing:
                try:
                    writing |= self._workshop.derive(t, copies.get(ORIGINAL), missing, scratch)
                except UnusableImage:
                    if not writing:  # else what was found is restored all the same; the record then stays deferred
                        raise
                if not writing:
                    return Deferred(Reason.ROW_CHANGED, "the original is gone meanwhile")
            plan = plan_stored(t, source, writing, self._present(t), self._naming())
            return self._execute(plan, t, case)

    def _copied(
        self, t: Target, copies: Mapping[str, StoredCopy], bad: set[str], scratch: Scratch
    ) -> dict[str, PutFile | CopyFile]:
        for copy in copies.values():
            if copy.style in bad:
                self._workshop.examine(t.kind, copy)
        keys = {f.style: f.key for f in t.files}
        return {s: copying(copy, keys[s], t, self._store, scratch) for s, copy in copies.items() if s in bad}

    def _from_bytes(self, case: Case, received: Received, source: Source) -> Verdict | None:
        """Make the files from what was sent."""
        with Scratch() as scratch:
            made = self._workshop.make(case.target, received.data, source, received.url, scratch)
            with self.alone(case.target) as free, self._locked(case.target) as held:
                if not free:
                    return BUSY
                if not held:
                    return Deferred(Reason.IN_FLIGHT, "Mastodon is downloading it right now", source)
                fresh = self.look_again(case, source, fetched=True)
                if not isinstance(fresh, Fresh):
                    return fresh
                columns = fresh.target.row.columns
                situation = Situation(self._present(fresh.target), columns)
                plan = plan_record(fresh.target, fresh.broken, made, situation, self._naming())
                return self._execute(plan, fresh.target, case)

    def _hand_over(self, case: Case, handed: Handed, source: Source) -> Verdict | None:
        """Empty the record's columns and hand the job over."""
        assert self._run is not None, "a dry run changes nothing"
        with self.alone(case.target) as free:
            if not free:
                return BUSY
            fresh = self.look_again(case, source, fetched=True)
            if not isinstance(fresh, Fresh):
                return fresh
            t = fresh.target
            plan = plan_reset(t, t.row.columns, self._present(t), handed.job, handed.at, self._run.id, self._key_prefix)
            return self._run.change(plan).verdict

    def _locked(self, t: Target) -> contextlib.AbstractContextManager[bool]:
        """The lock Mastodon's media proxy takes, so that nothing is downloaded twice (facts §10)."""
        if t.kind not in (MEDIA_FILES, MEDIA_THUMBNAILS) or not self._means.caches_answer:
            return contextlib.nullcontext(True)
        return self._means.caches.lock(media_lock(t.row.record.id))

    def look_again(self, case: Case, source: Source, *, fetched: bool = False) -> Verdict | Fresh | None:
        """The record as it is now; a verdict if it must be left alone, None if it is whole or gone.

        `fetched`: strangers are asked for it, or were.
        """
        old = case.target
        row = read_rows(self._database, old.kind, [old.row.record.id], guarded=True).get(old.row.record.id)
        if row is None:
            return None
        t = target(old.kind, row, self._key_prefix)
        if row.in_flight or row.record != old.row.record:
            return Deferred(Reason.ROW_CHANGED, "Mastodon changed the record meanwhile", source)
        (broken,) = broken_files([t], self._store, self.deep, {(row.record.id, s) for s in case.corrupt})
        if not broken:
            return None
        if refused := untouchable(t, broken):
            return refused
        if fetched and (refused := self._policy.undownloadable(t)):
            return refused
        return Fresh(t, broken)

    def _naming(self) -> Naming:
        assert self._run is not None
        return Naming(self._run.id, self._key_prefix, secrets.token_hex(8), datetime.now(UTC))

    def _present(self, t: Target) -> dict[str, int]:
        """The record's keys that hold something, with their sizes."""
        sizes = self._store.sizes([f.key for f in t.files])
        return {str(f.key): n for f, n in zip(t.files, sizes, strict=True) if n >= 0}

    def _execute(self, plan: Plan, t: Target, case: Case) -> Verdict:
        assert self._run is not None, "a dry run changes nothing"
        verdict = self._run.change(
            replace(plan, actions=(*plan.actions, *told(plan, t, self._means, self._run.id)))
        ).verdict
        if verdict.outcome is not plan.verdict.outcome:
            return verdict
        row: Row | None = t.row  # read right before; unless we have changed it, it expects what it expected then
        if changes_a_row(plan.actions):
            row = read_rows(self._database, t.kind, [t.row.record.id]).get(t.row.record.id)
        if row is not None:
            styles = {(row.record.id, style) for style in case.corrupt}
            (still,) = broken_files([target(t.kind, row, self._key_prefix)], self._store, self.deep, styles)
            if still:
                said = f"{still[0].key} is {still[0].state}"
                return Deferred(Reason.VERIFY_FAILED, said, plan.verdict.source)
        return verdict
