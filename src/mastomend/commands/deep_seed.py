"""Where the last deep check stopped, so that the next one takes the next slice."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mastomend.errors import JournalError
from mastomend.state_files import private_file, private_folder

_NAME = "deep-seed"


def next_seed(state: Path) -> int:
    """A number one higher than the last time, kept in the state directory.

    Raises:
        JournalError: the state directory cannot be written.
    """
    file = state / _NAME
    last = -1
    with contextlib.suppress(FileNotFoundError, ValueError):  # the first time, or a file somebody damaged: start over
        last = int(file.read_text(encoding="ascii"))
    try:
        private_folder(state)
        with os.fdopen(private_file(file), "w", encoding="ascii") as opened:
            opened.truncate()
            opened.write(str(last + 1))
    except OSError as error:
        raise JournalError(f"{file} cannot be written: {error.strerror}.", hint="Use --state DIR.") from None
    return last + 1
