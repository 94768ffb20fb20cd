"""`prune --statuses`: posts from elsewhere that nobody here has touched, archived and deleted a hundred at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from mastomend.actions.actions import DeletePost
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.run import run
from mastomend.commands.instance import Instance
from mastomend.commands.parts import changing_parts, ground
from mastomend.commands.prune_report import PruneReport
from mastomend.commands.repair_report import OUTCOMES
from mastomend.commands.restoration import said_barred
from mastomend.database.posts import barred_from_posts
from mastomend.database.reader import MastodonDatabase
from mastomend.database.retention import read_retention
from mastomend.database.ties import needs_here
from mastomend.errors import ConfigurationError
from mastomend.ids import new_id
from mastomend.inventory.archived_posts import TOGETHER
from mastomend.inventory.evictions import Sum
from mastomend.inventory.keeping import Policy
from mastomend.inventory.untouched import Untouched, untouched
from mastomend.mastodon.posts_sql import NEEDS, first_id
from mastomend.mastodon.relationships import Of
from mastomend.outcomes import SetAside
from mastomend.progress import Progress, Silent
from mastomend.reasons import Reason
from mastomend.vocabulary import RowOf

#: The unit posts are told under.
STATUSES = "statuses"
#: Posts that are younger may still be answered by whoever sees them.
LEAST_AGE = timedelta(days=7)


def prune_posts(
    instance: Instance,
    age: timedelta,
    *,
    apply: bool,
    limit: int | None = None,
    progress: Progress = Silent(),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PruneReport:
    """Say how many would go, or with `apply` archive and delete them.

    Raises:
        ConfigurationError: the age is too short, or Mastodon's own retention would delete what is kept.
        SafetyStop: another changing run is under way. DatabaseError: nothing could be asked.
    """
    if age < LEAST_AGE:
        raise ConfigurationError("--statuses must be seven days at least.", hint="As in --statuses 90d.")
    clock, cut_off = time.monotonic(), first_id(now() - age)
    new = new_id(datetime.now(UTC))
    report = PruneReport(new, apply, "", Policy(), (STATUSES,))
    folder = instance.state / "runs" / new
    with MastodonDatabase(instance.configuration.database, "mastomend prune", note=progress.note) as database:
        _refuse(database)
        if (barred := barred_from_posts(database)) is not None:
            if apply:
                raise barred
            said_barred(barred, progress)
        progress.start("who cares for what", 0)
        with untouched(database, cut_off, folder, instance.settings.memory_bytes // 4) as found:
            report.by_unit = {STATUSES: (Sum(found.old), Sum(found.old - found.number), Sum(found.number))}
            report.limited = None if limit is None else Sum(min(limit, found.number))
            report.kept = {why: Sum(n) for why, n in found.kept.items()}
            if apply:
                _apply(instance, report, found, (cut_off, limit), progress)
    report.duration_s = time.monotonic() - clock
    return report


def _refuse(database: MastodonDatabase) -> None:
    needs = needs_here(database, [Of.POST])
    for table, columns in NEEDS.items():
        needs.setdefault(table, set()).update(columns)
    database.require(needs)
    if database.keeps_bytes:
        raise ConfigurationError(
            "This database checks no encoding (SQL_ASCII): what is in a post need not be text, and could not be archived.",
            hint="Convert the database to UTF8 first, or leave posts to tootctl.",
        )
    retention = read_retention(database)
    if retention.content is not None:
        raise ConfigurationError(
            f"Mastodon's own content cache retention is set: it deletes every post from elsewhere after {retention.content} "
            "days, also those that people here favourited, bookmarked or answered, and their own boosts with them. What is "
            "spared here would go there. (The media cache retention beside it deletes files only, and is no hindrance.)",
            hint="Empty that field: Administration, Server settings, Content retention.",
        )


def _apply(
    instance: Instance, report: PruneReport, found: Untouched, bounds: tuple[int, int | None], progress: Progress
) -> None:
    cut_off, limit = bounds
    with ground(instance, report.run, progress.note) as here, run(here, "prune", STATUSES, report.run) as current:
        with changing_parts(instance) as parts:
            current.begin(parts.world(), resumed_within_s=0.0)
            report.run = current.id
            progress.start("statuses", found.number if limit is None else min(limit, found.number))
            for _ in current.execute(_plans(found.ids(limit), current.id, cut_off)):
                progress.advance(1)
        for done in here.journal.outcomes(current.id):
            if isinstance(done.verdict, SetAside):
                report.evicted += Sum(1)
            else:
                report.count(done)
        report.report = instance.state / "runs" / current.id / "outcomes.parquet"
        budget = instance.settings.memory_bytes // 4
        OUTCOMES.write(report.report, (done.row() for done in here.journal.outcomes(current.id)), budget)
        current.summary = {"archived": report.evicted.records}


def _plans(ids: Iterator[int], run_id: str, cut_off: int) -> Iterator[Plan]:
    """A plan for each post; a file of the archive holds a hundred."""
    for number, post in enumerate(ids):
        archive = f"runs/{run_id}/statuses-{number // TOGETHER:06}.parquet"
        action = DeletePost(post, archive, cut_off)
        yield Plan(RowOf(STATUSES, post), SetAside(Reason.UNTOUCHED), (action,), Rule.SET_ASIDE)
