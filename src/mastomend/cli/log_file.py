"""`--log-file`: everything a person is told, and each step, with the time."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from mastomend.errors import ConfigurationError

_log_file: TextIO | None = None


def open_log(path: Path) -> None:
    """From here on everything a person is told, and each step, is also written there, with the time.

    Raises:
        ConfigurationError: it cannot be written.
    """
    global _log_file
    try:
        _log_file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise ConfigurationError(f"The log file {path} cannot be written: {error.strerror}.") from None


def write_log(text: str) -> None:
    """A line in the log file, if there is one. That it cannot be written is no reason to stop."""
    if _log_file is not None:
        plain = " ".join(text.split())
        with contextlib.suppress(OSError):
            _log_file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {plain}\n")
