"""Putting many small pictures into a bucket, over many connections: our storage against rclone and s5cmd, same server.

    python bench/upload.py [--files 2000] [--kilobytes 30]

Ours writes each file as Mastodon would: content type, Cache-Control, ACL. For the move to an object store.
"""

from __future__ import annotations

import argparse
import mimetypes
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check_s3 import credentials, program
from measure import report
from slow_bucket import key

from mastomend.demo.services import s3_server
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.mastodon.values import Secret
from mastomend.storage.objects import S3ObjectStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--kilobytes", type=int, default=30)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    files, connections = arguments.files, arguments.connections
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as name, s3_server(Path(name) / "s3") as server:
        tree = Path(name) / "tree"
        for n in range(files):
            path = tree / key(n)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(arguments.kilobytes * 1000))
        client, env = server.client(), credentials(server)
        for bucket in ("rclone", "s5cmd", "mastomend"):
            client.create_bucket(Bucket=bucket)
        store = S3ObjectStore(
            S3Storage(
                "mastomend", "us-east-1", server.endpoint, False, server.access_key_id, Secret(server.secret_access_key),
                "public-read", None, "", 5, 30, 15_000_000,
            )
        )  # fmt: skip

        def ours() -> None:
            def put(n: int) -> None:
                store.put(Key(key(n)), tree / key(n), mimetypes.guess_type(key(n))[0] or "")

            with ThreadPoolExecutor(connections) as threads:
                list(threads.map(put, range(files)))

        rclone = [program("rclone"), "copy", "--transfers", str(connections), "--no-traverse", str(tree), "b:rclone"]
        s5cmd = [program("s5cmd"), "--numworkers", str(connections), "--endpoint-url", server.endpoint, "cp"]
        s5cmd += [f"{tree}/", "s3://s5cmd/"]
        rows: list[dict[str, object]] = []
        for who, work in (
            ("rclone", lambda: subprocess.run(rclone, env=env, check=True)),
            ("s5cmd", lambda: subprocess.run(s5cmd, env=env, check=True, stdout=subprocess.DEVNULL)),
            ("mastomend", ours),
        ):
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
            held = sum(page.get("KeyCount", 0) for page in client.get_paginator("list_objects_v2").paginate(Bucket=who))
            assert held == files, (who, held)
            rows.append({"who": who, "seconds": round(seconds, 2), "files/s": round(files / seconds)})
        store.close()
    fastest = min(float(str(row["seconds"])) for row in rows[:2])
    ratio = round(fastest / float(str(rows[2]["seconds"])), 2)
    report("upload", rows, **vars(arguments), times_as_fast_as_the_fastest_peer=ratio)


if __name__ == "__main__":
    main()
