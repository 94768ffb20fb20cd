"""The workers' part of `doctor`: whether Mastodon's Redis answers, and whether somebody eats its jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mastomend.commands.doctor_report import DoctorReport, told
from mastomend.commands.instance import Instance
from mastomend.database.reader import MastodonDatabase
from mastomend.jobs.connection import connect, speaking
from mastomend.jobs.liveness import look
from mastomend.mastodon.configuration import redis_group

#: Seconds a job may wait before it is worth a word.
_LATE_S = 300.0


def look_at_redis(
    instance: Instance, database: MastodonDatabase | None, report: DoctorReport, now: Callable[[], datetime]
) -> None:
    before_4_3 = database is not None and database.version.number < (4, 3)
    application = redis_group(instance.variables, "")
    jobs, cache = (
        redis_group(instance.variables, prefix, application, before_4_3=before_4_3) for prefix in ("SIDEKIQ_", "CACHE_")
    )
    for name, settings in (("application", application), ("cache", cache)):
        with told(report, "Redis", name), speaking("Redis"):
            connect(settings).ping()
            report.good("Redis", name, "it answers")
    with told(report, "Sidekiq", "workers"):
        alive = look(jobs, now().timestamp())
        if not alive.started:
            how = "docker compose ps sidekiq" if instance.env is None else "systemctl status mastodon-sidekiq"
            report.bad("Sidekiq", "workers", "no process tells that it is alive", how)
        else:
            report.good("Sidekiq", "workers", f"{len(alive.started)} alive")
        late = {name: one for name, one in alive.queues.items() if one[1] > _LATE_S}
        for name, (waiting, seconds) in late.items():
            report.advised(
                "Sidekiq", f"queue {name}", f"{waiting:,} jobs wait, the first for {seconds / 60:.0f} min",
                "Leave it alone until it has caught up; repair --engine sidekiq would add to it." if name == "pull" else "",
            )  # fmt: skip
        if alive.queues and not late:
            report.good(
                "Sidekiq", "queues", f"{sum(one[0] for one in alive.queues.values()):,} jobs wait, none for long"
            )
