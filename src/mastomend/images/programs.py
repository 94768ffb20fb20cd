"""Other programs that read a stranger's file: bounded in time, processor time, memory and output, and out of others' way."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from mastomend.images.decode import UnusableImage
from mastomend.reasons import Reason

_MEBIBYTE = 1024 * 1024
#: What ffmpeg needs for the largest film Mastodon takes, with its threads.
MEMORY = 3072 * _MEBIBYTE
_NICE = 10
#: As much of what a program says is kept.
_WORDS = 4 * _MEBIBYTE


def guards(formats: str) -> list[str]:
    """What ffmpeg and ffprobe may open: local files of those formats, and nothing such a file leads to."""
    return ["-protocol_whitelist", "file", "-format_whitelist", formats]


def run(
    command: Sequence[str], *, seconds: int, output: int = _MEBIBYTE, memory: int = MEMORY
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end. `output` is how many bytes a file it writes may have.

    What it says goes into files, too: a program that complains without end fills a bounded file, not this process.

    Raises:
        UnusableImage: `not_convertible`, it did not end in time.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=complaints) as process:
            with contextlib.suppress(OSError):  # it has ended already
                written = max(output, _WORDS)
                resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (written, written))
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (2 * seconds, 2 * seconds))
                resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
            try:
                process.wait(timeout=seconds)
            except BaseException as error:
                process.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                name = Path(command[0]).name
                raise UnusableImage(Reason.NOT_CONVERTIBLE, f"{name} did not finish in {seconds} s") from None
        return subprocess.CompletedProcess(command, process.returncode, _words(said), _words(complaints))


def _words(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_WORDS)
