"""Ten million expected files against ten million held, within the memory budget of a small server.

    python bench/join_10m.py [--files 10000000] [--memory-mib 512]

Each row is a process of its own, which makes rows and objects (both already as a check keeps them) and then does what a
check does with them: counts, cuts, the join, and all candidates read back in order. Once a thousandth is missing, once
everything is. "Small" is the same with a tenth of the files: memory must not grow with them. The last rows are what `usage`
does with as many: sorts out strays, joins, and sums up in every way it shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from measure import report, run

from mastomend.inventory import held, reconcile, strays, usage
from mastomend.inventory.confirm import candidate_batches
from mastomend.inventory.expected import expected
from mastomend.inventory.scan import Inventory
from mastomend.inventory.workspace import MEBIBYTE, workspace
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.selection import EVERYTHING


def join(files: int, memory_mib: int, missing_one_in: int) -> None:
    """One measured process; prints JSON."""
    with (
        tempfile.TemporaryDirectory(prefix="mm-bench-") as name,
        workspace(Path(name), memory_mib * MEBIBYTE, {}) as work,
    ):
        reconcile.create(work)
        held.create(work)
        (table,) = expected(work, [AVATARS], "")
        work.connection.execute(
            f"""CREATE TABLE rows_accounts AS SELECT {109_876_543_210_000_000} + n * 6553600007 AS id, true AS in_cache_0,
            substr(md5(n::VARCHAR), 1, 16) || '.png' AS file_name_0, NULL::VARCHAR AS content_type_0,
            1::BIGINT AS file_size_0 FROM range({files}) t(n)"""
        )
        work.connection.execute(
            f"INSERT INTO held SELECT md5_number(key), 1 FROM ({table.files()}) WHERE hash(id) % {missing_one_in} <> 0"
        )
        started = time.perf_counter()
        counted = table.count()[AVATARS].expected
        prefix = table.prefixes()[1]
        cuts = len(table.cuts(prefix, 32))
        reconcile.by_join([table], work)
        joined = time.perf_counter() - started
        candidates = sum(len(batch) for batch in candidate_batches(work.connection, AVATARS))
        assert counted == files and cuts == 31
        print(json.dumps({"joined": joined, "read": time.perf_counter() - started - joined, "candidates": candidates}))


def count(files: int, memory_mib: int) -> None:
    """One measured process: what `usage` does when everything is listed; prints JSON."""
    with (
        tempfile.TemporaryDirectory(prefix="mm-bench-") as name,
        workspace(Path(name), memory_mib * MEBIBYTE, {}) as work,
    ):
        strays.create(work)
        (table,) = expected(work, [AVATARS], "", described=True)
        work.connection.execute(
            f"""CREATE TABLE rows_accounts AS SELECT {109_876_543_210_000_000} + n * 6553600007 AS id, true AS in_cache_0,
            substr(md5(n::VARCHAR), 1, 16) || '.png' AS file_name_0, NULL::VARCHAR AS content_type_0, 1::BIGINT AS file_size_0,
            false AS is_local, 's' || n % 5000 || '.example' AS domain, n AS account, NULL::BIGINT AS status,
            1700000000 + n AS created, 1700000000 + n AS touched, 1700000000 + n AS updated_0, true AS fetchable_0
            FROM range({files}) t(n)"""
        )
        work.connection.execute(
            f"INSERT INTO objects SELECT key || CASE WHEN hash(id) % 100 = 0 THEN 'x' ELSE '' END, 1, 0 FROM ({table.files()})"
        )
        started = time.perf_counter()
        strays.sort_out(work, [table], "")
        inventory = Inventory(work, [table])
        usage.join(inventory, EVERYTHING, [AVATARS.name], None)
        held = usage.total(inventory).files
        usage.by_kind(inventory, [AVATARS.name], "", with_orphans=True)
        usage.by_domain(inventory, 10), usage.by_account(inventory, 10), usage.by_style(inventory)
        usage.by_age(inventory, 1_800_000_000), usage.apart(inventory, ""), usage.difference(inventory)
        assert held == files
        print(json.dumps({"joined": time.perf_counter() - started, "read": 0.0, "candidates": 0}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000_000)
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--missing-one-in", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--usage", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.usage:
        count(arguments.files, arguments.memory_mib)
        return
    if arguments.missing_one_in:
        join(arguments.files, arguments.memory_mib, arguments.missing_one_in)
        return
    rows: list[dict[str, object]] = []
    for files in (arguments.files // 10, arguments.files):
        for one_in in (1000, 1):
            command = [sys.executable, __file__, "--files", str(files), "--memory-mib", str(arguments.memory_mib)]
            done = run([*command, "--missing-one-in", str(one_in)])
            found = json.loads(done.out)
            rows.append(
                {
                    "files": f"{files:,}",
                    "missing": "everything" if one_in == 1 else "a thousandth",
                    "join s": round(found["joined"], 1),
                    "candidates read back s": round(found["read"], 1),
                    "candidates": found["candidates"],
                    "peak MB": round(done.peak / 1e6),
                }
            )
    for files in (arguments.files // 10, arguments.files):
        done = run(
            [sys.executable, __file__, "--files", str(files), "--memory-mib", str(arguments.memory_mib), "--usage"]
        )
        rows.append(
            {
                "files": f"{files:,}",
                "missing": "usage: sorted out, joined, summed up",
                "join s": round(json.loads(done.out)["joined"], 1),
                "candidates read back s": "",
                "candidates": "",
                "peak MB": round(done.peak / 1e6),
            }
        )
    report("join_10m", rows, files=arguments.files, memory_mib=arguments.memory_mib)


if __name__ == "__main__":
    main()
