"""The tool as from a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: What tests put where a password belongs.
SECRET = "hunter2-never-print-this"


def run(env: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The tool, as from a shell."""
    command = [sys.executable, "-m", "mastomend", "--env", str(env), "--state", str(env.parent / "state"), *arguments]
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**inherited, "HOME": str(env.parent), **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done
