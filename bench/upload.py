"""Putting many small pictures and some large films into a bucket: our way of copying against rclone and s5cmd, same server.

    python bench/upload.py [--files 20000] [--kilobytes 30] [--large 20] [--megabytes 40]

Each is a process of its own, so that its memory can be told, over as many connections. Ours writes each file as Mastodon
would: content type, Cache-Control, ACL, and looks at what the server says it has got. The others set no headers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from check_s3 import credentials, program
from measure import report, run
from slow_bucket import key

from mastomend.demo.services import S3Server, s3_server
from mastomend.images.decode import sniff
from mastomend.mastodon.keys import Key
from mastomend.mastodon.storage_settings import S3Storage
from mastomend.mastodon.values import Secret
from mastomend.storage.carrying import Pace, Parcel, carry
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.objects import S3ObjectStore


def make(tree: Path, files: int, size: int) -> None:
    """Bytes that no proxy could compress, and that begin as a picture does."""
    body = bytearray(os.urandom(size))
    body[:8] = b"\x89PNG\r\n\x1a\n"
    for n in range(files):
        path = tree / key(n)
        path.parent.mkdir(parents=True, exist_ok=True)
        body[8:16] = n.to_bytes(8, "big")
        path.write_bytes(body)


def ours(tree: str, endpoint: str, bucket: str, names: tuple[str, str], connections: int) -> None:
    """What `migrate copy` does, without the database."""
    store = S3ObjectStore(
        S3Storage(
            bucket, "us-east-1", endpoint, False, names[0], Secret(names[1]), "public-read", None, "", 5, 30, 15_728_640
        )
    )  # fmt: skip
    source = FilesystemStore(tree)

    def parcels() -> Iterator[Parcel]:
        for folder, _, files in os.walk(tree):
            for name in files:
                path = f"{folder}/{name}"
                where = Key(os.path.relpath(path, tree))
                yield Parcel(where, where, os.stat(path).st_size)

    for done in carry(source, store, parcels(), lambda head, _: sniff(head) or "application/octet-stream",
                      Pace(connections)):  # fmt: skip
        assert done.trouble is None, done
    store.close()


def timed(command: list[str], env: dict[str, str]) -> tuple[float, int]:
    """Seconds and peak memory in MB of a process."""
    done = run(command, env=env)
    return done.seconds, round(done.peak / 1e6)


def measure(server: S3Server, tree: Path, files: int, size: int, connections: int, what: str) -> list[dict[str, Any]]:
    """One row for each of the three."""
    make(tree, files, size)
    client, env = server.client(), credentials(server)
    rows: list[dict[str, Any]] = []
    for who in ("rclone", "s5cmd", "mastomend"):
        bucket = f"{who}-{what}"
        client.create_bucket(Bucket=bucket)
        command = {
            "rclone": [program("rclone"), "copy", "--transfers", str(connections), "--no-traverse", str(tree), f"b:{bucket}"],
            "s5cmd": [program("s5cmd"), "--numworkers", str(connections), "--endpoint-url", server.endpoint, "cp",
                      f"{tree}/", f"s3://{bucket}/"],
            "mastomend": [sys.executable, __file__, "--ours", str(tree), server.endpoint, bucket, server.access_key_id,
                          server.secret_access_key, "--connections", str(connections)],
        }[who]  # fmt: skip
        seconds, memory = timed(command, env)
        held = sum(page.get("KeyCount", 0) for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket))
        assert held == files, (who, held)
        rows.append(
            {
                "what": what, "who": who, "seconds": round(seconds, 1), "files/s": round(files / seconds),
                "MB/s": round(files * size / seconds / 1e6), "peak MB": memory,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--kilobytes", type=int, default=30)
    parser.add_argument("--large", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--ours", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        tree, endpoint, bucket, *names = arguments.ours
        ours(tree, endpoint, bucket, (names[0], names[1]), arguments.connections)
        return
    connections = arguments.connections
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as name, s3_server(Path(name) / "s3") as server:
        folder = Path(name)
        rows = measure(server, folder / "small", arguments.files, arguments.kilobytes * 1000, connections, "small")
        rows += measure(
            server, folder / "large", arguments.large, arguments.megabytes * 1_000_000, connections, "large"
        )
    del arguments.ours
    ratios = {
        f"{what}: times as fast as {peer}": round(_seconds(rows, what, peer) / _seconds(rows, what, "mastomend"), 2)
        for what in ("small", "large")
        for peer in ("s5cmd", "rclone")
    }
    report("upload", rows, **vars(arguments), **ratios)


def _seconds(rows: list[dict[str, Any]], what: str, who: str) -> float:
    return next(float(row["seconds"]) for row in rows if (row["what"], row["who"]) == (what, who))


if __name__ == "__main__":
    main()
