"""`prune` of many cached files: how long the plan takes, and how fast files go, against bare loops in the same run.

    python bench/prune.py [--files 1000000] [--evict 100000]

Half as many attachments as files, each with an original and a small picture; people here have favourited, answered and been
mentioned by some of them. The plan is a whole process: it reads the rows and all ties, looks up the size of every file, joins
and judges. Files go in a second process with `--apply --limit`; what it took longer than the plan is what letting go took.
The bare loop unlinks as many files of the same tree and removes the folders they leave, in Python, and does nothing else.
The statements that are asked for each batch are shown with PostgreSQL's plans.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing import Pool
from pathlib import Path

import psycopg
from measure import report, run

from mastomend.demo.instance import create_database
from mastomend.demo.services import postgres
from mastomend.mastodon.relationships import Of, of_these_sql, places

FIRST = 109_876_543_210_000_000
STEP = 6_553_600_007


def folder_of(root: str, n: int) -> str:
    text = f"{FIRST + n * STEP:018d}"
    return f"{root}/cache/media_attachments/files/{'/'.join(text[i : i + 3] for i in range(0, 18, 3))}"


def make_files(job: tuple[str, int, int]) -> None:
    root, start, stop = job
    for n in range(start, stop):
        for style in ("original", "small"):
            path = f"{folder_of(root, n)}/{style}"
            os.makedirs(path)
            with open(f"{path}/{n:016x}.png", "wb") as file:
                file.write(b"x" * 40)


#: Each post has one attachment; a fifth of them is tied to somebody here. What Mastodon indexes and is asked for is indexed.
SQL = """
INSERT INTO accounts (id, username, domain, uri, created_at, updated_at)
    SELECT n, 'u' || n, CASE WHEN n > 50 THEN 's' || n % 1000 || '.example' END, 'x:' || n, now(), now()
    FROM generate_series(1, 10000) n;
INSERT INTO statuses (id, account_id, uri, local, created_at, updated_at, conversation_id)
    SELECT {first} + n * {step}::int8, 51 + n % 9949, 'https://x/' || n, false, now() - interval '1 year', now(), n
    FROM generate_series(0, {last}) n;
INSERT INTO media_attachments (id, status_id, account_id, remote_url, file_file_name, file_content_type, file_file_size,
        file_storage_schema_version, type, processing, created_at, updated_at)
    SELECT {first} + n * {step}::int8, {first} + n * {step}::int8, 51 + n % 9949, 'https://x/m' || n,
        lpad(to_hex(n), 16, '0') || '.png', 'image/png', 40, 1, 0, 2, now() - interval '1 year', now() - interval '1 year'
    FROM generate_series(0, {last}) n;
INSERT INTO favourites (account_id, status_id, created_at, updated_at)
    SELECT 1 + n % 50, {first} + n * {step}::int8, now(), now() FROM generate_series(0, {last}, 10) n;
INSERT INTO favourites (account_id, status_id, created_at, updated_at)
    SELECT 51 + n % 9949, {first} + n * {step}::int8, now(), now() FROM generate_series(0, {last}, 2) n;
INSERT INTO statuses (account_id, in_reply_to_id, local, conversation_id, created_at, updated_at)
    SELECT 1 + n % 50, {first} + n * {step}::int8, true, n, now(), now() FROM generate_series(0, {last}, 20) n;
INSERT INTO mentions (account_id, status_id, created_at, updated_at)
    SELECT 1 + n % 50, {first} + n * {step}::int8, now(), now() FROM generate_series(5, {last}, 20) n;
INSERT INTO notifications (activity_id, activity_type, account_id, from_account_id, created_at, updated_at)
    SELECT id, 'Mention', account_id, 51, now(), now() FROM mentions;
CREATE INDEX ON notifications (activity_id, activity_type);
"""


def prepare(folder: Path, socket_dir: str, records: int) -> Path:
    create_database(socket_dir, "bench", "4.5")
    with psycopg.connect(host=socket_dir, user="postgres", dbname="bench", autocommit=True) as db:
        for statement in SQL.format(first=FIRST, step=STEP, last=records - 1).split(";\n"):
            if statement.strip():
                db.execute(statement.strip())
        db.execute("VACUUM ANALYZE")
    root, share = str(folder / "system"), -(-records // 64)
    with Pool() as pool:
        pool.map(make_files, [(root, i, min(i + share, records)) for i in range(0, records, share)])
    env = folder / ".env.production"
    env.write_text(
        f"LOCAL_DOMAIN=bench.example\nDB_HOST={socket_dir}\nDB_USER=postgres\nDB_NAME=bench\nREDIS_PORT=1\n"
        f"PAPERCLIP_ROOT_PATH={root}\n"
    )
    return env


def bare(paths: list[str], root: str) -> float:
    """Files a second of unlinking each, and removing the folders that are empty then."""
    started = time.perf_counter()
    for path in paths:
        os.unlink(path)
        folder = os.path.dirname(path)
        while folder != root:
            try:
                os.rmdir(folder)
            except OSError:
                break
            folder = os.path.dirname(folder)
    return len(paths) / (time.perf_counter() - started)


def left(dsn: str, root: str, most: int) -> list[str]:
    """Files of attachments that still have one, as many as were let go."""
    with psycopg.connect(dsn) as db:
        rows = db.execute(
            "SELECT file_file_name FROM media_attachments WHERE file_file_name IS NOT NULL ORDER BY id DESC LIMIT %s",
            [most // 2],
        ).fetchall()
    numbers = [int(name.split(".")[0], 16) for (name,) in rows]
    return [f"{folder_of(root, n)}/{style}/{n:016x}.png" for n in numbers for style in ("original", "small")]


def plans(dsn: str) -> dict[str, object]:
    """How PostgreSQL answers what is asked for each batch: which tables it reads whole, and how long it takes."""
    here = [place for place in places(Of.POST) if not place.once and "tagged_objects" not in place.needs]
    with psycopg.connect(dsn, autocommit=True) as db:
        ids = [row[0] for row in db.execute("SELECT status_id FROM media_attachments LIMIT 500")]
        text = "\n".join(row[0] for row in db.execute("EXPLAIN ANALYZE " + of_these_sql(here), [ids] * len(here)))
        whole = sorted(
            {line.split("Seq Scan on ")[1].split()[0] for line in text.splitlines() if "Seq Scan on " in line}
        )
        sizes = {
            row[0]: row[1] for row in db.execute("SELECT relname, reltuples::int8 FROM pg_class WHERE relkind = 'r'")
        }
    took = next(line.split(": ")[1] for line in text.splitlines() if line.startswith("Execution Time"))
    return {"batch of 500": took, "read whole": ", ".join(f"{t} ({max(sizes[t], 0):,} rows)" for t in whole) or "none"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--evict", type=int, default=100_000)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-", dir="/var/tmp")))
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        env = prepare(folder, socket_dir, arguments.files // 2)
        dsn = f"host={socket_dir} user=postgres dbname=bench"
        root = str(folder / "system")
        command = [
            sys.executable,
            "-m",
            "mastomend",
            "--env",
            str(env),
            "--state",
            str(folder / "state"),
            "prune",
            "--json",
        ]
        command += ["--attachments", "30d"]
        run(command)  # warm
        limit = ["--limit", str(arguments.evict // 2)]
        plan = run([*command, *limit])
        found = json.loads(plan.out)
        asked = plans(dsn)
        before = bare(left(dsn, root, arguments.evict), root)
        done = run([*command, *limit, "--apply", "--max-missing", "100%"])
        went = json.loads(done.out)
        assert went["records"] == arguments.evict // 2, went
        rate = went["files"] / max(done.seconds - plan.seconds, 0.001)
        loop = before
        rows: list[dict[str, object]] = [
            {
                "what": f"plan of {arguments.files:,} files",
                "seconds": round(plan.seconds, 1),
                "files/s": round(arguments.files / plan.seconds),
                "of the bare loop": "",
                "peak MB": round(plan.peak / 1e6),
            },
            {
                "what": "bare unlink and rmdir",
                "seconds": "",
                "files/s": round(loop),
                "of the bare loop": 1,
                "peak MB": "",
            },
            {
                "what": f"letting {went['files']:,} files go",
                "seconds": round(done.seconds - plan.seconds, 1),
                "files/s": round(rate),
                "of the bare loop": round(rate / loop, 2),
                "peak MB": round(done.peak / 1e6),
            },
        ]
        assert found["kept"], "somebody here cares for some of them"
    report("prune", rows, **vars(arguments), **asked)


if __name__ == "__main__":
    main()
