"""Whether the database has enough to do without us: its replicas, and what others ask of it right now."""

from __future__ import annotations

import time
from collections.abc import Callable

from mastomend.database.reader import MastodonDatabase

#: A replica that is further behind is waited for.
_LAG_S = 10.0
#: So many statements of others at once are busy; more where the database is made for more (a share of its connections).
_ACTIVE, _SHARE = 8, 0.1
_PATIENCE_S, _BUSY_S = 60, 10


def rest(database: MastodonDatabase, took_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Leave the database to others for as long as the last work took (five seconds at most), then until its replicas are close
    (a minute at most) and it is not busy (ten seconds at most: on a large server it may never be otherwise).
    """
    sleep(min(took_s, 5.0))
    for second in range(_PATIENCE_S):
        if read_lag_s(database) < _LAG_S and (second >= _BUSY_S or not _is_busy(database)):
            return
        sleep(1.0)


def _is_busy(database: MastodonDatabase) -> bool:
    (row,) = database.query("SELECT current_setting('max_connections')::int AS n")
    return read_active(database) > max(_ACTIVE, int(row["n"]) * _SHARE)


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
