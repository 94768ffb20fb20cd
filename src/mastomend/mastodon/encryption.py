"""Active Record's encrypted columns, for reading the one Mastodon keeps its keys in from 4.7 on (facts §11). Pure.

A column holds JSON: the ciphertext `p`, and headers `h` with the nonce `iv`, the tag `at` and whether the text was
compressed, `c`; AES-256-GCM under a key that PBKDF2 derives from the primary key and the salt. GCM's tag tells whether
a key was the right one, so SHA-256 is tried first and the older SHA-1 after it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ITERATIONS = 65_536
_KEY_BYTES = 32
_DIGESTS = ("sha256", "sha1")
_MAX_TEXT = 1024 * 1024


class UndecryptableError(Exception):
    """Not an encrypted column, or not encrypted with these keys."""


def decrypt(column: str, primary_key: str, salt: str) -> str:
    """The text of an encrypted column.

    `primary_key` and `salt` are ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and _KEY_DERIVATION_SALT.

    Raises:
        UndecryptableError: the message says which of the two it is, and never what was read.
    """
    try:
        message = json.loads(column)
        headers = message["h"]
        payload, nonce, tag = (base64.b64decode(text) for text in (message["p"], headers["iv"], headers["at"]))
    except (ValueError, KeyError, TypeError):
        raise UndecryptableError("the column is not in Active Record's encrypted form") from None
    for digest in _DIGESTS:
        key = hashlib.pbkdf2_hmac(digest, primary_key.encode(), salt.encode(), _ITERATIONS, _KEY_BYTES)
        try:
            text = AESGCM(key).decrypt(nonce, payload + tag, None)
        except (InvalidTag, ValueError):
            continue
        if headers.get("c"):
            text = zlib.decompressobj().decompress(text, _MAX_TEXT)
        return text.decode()
    raise UndecryptableError("ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and its salt do not fit this column")
