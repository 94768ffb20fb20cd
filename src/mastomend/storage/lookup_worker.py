"""The process that looks up sizes on a local disk. Run by path with nothing but the standard library.

Looking up a path is a system call; Python threads would take turns at the interpreter's lock, so `lookup` starts one
such process per core. Protocol on stdin/stdout, all numbers 64 bits, native: a request is n, the length of the keys in
bytes, the keys, each with a zero byte behind it, and n expected sizes (-1: any size above 0 will do; -3: tell it). The
answer is a count and that many pairs of (index, size) for the keys that are *not* as expected; size -1 is missing, -2
unreadable.

A cold disk answers slowly, and then many questions must be in flight: when a look-up takes longer than a warm one
ever does, the next ones are spread over threads (the lock is released while the kernel waits).
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

MISSING, UNREADABLE, TELL = -1, -2, -3
KIND, REGULAR = 0o170000, 0o100000  # the bits of st_mode that say what sort of file it is
THREADS = 32
SAMPLE = 64
COLD_SECONDS = 40e-6  # mean of a sample; a warm look-up takes 3 to 10 µs


def size(key: bytes) -> int:
    """The size of a regular file, MISSING or UNREADABLE."""
    try:
        found = os.stat(key)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return MISSING if error.errno == 36 else UNREADABLE  # ENAMETOOLONG: no such file can exist
    return found.st_size if found.st_mode & KIND == REGULAR else MISSING


def plain(keys: list[bytes]) -> list[int]:
    """Sizes one after another."""
    look = os.stat
    found: list[int] = []
    add = found.append
    for key in keys:
        try:
            status = look(key)
            add(status.st_size if status.st_mode & KIND == REGULAR else MISSING)
        except (OSError, ValueError):
            add(size(key) if key else MISSING)
    return found


def sizes(keys: list[bytes], pool: list[ThreadPoolExecutor]) -> list[int]:
    """Sizes in order; goes parallel when the disk turns out to be cold."""
    answer: list[int] = []
    while len(answer) < len(keys):
        started = perf_counter()
        sample = keys[len(answer) : len(answer) + SAMPLE]
        answer += plain(sample)
        cold = (perf_counter() - started) / len(sample) > COLD_SECONDS
        rest = keys[len(answer) : len(answer) + SAMPLE * THREADS]
        if cold and rest:
            if not pool:
                pool.append(ThreadPoolExecutor(THREADS))
            share = max(1, len(rest) // (2 * THREADS))
            for part in pool[0].map(plain, [rest[i : i + share] for i in range(0, len(rest), share)]):
                answer += part
        else:
            answer += plain(rest)
    return answer


def different(found: list[int], expected: list[int]) -> array[int]:
    """Pairs of (index, size) where a size is not the expected one; -1 expects what is not empty, -3 is to be told."""
    pairs: array[int] = array("q")
    if found == expected and min(found, default=0) > 0:
        return pairs
    for index, (is_size, should) in enumerate(zip(found, expected)):
        if is_size < 0 or should == TELL or (is_size == 0 and should != 0) or (should >= 0 and is_size != should):
            pairs.extend((index, is_size))
    return pairs


def main(root: str) -> None:
    """Answer until stdin ends."""
    os.chdir(root)
    pool: list[ThreadPoolExecutor] = []
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(16):
        n, length = struct.unpack("=qq", header)
        keys = source.read(length).split(b"\0")
        keys.pop()  # what is behind the last zero
        expected = array("q", source.read(8 * n)).tolist()
        pairs = different(sizes(keys, pool), expected)
        sink.write(struct.pack("=q", len(pairs) // 2) + pairs.tobytes())
        sink.flush()


if __name__ == "__main__":
    main(sys.argv[1])
