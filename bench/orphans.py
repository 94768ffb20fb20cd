"""`orphans` of many files of which a tenth is nobody's, against tootctl's way in the same run, on a disk and in a bucket.

    python bench/orphans.py [--files 1000000] [--objects 20000] [--loop 20000]

tootctl's way (`media remove-orphans`) is a loop: it walks or lists, asks the database one question for each file, and
deletes at once what no row names. The loop looks at `--loop` files and is scaled up; nothing is deleted by it, so that ours
finds the same. Ours are three whole processes: a first scan, which only sees, a second one, and that with `--apply`, which
asks again, writes down and sets aside. Files a second are those looked at for a scan, and those moved for the quarantine, from
when the run began, its scan behind it, to the last change, as the journal has them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import psycopg
from check_local import prepare
from check_s3 import BUCKET, database, seaweed
from measure import Run, report, run
from psycopg.rows import tuple_row

from mastomend.demo.services import S3Server, postgres

#: The tool in two days: what the bench has just written is old enough then.
LATER = """
import sys, datetime as d
from mastomend.commands import orphans as o
real, later = o.orphans, d.timedelta(days=2)
o.orphans = lambda *a: real(*a, now=lambda: d.datetime.now(d.UTC) + later)
from mastomend.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def delete_rows(dsn: str) -> int:
    """Every tenth account goes, its files stay."""
    with psycopg.connect(dsn, autocommit=True) as db:
        gone = db.execute("DELETE FROM accounts WHERE hashtext(id::text) % 10 = 0").rowcount
        db.execute("VACUUM ANALYZE accounts")
        return gone


def on_disk(root: Path) -> Iterator[tuple[str, str]]:
    """Every file's column and path, in the order of a walk."""
    for folder, _, names in os.walk(root):
        for name in names:
            yield ("avatar" if "/avatars/" in folder else "header"), f"{folder}/{name}"


def in_bucket(server: S3Server) -> Iterator[tuple[str, str]]:
    for page in server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for one in page.get("Contents", []):
            yield "avatar", one["Key"]


def loop(dsn: str, files: Iterator[tuple[str, str]], most: int) -> float:
    """Files a second of one question for each."""
    started, looked, orphans = time.perf_counter(), 0, 0
    with psycopg.connect(dsn, autocommit=True, row_factory=tuple_row) as db:
        for column, path in files:
            parts = path.split("/")
            number = int("".join(parts[-8:-2]))
            row = db.execute(f"SELECT {column}_file_name FROM accounts WHERE id = %s", [number]).fetchone()
            orphans += row is None or row[0] != parts[-1]
            looked += 1
            if looked == most:
                break
    assert orphans
    return looked / (time.perf_counter() - started)


def ours(env: Path, *words: str) -> tuple[Run, dict[str, int]]:
    command = [sys.executable, "-c", LATER, "--env", str(env), "--state", str(env.parent / "state"), "orphans"]
    done = run([*command, "--json", *words])
    return done, json.loads(done.out)


def journaled(state: Path) -> float:
    """Seconds from when the newest run began, its scan behind it, to its last change."""
    with contextlib.closing(sqlite3.connect(f"file:{state / 'journal.sqlite3'}?mode=ro", uri=True)) as journal:
        sql = (
            "SELECT r.started_at, max(s.done_at) FROM runs r JOIN steps s ON s.run = r.id "
            "GROUP BY r.id ORDER BY r.id DESC LIMIT 1"
        )
        ((first, last),) = journal.execute(sql).fetchall()
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def measured(where: str, env: Path, files: int, loop_rate: float) -> list[dict[str, object]]:
    first, found = ours(env)
    second, ready = ours(env)
    third, moved = ours(env, "--apply")
    assert found["objects"] == ready["ready"] == moved["quarantined"], (found, ready, moved)
    moving = journaled(env.parent / "state")
    rows = [
        ("tootctl's way: one query a file", files / loop_rate, loop_rate, 0),
        ("first scan", first.seconds, files / first.seconds, first.peak),
        ("second scan", second.seconds, files / second.seconds, second.peak),
        (f"setting {moved['quarantined']:,} aside", moving, moved["quarantined"] / moving, third.peak),
    ]
    return [
        {
            "where": where,
            "what": what,
            "seconds": round(seconds, 1),
            "files/s": round(rate),
            "of tootctl's way": round(rate / loop_rate, 2),
            "peak MB": round(peak / 1e6) or "",
        }
        for what, seconds, rate, peak in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--loop", type=int, default=20_000)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-", dir="/var/tmp")))
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        disk = folder / "disk"
        disk.mkdir()
        prepare(disk, socket_dir, arguments.files // 2)
        dsn = f"host={socket_dir} user=postgres dbname=bench"
        delete_rows(dsn)
        rate = loop(dsn, on_disk(disk / "system"), arguments.loop)
        rows += measured("disk", disk / ".env.production", arguments.files, rate)
        if arguments.objects:
            server = stack.enter_context(seaweed(folder, arguments.objects))
            database(socket_dir, "bucket", arguments.objects)
            dsn = f"host={socket_dir} user=postgres dbname=bucket"
            delete_rows(dsn)
            env = folder / "bucket" / ".env.production"
            env.parent.mkdir()
            settings = (
                f"LOCAL_DOMAIN=bench.example\nDB_HOST={socket_dir}\nDB_USER=postgres\nDB_NAME=bucket\nS3_ENABLED=true\n"
            )
            settings += f"S3_BUCKET={BUCKET}\nS3_ENDPOINT={server.endpoint}\nS3_REGION=us-east-1\nS3_HOSTNAME=x\n"
            settings += f"AWS_ACCESS_KEY_ID={server.access_key_id}\nAWS_SECRET_ACCESS_KEY={server.secret_access_key}\n"
            env.write_text(settings)
            rate = loop(dsn, in_bucket(server), min(arguments.loop, arguments.objects))
            rows += measured("SeaweedFS", env, arguments.objects, rate)
    report("orphans", rows, **vars(arguments))


if __name__ == "__main__":
    main()
