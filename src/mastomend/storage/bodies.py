"""What is to be stored, measured: a plan names sizes and digests and opens no file itself."""

from __future__ import annotations

import hashlib

from mastomend.vocabulary import Body, Content


def measure(content: Content) -> Body:
    """The size and SHA-256 of bytes, or of a file, read piece by piece. Raises OSError."""
    if isinstance(content, bytes):
        return Body(content, len(content), hashlib.sha256(content).hexdigest())
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Body(content, file.tell(), digest)
