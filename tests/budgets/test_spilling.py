"""More than fits in memory is spilled, and nothing of it is left behind."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from mastomend.inventory.work_list import work_list
from mastomend.inventory.workspace import MEBIBYTE, scratch

pytestmark = pytest.mark.budget
AVATARS = "accounts/avatars"


def test_many_more_records_than_fit_are_listed_within_the_smallest_budget(tmp_path: Path) -> None:
    number = 3_000_000  # 75 MB of ids, hosts and positions, and as many again to sort them, in 64
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            f"""COPY (SELECT '{AVATARS}' AS kind, n AS id, 'original' AS style, 'missing' AS state, '' AS detail,
            'https://s' || n % 1000 || '.example/' || n AS remote_url FROM range({number}) t(n))
            TO '{tmp_path}/findings.parquet' (FORMAT parquet)"""
        )
    with work_list(tmp_path / "run", 0, tmp_path / "findings.parquet", [AVATARS]) as made:
        made.leave_out((AVATARS, n) for n in range(1000, number))
        assert len(made) == 1000
        assert {n for batch in made.batches([AVATARS]) for _, n, _ in batch} == set(range(1000))
    assert list((tmp_path / "run").iterdir()) == []


def test_more_than_the_budget_spills_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with scratch(tmp_path, 64 * MEBIBYTE) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT md5(n::VARCHAR) || md5((n + 1)::VARCHAR) AS x FROM range(3000000) r(n)"
        )
        ((n,),) = connection.execute("SELECT count(DISTINCT x) FROM t").fetchall()
        assert n == 3_000_000
        (spill,) = tmp_path.iterdir()
        assert list(spill.iterdir())
    assert list(tmp_path.iterdir()) == []
