"""`check` of many remote accounts with avatar and header on a local disk, against the naive loop in the same run.

    python bench/check_local.py [--accounts 200000] [--rounds 3] [--folder DIR]

Both are whole processes, from start to exit. Cold runs drop the kernel's caches first, where that is allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from multiprocessing import Pool
from pathlib import Path

import psycopg
from measure import drop_caches, report, run

from mastomend.demo.instance import create_database
from mastomend.demo.services import postgres

FIRST = 109_876_543_210_000_000
STEP = 6_553_600_007


def make_files(job: tuple[str, int, int]) -> None:
    root, start, stop = job
    for n in range(start, stop):
        text = f"{FIRST + n * STEP:018d}"
        parts = "/".join(text[i : i + 3] for i in range(0, 18, 3))
        for folder in ("avatars", "headers"):
            path = f"{root}/cache/accounts/{folder}/{parts}/original"
            os.makedirs(path, exist_ok=True)
            with open(f"{path}/{n:016x}.png", "wb") as file:
                file.write(b"x")


def prepare(folder: Path, socket_dir: str, accounts: int) -> None:
    create_database(socket_dir, "bench", "4.5")
    with psycopg.connect(host=socket_dir, user="postgres", dbname="bench", autocommit=True) as db:
        name = "lpad(to_hex(n), 16, '0') || '.png'"
        db.execute(
            f"""INSERT INTO accounts (id, username, domain, uri, created_at, updated_at, avatar_remote_url,
                header_remote_url, avatar_file_name, avatar_content_type, avatar_file_size,
                avatar_storage_schema_version, header_file_name, header_content_type, header_file_size,
                header_storage_schema_version)
            SELECT {FIRST} + n * {STEP}::int8, 'user' || n, 's' || n % 5000 || '.example', 'x:' || n, now(), now(),
                'https://s' || n % 5000 || '.example/avatars/' || n, 'https://s' || n % 5000 || '.example/headers/' || n,
                {name}, 'image/png', 1, 1, {name}, 'image/png', 1, 1 FROM generate_series(0, {accounts - 1}) n"""
        )
        db.execute("VACUUM ANALYZE accounts")
    root = folder / "system"
    share = -(-accounts // 64)
    with Pool() as pool:
        pool.map(make_files, [(str(root), i, min(i + share, accounts)) for i in range(0, accounts, share)])
    env = f"LOCAL_DOMAIN=bench.example\nDB_HOST={socket_dir}\nDB_USER=postgres\nDB_NAME=bench\nPAPERCLIP_ROOT_PATH={root}\n"
    (folder / ".env.production").write_text(env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-cold", action="store_true", help="leave the cold runs out; they take minutes")
    parser.add_argument("--folder", type=Path, help="keep the files there for the next time")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        if not (folder / ".env.production").exists():
            print(f"making {arguments.accounts:,} accounts and {2 * arguments.accounts:,} files …", file=sys.stderr)
            prepare(folder, socket_dir, arguments.accounts)
        measure(folder, socket_dir, arguments.rounds, arguments.accounts, cold_too=not arguments.no_cold)


def measure(folder: Path, socket_dir: str, rounds: int, accounts: int, *, cold_too: bool) -> None:
    here = Path(__file__).parent
    naive = [sys.executable, str(here / "naive_check.py"), socket_dir, str(folder / "system")]
    ours = [
        sys.executable,
        "-m",
        "mastomend",
        "--env",
        str(folder / ".env.production"),
        "--state",
        str(folder / "state"),
    ]
    ours += ["check", "accounts", "--json"]
    rows: list[dict[str, object]] = []
    ratios = {}
    for cold in (False, True) if cold_too else (False,):
        times: dict[str, list[float]] = {"naive": [], "mastomend": []}
        own: dict[str, list[float]] = {"naive": [], "mastomend": []}
        peaks = {"naive": 0, "mastomend": 0}
        if not cold:  # the first run warms the disk and is watched; the timed ones run undisturbed
            peaks = {"naive": run(naive).peak, "mastomend": run(ours).peak}
        for _ in range(rounds if not cold else 1):
            for name, command in (("naive", naive), ("mastomend", ours)):
                if cold and not drop_caches():
                    print("cold: skipped, this machine does not allow dropping caches")
                    return report("check_local", rows, accounts=accounts, ratios=ratios)
                done = run(command, memory=cold)
                out = done.out
                times[name].append(done.seconds)
                peaks[name] = max(peaks[name], done.peak)
                own[name].append(json.loads(out)["duration_s"] if name == "mastomend" else float(out.split()[2]))
                if name == "mastomend":
                    files = json.loads(out)["totals"]["files"]
                    assert files["expected"] == 2 * accounts == files["present"], files
                else:
                    assert out.split()[:2] == [str(2 * accounts), "0"], out
        disk = "cold" if cold else "warm"
        for name, found in times.items():
            seconds = statistics.median(found)
            rows.append(
                {
                    "disk": disk,
                    "who": name,
                    "seconds": round(seconds, 2),
                    "without start-up": round(statistics.median(own[name]), 2),
                    "files/s": round(2 * accounts / seconds),
                    "peak MB": round(peaks[name] / 1e6),
                }
            )
        whole, work = (
            round(statistics.median(t["naive"]) / statistics.median(t["mastomend"]), 2) for t in (times, own)
        )
        ratios[disk] = {"whole process": whole, "without start-up": work}
        row = {"disk": disk, "who": "ratio", "seconds": whole, "without start-up": work, "files/s": "", "peak MB": ""}
        rows.append(row)
    report("check_local", rows, accounts=accounts, ratios=ratios)
    return None


if __name__ == "__main__":
    main()
