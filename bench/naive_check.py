"""The peer: one row and one look-up at a time, as the known console loop does it, over a server-side cursor."""

from __future__ import annotations

import os
import sys
import time

import psycopg


def partition(record_id: int) -> str:
    text = f"{record_id:018d}"
    return "/".join(text[i : i + 3] for i in range(0, 18, 3))


def main(socket_dir: str, root: str, limit: str = "ALL", offset: str = "0") -> None:
    missing = files = 0
    started = time.perf_counter()
    with psycopg.connect(host=socket_dir, user="postgres", dbname="bench") as db, db.cursor("accounts") as rows:
        rows.itersize = 2000
        rows.execute(f"SELECT id, avatar_file_name, header_file_name FROM accounts LIMIT {limit} OFFSET {offset}")
        for record_id, avatar, header in rows:
            for folder, name in (("avatars", avatar), ("headers", header)):
                files += 1
                try:
                    os.stat(f"{root}/cache/accounts/{folder}/{partition(record_id)}/original/{name}")
                except FileNotFoundError:
                    missing += 1
    print(files, missing, time.perf_counter() - started)


main(*sys.argv[1:])
