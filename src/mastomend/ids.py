"""Names of scans and runs: they sort by time, say when they began, and are unique."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

_FORM = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-z]+")


def new_id(now: datetime) -> str:
    """A name for a scan or a run that begins now."""
    return f"{now:{_FORM}}-{secrets.token_hex(2)}"


def moment_of(name: str) -> datetime | None:
    """When the scan or run of that name began; None where it is no such name."""
    found = _ID.fullmatch(name)
    try:
        return datetime.strptime(found[1], _FORM).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
