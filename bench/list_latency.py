"""Listing a bucket whose every page takes a while: one connection, and ranges over many, in the same run.

    python bench/list_latency.py [--keys 1000000] [--latency-ms 50] [--connections 32]

The floor is pages × latency ÷ connections; what the same client needs at zero latency is shown beside it. "Blind" knows
nothing of what is in the bucket: its ranges come from splitting alone.
"""

from __future__ import annotations

import argparse
import math
import time
from urllib.request import urlopen

from arro3.core import RecordBatch
from measure import report
from slow_bucket import PAGE, PREFIX, key, slow_bucket

from mastomend.mastodon.storage_settings import S3Storage
from mastomend.mastodon.values import Secret
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ranges import cut, list_in_ranges


def listed(endpoint: str, keys: int, connections: int, bounds: list[str]) -> tuple[float, int]:
    """Seconds, and requests as the server counted them."""
    store = S3ObjectStore(
        S3Storage("b", "us-east-1", endpoint, False, "id", Secret("x"), None, None, "", 5, 30, 15_000_000)
    )
    started = time.perf_counter()
    events = list_in_ranges(store, cut(PREFIX, bounds), connections)
    found = sum(event.num_rows for event in events if isinstance(event, RecordBatch))
    seconds = time.perf_counter() - started
    store.close()
    assert found == keys, found
    asked = int(urlopen(f"{endpoint}/requests").read())
    assert asked == store.requests.list, (asked, store.requests.list)
    return seconds, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    keys, many, latency = arguments.keys, arguments.connections, arguments.latency_ms
    quantiles = [key(n * keys // many) for n in range(1, many)]
    rows: list[dict[str, object]] = []
    seconds = {}
    for who, milliseconds, connections, bounds in (
        ("one connection", latency, 1, []),
        ("ranges", latency, many, quantiles),
        ("blind", latency, many, []),
        ("ranges", 0.0, many, quantiles),
    ):
        with slow_bucket(keys, milliseconds) as endpoint:
            seconds[who, milliseconds], requests = listed(endpoint, keys, connections, bounds)
        rows.append(
            {
                "who": who,
                "latency ms": milliseconds,
                "connections": connections,
                "seconds": round(seconds[who, milliseconds], 2),
                "keys/s": round(keys / seconds[who, milliseconds]),
                "requests": requests,
            }
        )
    floor = math.ceil(keys / PAGE) * latency / 1000 / many
    ranges, bare = seconds["ranges", latency], seconds["ranges", 0.0]
    facts = {
        "floor_s": round(floor, 2),
        "times_one_connection": round(seconds["one connection", latency] / ranges, 1),
        "over_the_larger_of_floor_and_zero_latency": round(ranges / max(floor, bare), 2),
    }
    report("list_latency", rows, **vars(arguments), **facts)
    print(facts)


if __name__ == "__main__":
    main()
