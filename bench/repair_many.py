"""`repair` of many broken avatars over many origins with latency, against the same fetches one after another.

    python bench/repair_many.py [--avatars 5000] [--hosts 200] [--latency-ms 20] [--rate 2]

Both fetch the same URLs from the same simulated servers. The peer fetches and writes one file after another, as the
console loop does; ours is the whole command, from start to exit: check, plans, journal, pictures, verification. Its
politeness per host is Mastomend's default (2 at once, 2 a second) unless --rate says otherwise. The limit is what that
politeness allows: so many requests at once in all, each as long as the latency. "Fair": when half of the pictures had been
asked for, how many of them the slowest and the fastest host had given.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from measure import report, run

from mastomend.demo.fediverse import Fediverse, fediverse
from mastomend.demo.instance import SimulatedInstance, simulated_instance
from mastomend.demo.pictures import picture
from mastomend.demo.services import postgres
from mastomend.remote.admission import Politeness

PICTURES = 50


def prepare(instance: SimulatedInstance, network: Fediverse, avatars: int, hosts: int, latency_s: float) -> list[str]:
    origins = [network.add(f"s{n}.example", delay_s=latency_s) for n in range(hosts)]
    pictures = [picture(n, 400, 400, "jpeg") for n in range(PICTURES)]
    urls = []
    for n in range(avatars):
        origin, data = origins[n % hosts], pictures[n % PICTURES]
        origin.files[f"/a{n}"] = data
        urls.append(origin.url(f"/a{n}"))
        instance.insert(
            "accounts",
            username=f"u{n}",
            domain=origin.domain,
            uri=f"x:{n}",
            avatar_remote_url=urls[-1],
            avatar_file_name=instance.name("jpeg"),
            avatar_content_type="image/jpeg",
            avatar_file_size=len(data),
            avatar_storage_schema_version=1,
        )
    (instance.folder / "public/system/cache").mkdir()
    return urls


def one_after_another(urls: list[str], folder: Path) -> float:
    started = time.perf_counter()
    for n, url in enumerate(urls):
        with urllib.request.urlopen(url, timeout=10) as response:
            (folder / f"{n}.jpeg").write_bytes(response.read())
    return time.perf_counter() - started


def fair(network: Fediverse, hosts: int) -> tuple[int, int]:
    """Requests of the host with the fewest and of the one with the most, when half of all were made."""
    asked = [request.host for request in sorted(network.requests, key=lambda r: r.at)]
    counts = Counter(asked[: len(asked) // 2])
    return (min(counts.values()) if len(counts) == hosts else 0), max(counts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=int, default=5_000)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--rate", type=float, default=2.0, help="requests per second and host; 0 is no limit")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every simulated server listens for itself
    with (
        tempfile.TemporaryDirectory(prefix="mm-bench-", dir="/var/tmp") as name,
        postgres(Path(name) / "postgres") as socket_dir,
        fediverse() as network,
        simulated_instance(Path(name) / "instance", socket_dir, "4.5") as instance,
    ):
        print(f"making {arguments.avatars:,} accounts on {arguments.hosts} servers …", file=sys.stderr)
        urls = prepare(instance, network, arguments.avatars, arguments.hosts, arguments.latency_ms / 1000)
        (instance.folder / "mastomend.toml").write_text(f"[politeness]\nrate = {arguments.rate}\n")
        peer_folder = Path(name) / "peer"
        peer_folder.mkdir()
        part = urls[: min(max(200, len(urls) // 10), 1_000)]
        peer = one_after_another(part, peer_folder) / len(part)
        network.requests.clear()
        command = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
        command += ["repair", "--apply", "--max-missing", "100%", "--json"]
        done = run(command)
        assert f'"restored": {arguments.avatars}' in done.out, done.out[:500]
        slowest, fastest = fair(network, arguments.hosts)
    politeness = Politeness()
    limit = politeness.concurrency / (arguments.latency_ms / 1000) if arguments.latency_ms else float("inf")
    if arguments.rate:
        limit = min(limit, arguments.hosts * arguments.rate)
    images_s = len(urls) / done.seconds
    rows: list[dict[str, object]] = [
        {"who": "one after another", "seconds": round(peer * len(urls), 1), "images/s": round(1 / peer, 1)},
        {"who": "mastomend", "seconds": round(done.seconds, 1), "images/s": round(images_s, 1)},
        {"who": "what politeness allows", "seconds": round(len(urls) / limit, 1), "images/s": round(limit, 1)},
    ]
    facts = {
        "times_one_after_another": round(peer * len(urls) / done.seconds, 2),
        "share_of_the_limit": round(images_s / limit, 2),
        "cpu_ms_per_image": round(1000 * done.cpu_s / len(urls), 2),
        "peak_mb": round(done.peak / 1e6),
        "mb_after_a_quarter_half_all": [round(done.memory_after(share) / 1e6) for share in (0.25, 0.5, 0.99)],
        "requests_of_slowest_and_fastest_host_at_half_time": [slowest, fastest],
    }
    report("repair_many", rows, **vars(arguments), peer_measured_on=len(part), **facts)
    print(facts)


if __name__ == "__main__":
    main()
