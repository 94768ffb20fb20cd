"""Who is left alone until a record is due, and what is our own affair."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mastomend.actions.deferral import Deferral
from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.outcomes import Deferred, Gone, Restored, Source, Verdict
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("verdict", "rests"),
    [
        (Deferred(Reason.SERVER_ERROR, "HTTP 503", Source.ORIGIN), True),
        (Deferred(Reason.DNS, "", Source.ORIGIN), True),
        (Gone(Reason.NOT_FOUND, "", Source.ORIGIN), True),
        (Deferred(Reason.QUEUE_FULL), False),
        (Deferred(Reason.INTERNAL_ERROR), False),
        (Deferred(Reason.IN_FLIGHT), False),
    ],
)
def test_only_others_are_left_alone(tmp_path: Path, verdict: Verdict, rests: bool) -> None:
    with contextlib.closing(Journal(tmp_path)) as journal:
        ledger = Ledger(journal, Deferral())
        row = RowOf("accounts/avatars", 7, file_name="a.png")
        ledger.settle(row, verdict, NOW)
        soon = NOW + timedelta(minutes=1)
        assert (7 in ledger.resting(row.kind, {7: "a.png"}, soon)) is rests
        assert ledger.resting(row.kind, {7: "another.png"}, soon) == {}, "what is known is of another file"
        ledger.settle(row, Restored(Reason.RESTORED), NOW)
        journal.commit()
        assert journal.query("SELECT count(*) AS n FROM ledger_files")[0]["n"] == 0
