"""Moving files to the quarantine: a run with its journal, its questions and its syncs, against a bare loop.

    python bench/set_aside.py [--files 10000] [--rounds 3]

The bare loop renames every file into one folder, removes the directories it leaves empty, upwards, and syncs the folder once
every thousand files: nothing is asked, nothing written down. Ours is `Run.execute` on a real PostgreSQL: whose each key is,
a journal entry synced before anything moves, the same renames, ticks and outcomes. Both work on equal trees with one directory
a file, as Mastodon's are, in turns. "One by one" is the same run a plan at a time. More than 1 is faster than the bare loop.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import report

from mastomend.actions.actions import QuarantineFile
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.actions.run import Run, run
from mastomend.commands.instance import open_instance
from mastomend.commands.parts import changing_parts, ground
from mastomend.demo.instance import SimulatedInstance, simulated_instance
from mastomend.demo.services import postgres
from mastomend.mastodon.keys import Key, partition
from mastomend.outcomes import SetAside
from mastomend.reasons import Reason
from mastomend.vocabulary import ObjectAt

ONE_BY_ONE = 200


def keys_of(count: int, first: int) -> list[Key]:
    return [Key(f"cache/accounts/avatars/{partition(first + 7_919 * n)}/original/{n:016x}.png") for n in range(count)]


def make(root: Path, keys: list[Key]) -> None:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1_000)
    os.sync()


def bare(root: Path, keys: list[Key]) -> float:
    aside = root / "aside"
    aside.mkdir()
    folder = os.open(aside, os.O_RDONLY)
    started = time.perf_counter()
    for n, key in enumerate(keys, 1):
        path = root / key
        path.rename(aside / str(n))
        above = path.parent
        with contextlib.suppress(OSError):
            while above != root:
                above.rmdir()
                above = above.parent
        if n % 1_000 == 0:
            os.fsync(folder)
    os.fsync(folder)
    seconds = time.perf_counter() - started
    os.close(folder)
    shutil.rmtree(aside)
    return seconds


@contextlib.contextmanager
def begun(simulated: SimulatedInstance, name: str) -> Iterator[Run]:
    instance = open_instance(simulated.env, simulated.state, {})
    with (
        ground(instance, name, print) as where,
        run(where, "bench", name, name) as made,
        changing_parts(instance) as parts,
    ):
        made.begin(parts.world())
        yield made


def plans(keys: list[Key], name: str) -> Iterator[Plan]:
    for key in keys:
        move = QuarantineFile(key, quarantine_key(name, key))
        yield Plan(ObjectAt(key), SetAside(Reason.EXPIRED, files=1), (move,), Rule.SET_ASIDE)


def ours(simulated: SimulatedInstance, keys: list[Key], name: str) -> float:
    with begun(simulated, name) as made:
        started = time.perf_counter()
        done = list(made.execute(plans(keys, name)))
        seconds = time.perf_counter() - started
    assert len(done) == len(keys) and all(isinstance(one.verdict, SetAside) for one in done)
    return seconds


def one_by_one(simulated: SimulatedInstance, keys: list[Key], name: str) -> float:
    with begun(simulated, name) as made:
        started = time.perf_counter()
        for plan in plans(keys, name):
            made.close(made.change(plan))
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    loops, runs = [], []
    with (
        tempfile.TemporaryDirectory(prefix="mm-bench-", dir="/var/tmp") as folder,
        postgres(Path(folder) / "postgres") as socket_dir,
        simulated_instance(Path(folder) / "instance", socket_dir, "4.5") as made,
    ):
        media = made.folder / "public/system"
        media.mkdir(parents=True, exist_ok=True)
        for number in range(arguments.rounds):
            keys = keys_of(arguments.files, 109_876_543_210_000_000 + number)
            make(media, keys)
            loops.append(arguments.files / bare(media, keys))
            make(media, keys)
            runs.append(arguments.files / ours(made, keys, f"round-{number}"))
        few = keys_of(ONE_BY_ONE, 109_876_543_210_500_000)
        make(media, few)
        single = ONE_BY_ONE / one_by_one(made, few, "single")
    loop, ran = statistics.median(loops), statistics.median(runs)
    rows: list[dict[str, object]] = [
        {"who": who, "files/s": round(rate), "of the bare loop": round(rate / loop, 2)}
        for who, rate in (("bare loop", loop), ("a run, in batches", ran), ("a run, one by one", single))
    ]
    report("set_aside", rows, **vars(arguments), bare_loops=loops, runs=runs)


if __name__ == "__main__":
    main()
