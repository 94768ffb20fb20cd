"""Active Record's encrypted columns: vectors made by Ruby (tests/golden/active_record_encryption.rb)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from yarl import URL

from mastomend.mastodon.encryption import UndecryptableError, decrypt
from mastomend.remote.signatures import Signer

VECTORS = json.loads((Path(__file__).parents[1] / "golden" / "active_record_encryption.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['digest']}-{len(v['text'])}")
def test_what_ruby_encrypted_is_read(vector: dict[str, str]) -> None:
    assert decrypt(vector["column"], vector["primary_key"], vector["salt"]) == vector["text"]


@pytest.mark.parametrize("vector", VECTORS[:1])
def test_wrong_keys_and_plain_text_are_said_to_be_that(vector: dict[str, str]) -> None:
    with pytest.raises(UndecryptableError, match="do not fit"):
        decrypt(vector["column"], "another", vector["salt"])
    for column in ("-----BEGIN RSA PRIVATE KEY-----", "{}", '{"p": 1, "h": {}}', "null"):
        with pytest.raises(UndecryptableError, match="encrypted form"):
            decrypt(column, vector["primary_key"], vector["salt"])


def test_the_signature_is_draft_cavage_s() -> None:
    """The draft's own key and signed text (appendix C.2, as a GET): what we sign is what it says to sign."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    signer = Signer.from_pem("https://example.social/actor#main-key", pem)
    assert signer is not None
    headers = signer.headers(
        URL("https://example.com:8443/foo?param=value&pet=dog"), datetime(2014, 1, 5, 21, 31, 40, tzinfo=UTC)
    )
    assert headers["Date"] == "Sun, 05 Jan 2014 21:31:40 GMT" and headers["Host"] == "example.com:8443"
    fields = dict(part.split("=", 1) for part in headers["Signature"].split(","))
    signed = (
        "(request-target): get /foo?param=value&pet=dog\nhost: example.com:8443\ndate: Sun, 05 Jan 2014 21:31:40 GMT"
    )
    import base64

    signature = base64.b64decode(fields["signature"].strip('"'))
    key.public_key().verify(signature, signed.encode(), padding.PKCS1v15(), SHA256())
    for address, host in (("https://h.example/a", "h.example"), ("http://h.example:80/", "h.example"),
                          ("https://müller.example/a", "xn--mller-kva.example")):  # fmt: skip
        assert signer.headers(URL(address), datetime(2014, 1, 5, tzinfo=UTC))["Host"] == host, "as servers compare it"
    assert Signer.from_pem("x", "no key at all") is None
    assert pem not in repr(signer)
