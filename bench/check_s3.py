"""`check` of a bucket, the whole command, against what others need for the listing alone, on the same server in one run.

    python bench/check_s3.py [--objects 20000] [--keys 1000000] [--rounds 3] [--no-peers]

Two servers: SeaweedFS, a real object store, whose listing is bound by the server; and a flat one, simulated, that gives
a page as fast as it can be sent. Peers: `rclone lsf`, `s5cmd ls` and boto3's paginator, all over one connection. Ours
also reads the database, joins, and writes its report.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from measure import report, run
from slow_bucket import FIRST, STEP, key, slow_bucket

from mastomend.demo.instance import create_database
from mastomend.demo.services import S3Server, postgres, s3_server

BUCKET = "media"
_MEMORY = Path("/dev/shm")
BOTO = "import boto3,os,sys;c=boto3.client('s3',endpoint_url=sys.argv[1],region_name='us-east-1');" + (
    "print(sum(len(p.get('Contents',[])) for p in c.get_paginator('list_objects_v2').paginate(Bucket='media')))"
)


def database(socket_dir: str, name: str, accounts: int) -> None:
    create_database(socket_dir, name, "4.5")
    with psycopg.connect(host=socket_dir, user="postgres", dbname=name, autocommit=True) as db:
        db.execute(
            f"""INSERT INTO accounts (id, username, domain, uri, created_at, updated_at, avatar_remote_url,
                avatar_file_name, avatar_content_type, avatar_file_size, avatar_storage_schema_version)
            SELECT {FIRST} + n * {STEP}::int8, 'user' || n, 's' || n % 5000 || '.example', 'x:' || n, now(), now(), '',
                lpad(to_hex(n), 16, '0') || '.png', 'image/png', 1, 1 FROM generate_series(0, {accounts - 1}) n"""
        )
        db.execute("VACUUM ANALYZE accounts")


def program(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


@contextmanager
def seaweed(folder: Path, objects: int) -> Iterator[S3Server]:
    """A real server with that many objects, put there by s5cmd from memory, if the machine has a disk in memory."""
    with s3_server(folder / "seaweed") as server:
        server.client().create_bucket(Bucket=BUCKET)
        with tempfile.TemporaryDirectory(
            prefix="mm-tree-", dir=_MEMORY if _holds(_MEMORY, objects) else folder
        ) as name:
            for n in range(objects):
                path = Path(name, key(n))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
            command = [program("s5cmd"), "--endpoint-url", server.endpoint, "cp", f"{name}/", f"s3://{BUCKET}/"]
            subprocess.run(command, env=credentials(server), check=True, stdout=subprocess.DEVNULL)
        yield server


def _holds(memory: Path, objects: int) -> bool:
    """Whether that many files, each with its directories, fit there."""
    if not memory.is_dir():
        return False
    there = os.statvfs(memory)
    return there.f_bavail * there.f_frsize > objects * 16_384 and (not there.f_files or there.f_favail > objects * 4)


def credentials(server: S3Server) -> dict[str, str]:
    own = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
    remote = {
        "RCLONE_CONFIG_B_TYPE": "s3",
        "RCLONE_CONFIG_B_PROVIDER": "Other",
        "RCLONE_CONFIG_B_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_B_ENV_AUTH": "true",
        "RCLONE_CONFIG": "/dev/null",
    }
    return {**os.environ, **own, **remote, "AWS_REGION": "us-east-1"}


def measure(
    place: str, server: S3Server, folder: Path, socket_dir: str, objects: int, rounds: int, *, peers: bool
) -> list[dict[str, object]]:
    database(socket_dir, place, objects)
    env = folder / f"{place}.env"
    env.write_text(
        f"LOCAL_DOMAIN=bench.example\nDB_HOST={socket_dir}\nDB_USER=postgres\nDB_NAME={place}\nS3_ENABLED=true\n"
        f"S3_BUCKET={BUCKET}\nS3_ENDPOINT={server.endpoint}\nAWS_ACCESS_KEY_ID={server.access_key_id}\n"
        f"AWS_SECRET_ACCESS_KEY={server.secret_access_key}\n"
    )
    ours = [sys.executable, "-m", "mastomend", "--env", str(env), "--state", str(folder / f"state-{place}"), "check"]
    ours += ["accounts/avatars", "--json", "--list-concurrency"]
    others = {
        "rclone lsf": [program("rclone"), "lsf", "-R", "--files-only", "--fast-list", "--format", "ps", f"b:{BUCKET}"],
        "s5cmd ls": [program("s5cmd"), "--endpoint-url", server.endpoint, "ls", f"s3://{BUCKET}/*"],
        "boto3": [sys.executable, "-c", BOTO, server.endpoint],
    }
    commands = {**(others if peers else {}), "mastomend, 1 connection": [*ours, "1"], "mastomend, 32": [*ours, "32"]}
    times: dict[str, list[float]] = {who: [] for who in commands}
    peak = dict.fromkeys(commands, 0)
    for number in range(rounds + 1):  # the first, watched, warms the server
        for who, command in commands.items():
            done = run(command, memory=number == 0, env=credentials(server))
            peak[who] = max(peak[who], done.peak)
            if number or rounds == 0:
                times[who].append(done.seconds)
            found = objects
            if who.startswith("mastomend"):
                found = json.loads(done.out)["totals"]["files"]["present"]
            elif who == "boto3":
                found = int(done.out)
            else:
                found = done.out.count("\n")
            assert found == objects, (who, found)
    return [
        {
            "server": place,
            "objects": objects,
            "who": who,
            "seconds": round(statistics.median(found), 2),
            "objects/s": round(objects / statistics.median(found)),
            "peak MB": round(peak[who] / 1e6),
        }
        for who, found in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000, help="in SeaweedFS; 0 leaves it out")
    parser.add_argument("--keys", type=int, default=1_000_000, help="in the flat server; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    options = {"rounds": arguments.rounds, "peers": not arguments.no_peers}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-", dir="/var/tmp")))
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        if arguments.objects:
            with seaweed(folder, arguments.objects) as server:
                rows += measure("seaweedfs", server, folder, socket_dir, arguments.objects, **options)
        if arguments.keys:
            with slow_bucket(arguments.keys, 0) as endpoint:
                rows += measure(
                    "flat", S3Server(endpoint, "id", "secret"), folder, socket_dir, arguments.keys, **options
                )
    ratios = {}
    for place in dict.fromkeys(row["server"] for row in rows):
        seconds = {str(row["who"]): float(str(row["seconds"])) for row in rows if row["server"] == place}
        fastest = min((s for who, s in seconds.items() if not who.startswith("mastomend")), default=None)
        if fastest is not None:
            ratios[str(place)] = {
                who: round(fastest / s, 2) for who, s in seconds.items() if who.startswith("mastomend")
            }
    report("check_s3", rows, **vars(arguments), times_as_fast_as_the_fastest_peer=ratios)
    print(ratios)


if __name__ == "__main__":
    main()
