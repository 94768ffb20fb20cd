"""Whether what a store kept, or gave back, is what was sent: by its ETag, which is the MD5 of a body stored in one piece.

Not every store does that, and none for what it encrypts with keys of somebody. So it is learned: a store whose ETag agreed once
is believed when one does not; one that never agreed is, after a few tries, taken for one that tells nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mastomend.storage.sigv4 import EMPTY

_MD5 = re.compile(r"[0-9a-f]{32}")
#: So many in a row that do not agree, and none that did: it is something else.
_ENOUGH = 6


def md5_of(headers: Mapping[str, str]) -> str | None:
    """The MD5 that an answer's ETag may be; None where it can be none (in parts, encrypted, or of a form of its own)."""
    etag = headers.get("ETag", "").strip().removeprefix("W/").strip('"').lower()
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    if encrypted or "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    return etag if _MD5.fullmatch(etag) else None


@dataclass(frozen=True, slots=True)
class Sent:
    """A body with its digests. Make it in a thread of its own: hashing takes longer than all else, and lets others work."""

    body: bytes = field(repr=False)
    md5: bytes
    sha256: str

    @staticmethod
    def of(body: bytes) -> Sent:
        """Measure it."""
        return Sent(body, hashlib.md5(body, usedforsecurity=False).digest(), hashlib.sha256(body).hexdigest())

    @staticmethod
    def plain(body: bytes) -> Sent:
        """Without an MD5, which costs most: for what no store is asked to compare."""
        return Sent(body, b"", hashlib.sha256(body).hexdigest() if body else EMPTY)

    @property
    def content_md5(self) -> str:
        """As the header says it."""
        return base64.b64encode(self.md5).decode()


class Digests:
    """What one store's ETags are worth."""

    def __init__(self) -> None:
        self._agreed = False
        self._disagreed = 0

    @property
    def are_told(self) -> bool:
        """Whether an ETag is known to be an MD5."""
        return self._agreed

    def check(self, headers: Mapping[str, str], md5: bytes) -> None:
        """Compare with the MD5 of what was sent, or has come.

        Raises:
            ValueError: it is not what was sent.
        """
        told = md5_of(headers)
        if told is None or (not self._agreed and self._disagreed >= _ENOUGH):
            return
        if told == md5.hex():
            self._agreed, self._disagreed = True, 0
            return
        self._disagreed += 1
        raise ValueError("its ETag is the MD5 of something else: it was damaged on the way")
