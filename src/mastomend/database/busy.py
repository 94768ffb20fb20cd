"""Whether the database has enough to do without us: its replicas, and what others ask of it right now."""

from __future__ import annotations

import time
from collections.abc import Callable

from mastomend.database.reader import MastodonDatabase

#: A replica that is further behind is waited for, and statements of others that are more.
_LAG_S, _ACTIVE = 10.0, 8
_PATIENCE_S = 60.0


def rest(database: MastodonDatabase, took_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Leave the database to others for as long as the last work took (five seconds at most), then until its replicas are close
    and it is not busy, a minute at most.
    """
    sleep(min(took_s, 5.0))
    for _ in range(round(_PATIENCE_S)):
        if read_lag_s(database) < _LAG_S and read_active(database) <= _ACTIVE:
            return
        sleep(1.0)


def read_lag_s(database: MastodonDatabase) -> float:
    """How far the slowest replica is behind, in seconds; 0 if there is none, or this user may not see it."""
    rows = database.query("SELECT max(extract(epoch FROM replay_lag))::float8 AS lag FROM pg_stat_replication")
    return float(rows[0]["lag"] or 0.0) if rows else 0.0


def read_active(database: MastodonDatabase) -> int:
    """How many statements of others are under way in this database, of those this user may see."""
    rows = database.query(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
        "AND datname = current_database() AND backend_type = 'client backend' AND application_name NOT LIKE 'mastomend%%'"
    )
    return int(rows[0]["n"])
