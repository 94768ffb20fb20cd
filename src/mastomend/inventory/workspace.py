"""DuckDB within a memory budget: the engine of the join, spilling to the state directory's disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from mastomend.errors import JournalError

MEBIBYTE = 1024 * 1024
#: What the interpreter, the drivers and the look-up processes need beside DuckDB.
_OVERHEAD = 96 * MEBIBYTE
_SMALLEST = 64 * MEBIBYTE


def default_budget() -> int:
    """Bytes: a quarter of the machine's memory, at most 1 GiB."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine // 4, 1024 * MEBIBYTE)


@contextmanager
def workspace(folder: Path, budget: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that lives as long as the scan, in `folder/work`, which is removed at the end."""
    work = folder / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(work / "join.duckdb"))
    except OSError as error:
        raise JournalError(
            f"The state directory {folder} cannot be written: {error.strerror}.", hint="Use --state DIR."
        ) from None
    try:
        connection.execute(f"SET memory_limit = '{max(budget - _OVERHEAD, _SMALLEST)}B'")
        connection.execute(f"SET temp_directory = '{str(work / 'spill').replace(chr(39), chr(39) * 2)}'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise JournalError(
            f"The scan does not fit: {str(error).splitlines()[0]}",
            hint="Raise `memory` in mastomend.toml, or free space where the state directory is.",
        ) from None
    except duckdb.IOException as error:
        raise JournalError(
            f"The state directory {folder} cannot be used: {str(error).splitlines()[0]}",
            hint="Is its disk full? Use --state DIR to put it elsewhere.",
        ) from None
    finally:
        connection.close()
        shutil.rmtree(work, ignore_errors=True)
