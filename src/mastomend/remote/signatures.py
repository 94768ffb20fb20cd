"""Signing a GET as the instance actor (draft-cavage HTTP signatures, RSA-SHA256), as Mastodon does (facts §11).

Servers in "secure mode" show their actors and notes only to a signed request. The signature names its host and path, so
every hop of a redirect is signed anew. Accept is not signed: the newest Mastodon no longer does, and no server asks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from yarl import URL

_SIGNED = "(request-target) host date"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs as one actor. `key_id` is the public name of the key, e.g. `https://HOST/actor#main-key`."""

    key_id: str
    key: rsa.RSAPrivateKey = field(repr=False)

    @staticmethod
    def from_pem(key_id: str, pem: str) -> Signer | None:
        """A signer for an RSA key in PEM; None if that is no such key."""
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return None
        return Signer(key_id, key) if isinstance(key, rsa.RSAPrivateKey) else None

    def headers(self, url: URL, now: datetime) -> Mapping[str, str]:
        """Host, Date and Signature for a GET of that URL; `now` in UTC."""
        host = url.host_port_subcomponent or ""  # without a default port, as every server compares it
        date = format_datetime(now, usegmt=True)
        lines = f"(request-target): get {url.raw_path_qs}\nhost: {host}\ndate: {date}"
        signed = self.key.sign(lines.encode(), padding.PKCS1v15(), hashes.SHA256())
        signature = base64.b64encode(signed).decode("ascii")
        value = f'keyId="{self.key_id}",algorithm="rsa-sha256",headers="{_SIGNED}",signature="{signature}"'
        return {"Host": host, "Date": date, "Signature": value}
