"""A move of very many files: how long `plan` takes, and a second pass that finds nothing to do.

    python bench/migrate.py [--files 1000000] [--bucket] [--dir /var/tmp] [--peer-seconds 900]

Half as many attachments as files, each with an original and a small picture, on a disk; the target is another disk that has all
of them, or with `--bucket` a bucket of SeaweedFS that our own `copy` fills. Every step is a whole process: rows are read, every
file is looked up on both sides, both are joined. Peers in the same run: rclone's dry run, which lists both sides, and, between
disks, a bare loop in Python that asks for both sizes of each file. `--dir /dev/shm` is what a machine does that has the
directories in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from check_s3 import BUCKET, credentials, program
from measure import report, run
from prune import prepare

from mastomend.demo.services import postgres, s3_server


def bare(source: Path, target: Path) -> float:
    """Files a second of a loop that looks both up."""
    started, number = time.perf_counter(), 0
    for folder, _, files in os.walk(source):
        other = str(target) + folder[len(str(source)) :]
        for name in files:
            assert os.stat(f"{folder}/{name}").st_size == os.stat(f"{other}/{name}").st_size
            number += 1
    return number / (time.perf_counter() - started)


def dry_run(source: Path, target: str, most_s: float, environment: dict[str, str]) -> float:
    """Seconds of rclone's dry run; it is ended after so many."""
    started = time.perf_counter()
    words = [program("rclone"), "copy", "--dry-run", "--size-only", "--fast-list", str(source), target]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL, timeout=most_s, env=environment)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--bucket", action="store_true")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--peer-seconds", type=float, default=900)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-", dir=arguments.dir)))
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        env = prepare(folder, socket_dir, arguments.files // 2)
        source, target = folder / "system", folder / "target"
        target.mkdir()
        to, environment = target, dict(os.environ)
        if arguments.bucket:
            server = stack.enter_context(s3_server(Path("/var/tmp") / folder.name))
            stack.callback(shutil.rmtree, Path("/var/tmp") / folder.name, ignore_errors=True)
            server.client().create_bucket(Bucket=BUCKET)
            to, environment = folder / "target.env", credentials(server)
            to.write_text(
                f"S3_ENABLED=true\nS3_BUCKET={BUCKET}\nS3_ENDPOINT={server.endpoint}\n"
                f"AWS_ACCESS_KEY_ID={server.access_key_id}\nAWS_SECRET_ACCESS_KEY={server.secret_access_key}\n"
            )
        command = [sys.executable, "-m", "mastomend", "--env", str(env), "--state", str(folder / "state"), "migrate"]
        ends = ["--to", str(to), "--json"]
        planned = run([*command, "plan", *ends])
        assert json.loads(planned.out)["to_copy"]["files"] == arguments.files
        if arguments.bucket:
            copied = run([*command, "copy", *ends, "--apply"])
            assert json.loads(copied.out)["copied"] == arguments.files
            print(f"copied in {copied.seconds:.0f} s", file=sys.stderr, flush=True)
        else:  # links, so that a million files are not written once more: what is compared is the same
            shutil.copytree(source, target, dirs_exist_ok=True, copy_function=os.link)
        passed = run([*command, "copy", *ends, "--apply"])
        told = json.loads(passed.out)
        assert (told["copied"], told["to_copy"]["files"]) == (0, 0), told
        print(f"plan {planned.seconds:.1f} s, second pass {passed.seconds:.1f} s", file=sys.stderr, flush=True)
        other = f"b:{BUCKET}" if arguments.bucket else str(target)
        peer = dry_run(source, other, arguments.peer_seconds, environment)
        loop = None if arguments.bucket else bare(source, target)
    rows: list[dict[str, object]] = [
        {"what": "plan", "seconds": round(planned.seconds, 1), "files/s": round(arguments.files / planned.seconds),
         "peak MB": round(planned.peak / 1e6)},
        {"what": "second pass, nothing to do", "seconds": round(passed.seconds, 1),
         "files/s": round(arguments.files / passed.seconds), "peak MB": round(passed.peak / 1e6)},
        {"what": "rclone's dry run" if peer < arguments.peer_seconds else "rclone's dry run, not finished",
         "seconds": round(peer, 1), "files/s": round(arguments.files / peer), "peak MB": ""},
    ]  # fmt: skip
    if loop is not None:
        rows.append(
            {"what": "a bare loop", "seconds": round(arguments.files / loop, 1), "files/s": round(loop), "peak MB": ""}
        )
    report("migrate", rows, **{**vars(arguments), "dir": str(arguments.dir)})


if __name__ == "__main__":
    main()
