"""Findings are kept in Parquet, one row each (product.md, `check --json`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mastomend.inventory.reports import Report
from mastomend.vocabulary import Finding

FINDINGS = Report(Finding, ("kind", "id", "style"))
#: How the detail of a file begins that is whole, and does not reach the public; the cause follows.
FROM_OUTSIDE = "public ("
#: Where a scan collects them.
TABLE = "findings"


def load(path: Path, kinds: Iterable[str] = ()) -> Iterator[Finding]:
    """Findings in order of kind and id, streamed; only those kinds when any are named."""
    wanted = list(kinds)
    return FINDINGS.load(path, "list_contains(?, kind)", [wanted]) if wanted else FINDINGS.load(path)
