"""Ten million broken records, as a repair keeps them: listed, half of them decided, taken up in order, reported.

    python bench/work_list.py [--records 10000000] [--hosts 5000] [--memory-mib 512]

Each row is a process of its own; "small" is the same with a tenth of the records: memory must not grow with them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
from measure import report, run

from mastomend.commands.repair_report import OUTCOMES, memory_for_records
from mastomend.inventory.work_list import work_list
from mastomend.inventory.workspace import MEBIBYTE
from mastomend.outcomes import Outcome, OutcomeRow

KIND = "accounts/avatars"


def findings(path: Path, records: int, hosts: int) -> None:
    """A scan's findings, made in a process of its own that does not count."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            f"""COPY (SELECT '{KIND}' AS kind, 109876543210000000 + n * 6553600007 AS id, 'original' AS style, '' AS detail,
            'missing' AS state, 'https://s' || n % {hosts} || '.example/avatars/' || md5(n::VARCHAR) AS remote_url
            FROM range({records}) t(n)) TO '{path}' (FORMAT parquet)"""
        )


def measure(folder: Path, records: int, memory_mib: int) -> None:
    """One measured process; prints JSON."""
    budget = memory_for_records(memory_mib * MEBIBYTE)
    started = time.perf_counter()
    with work_list(folder / "run", budget, folder / "findings.parquet", [KIND]) as work:
        listed = time.perf_counter() - started
        work.leave_out((KIND, 109876543210000000 + n * 6553600007) for n in range(0, records, 2))
        left_out = time.perf_counter() - started - listed

        def outcomes() -> Iterator[OutcomeRow]:
            for batch in work.batches([KIND]):
                for kind, record_id, _ in batch:
                    url = "https://s.example/avatars/0123456789abcdef"
                    yield OutcomeRow(kind, record_id, False, "s.example", url, Outcome.RESTORED, None, "", "", 1, 1)

        OUTCOMES.write(folder / "outcomes.parquet", outcomes(), budget)
        saved = time.perf_counter() - started - listed - left_out
    with duckdb.connect(":memory:") as connection:
        ((n,),) = connection.execute(f"SELECT count(*) FROM '{folder / 'outcomes.parquet'}'").fetchall()
    assert n == records // 2, Counter(kept=n)
    print(json.dumps({"listed": listed, "left out": left_out, "saved": saved}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--hosts", type=int, default=5_000)
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.records, arguments.memory_mib)
        return
    rows: list[dict[str, object]] = []
    for records in (arguments.records // 10, arguments.records):
        with tempfile.TemporaryDirectory(prefix="mm-bench-") as name:
            findings(Path(name) / "findings.parquet", records, arguments.hosts)
            command = [sys.executable, __file__, "--records", str(records), "--memory-mib", str(arguments.memory_mib)]
            done = run([*command, "--measure", name])
        found = json.loads(done.out)
        rows.append(
            {
                "records": f"{records:,}",
                "listed s": round(found["listed"], 1),
                "half left out s": round(found["left out"], 1),
                "taken up and reported s": round(found["saved"], 1),
                "peak MB": round(done.peak / 1e6),
            }
        )
    report("work_list", rows, memory_mib=arguments.memory_mib)


if __name__ == "__main__":
    main()
