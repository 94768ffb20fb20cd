"""`check` of many remote accounts with avatar and header on a local disk, against the naive loop in the same run.

    python bench/check_local.py [--accounts 200000] [--rounds 3] [--cold-accounts 20000] [--folder DIR]

Both are whole processes, from start to exit. The floor is a loop of `stat` in C over the same paths, a process per core
and nothing else. Cold runs drop the kernel's caches first, where that is allowed; there the naive loop looks at
`--cold-accounts` in a row only, because it would take a quarter of an hour for a million, and its seconds are scaled up.

A million accounts are ten million inodes: the kernel needs 16 GB to keep them, and prefers to keep the blocks they were
read from unless told otherwise (`sysctl vm.vfs_cache_pressure=1`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path

import psycopg
from measure import drop_caches, report, run

from mastomend.demo.instance import create_database
from mastomend.demo.services import postgres

#: Runs before the timed ones, at most: until one is no longer a tenth faster than the one before.
_WARMING = 6
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


def bare(folder: Path, accounts: int) -> float:
    """Seconds a loop in C needs for the same paths, a process per core; 0.0 without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return 0.0
    program = folder / "bare_stat"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("bare_stat.c")], check=True)
    cores = os.cpu_count() or 1
    share = -(-accounts // cores)
    running = []
    for start in range(0, accounts, share):
        paths = folder / f"paths-{start}"
        with paths.open("w") as file:
            for n in range(start, min(start + share, accounts)):
                text = f"{FIRST + n * STEP:018d}"
                parts = "/".join(text[i : i + 3] for i in range(0, 18, 3))
                for kind in ("avatars", "headers"):
                    file.write(f"cache/accounts/{kind}/{parts}/original/{n:016x}.png\0")
        running.append((paths, [program, folder / "system"]))
    processes = [
        subprocess.Popen(command, stdin=paths.open(), stdout=subprocess.PIPE, text=True) for paths, command in running
    ]
    answers = [process.communicate()[0].split() for process in processes]
    assert sum(int(answer[0]) for answer in answers) == 2 * accounts
    assert all(answer[1] == "0" for answer in answers)
    return max(float(answer[2]) for answer in answers)


@dataclass
class Times:
    """Wall seconds, and seconds without start-up, of the runs of one command; the largest memory seen."""

    whole: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    peak: int = 0

    def row(self, disk: str, who: str, files: int, scale: float = 1.0) -> dict[str, object]:
        seconds = statistics.median(self.whole) * scale
        return {
            "disk": disk,
            "who": who,
            "seconds": round(seconds, 2),
            "without start-up": round(statistics.median(self.own) * scale, 2),
            "files/s": round(files / seconds),
            "peak MB": round(self.peak / 1e6) or "",
        }


def ratio(disk: str, naive: Times, ours: Times, scale: float = 1.0) -> dict[str, object]:
    whole, own = (
        round(statistics.median(a) * scale / statistics.median(b), 2)
        for a, b in ((naive.whole, ours.whole), (naive.own, ours.own))
    )
    return {"disk": disk, "who": "ratio", "seconds": whole, "without start-up": own, "files/s": "", "peak MB": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cold-accounts", type=int, default=20_000, help="0 leaves the cold runs out; they take minutes"
    )
    parser.add_argument("--folder", type=Path, help="keep the files there for the next time")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        if not (folder / ".env.production").exists():
            print(f"making {arguments.accounts:,} accounts and {2 * arguments.accounts:,} files …", file=sys.stderr)
            prepare(folder, socket_dir, arguments.accounts)
        measure(folder, socket_dir, arguments.rounds, arguments.accounts, arguments.cold_accounts)


def measure(folder: Path, socket_dir: str, rounds: int, accounts: int, cold_accounts: int) -> None:
    files = 2 * accounts
    naive = [sys.executable, str(Path(__file__).with_name("naive_check.py")), socket_dir, str(folder / "system")]
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

    def look(command: list[str], times: Times, expected: int, *, memory: bool, count: bool = True) -> float:
        done = run(command, memory=memory)
        times.peak = max(times.peak, done.peak)
        if command is ours:
            found, own = json.loads(done.out)["totals"]["files"], json.loads(done.out)["duration_s"]
            assert found["expected"] == expected == found["present"], found
        else:
            looked, missing, own = done.out.split()
            assert (int(looked), int(missing)) == (expected, 0), done.out
        if count:
            times.whole.append(done.seconds)
            times.own.append(float(own))
        return done.seconds

    rows: list[dict[str, object]] = []
    if cold_accounts and drop_caches():
        cold_naive, cold_ours = Times(), Times()
        part = min(cold_accounts, accounts)
        somewhere = random.randrange(accounts - part + 1)  # what was read often may be cached below this machine
        look([*naive, str(part), str(somewhere)], cold_naive, 2 * part, memory=False)
        drop_caches()
        look(ours, cold_ours, files, memory=True)
        rows.append(cold_naive.row("cold", f"naive, from {part:,} accounts", files, accounts / part))
        rows.append(cold_ours.row("cold", "mastomend", files))
        rows.append(ratio("cold", cold_naive, cold_ours, accounts / part))
    elif cold_accounts:
        print("cold: skipped, this machine does not allow dropping caches")
    warm_naive, warm_ours, floor = Times(), Times(), []
    last = float("inf")
    for _ in range(_WARMING):  # these runs are watched; the timed ones run undisturbed
        seconds = look(ours, warm_ours, files, memory=True, count=False)
        print(f"warming: {seconds:.1f} s", file=sys.stderr)
        if seconds > 0.9 * last:
            break
        last = seconds
    for _ in range(rounds):
        look(ours, warm_ours, files, memory=False)
        look(naive, warm_naive, files, memory=False)
        floor.append(bare(folder, accounts))
    rows += [warm_naive.row("warm", "naive", files), warm_ours.row("warm", "mastomend", files)]
    rows.append(ratio("warm", warm_naive, warm_ours))
    if seconds := statistics.median(floor):
        bound = Times([seconds], [seconds])
        rows += [bound.row("warm", "stat in C, all cores", files), ratio("warm", bound, warm_ours)]
        rows[-1]["who"] = "floor / mastomend"
    report("check_local", rows, accounts=accounts)


if __name__ == "__main__":
    main()
