"""Listing a bucket whose every page takes a while: one connection, and ranges over many, in the same run.

    python bench/list_latency.py [--keys 200000] [--latency-ms 50] [--connections 32]

The floor is pages × latency ÷ connections; what the same client needs at zero latency is shown beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measure import report
from slow_bucket import PAGE, key

from mastomend.mastodon.configuration import S3Storage, Secret
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ranges import list_in_ranges


@contextlib.contextmanager
def bucket(keys: int, latency_ms: float) -> Iterator[S3ObjectStore]:
    command = [sys.executable, str(Path(__file__).with_name("slow_bucket.py")), str(keys), str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    settings = S3Storage(
        "b", "us-east-1", f"http://127.0.0.1:{port}", False, "id", Secret("x"), None, None, "", 5, 30, 0, 15_000_000
    )
    store = S3ObjectStore(settings)
    try:
        yield store
    finally:
        store.close()
        process.terminate()
        process.wait()


def measure(store: S3ObjectStore, keys: int, connections: int) -> tuple[float, int]:
    """Seconds and requests."""
    before = store.requests.list
    bounds = [key(n * keys // connections) for n in range(1, connections)]
    started = time.perf_counter()
    found = sum(len(chunk) for chunk in list_in_ranges(store, "cache/accounts/avatars/", bounds, connections))
    assert found == keys, found
    return time.perf_counter() - started, store.requests.list - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    keys, many = arguments.keys, arguments.connections
    rows: list[dict[str, object]] = []
    seconds = {}
    for latency, connections in ((arguments.latency_ms, 1), (arguments.latency_ms, many), (0.0, many)):
        with bucket(keys, latency) as store:
            seconds[latency, connections], requests = measure(store, keys, connections)
        rows.append(
            {
                "latency ms": latency,
                "connections": connections,
                "seconds": round(seconds[latency, connections], 2),
                "keys/s": round(keys / seconds[latency, connections]),
                "requests": requests,
            }
        )
    floor = math.ceil(keys / PAGE) * arguments.latency_ms / 1000 / many
    one, ranges, bare = seconds[arguments.latency_ms, 1], seconds[arguments.latency_ms, many], seconds[0.0, many]
    facts = {
        "floor_s": round(floor, 2),
        "times_one_connection": round(one / ranges, 1),
        "over_the_larger_of_floor_and_zero_latency": round(ranges / max(floor, bare), 2),
    }
    report("list_latency", rows, **vars(arguments), **facts)
    print(facts)


if __name__ == "__main__":
    main()
