"""Other programs that read a stranger's file: bounded in time, processor time, memory and output, and out of others' way."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mastomend.images.decode import UnusableImage

_MEBIBYTE = 1024 * 1024
#: What ffmpeg needs for the largest film Mastodon takes, with its threads.
MEMORY = 3072 * _MEBIBYTE
_NICE = 10


def run(
    command: Sequence[str], *, seconds: int, output: int = _MEBIBYTE, memory: int = MEMORY
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end. `output` is how many bytes a file it writes may have.

    Raises:
        UnusableImage: `not_convertible`, it did not end in time.
    """
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with contextlib.suppress(OSError):  # it has ended already
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (output, output))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (2 * seconds, 2 * seconds))
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        try:
            said, complained = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise UnusableImage("not_convertible", f"{Path(command[0]).name} did not finish in {seconds} s") from None
    return subprocess.CompletedProcess(command, process.returncode, said, complained)
