"""No address that is private, reserved or local may be reached, however it is written (facts §11)."""

from __future__ import annotations

import gzip
import ipaddress

import pytest

from mastomend.remote.addresses import is_refused
from mastomend.remote.client import _Gunzip
from mastomend.remote.documents import usable_url

REFUSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "3fff::1",
    "3ffe::1",
    "5f00::1",
    "fec0::1",
    "feff::1",
    "::ffff:0:7f00:1",
    "::ffff:0:a00:1",
    "100:0:0:1::1",
    "2001:5::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "not-an-address",
]
FINE = [
    "1.1.1.1",
    "9.255.255.255",
    "100.63.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:1.1.1.1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    assert is_refused(address)


@pytest.mark.parametrize("address", FINE)
def test_fine(address: str) -> None:
    assert not is_refused(address)


def test_the_operator_s_exceptions() -> None:
    allowed = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    assert not is_refused("10.2.3.4", allowed)
    assert not is_refused("::ffff:10.2.3.4", allowed)
    assert not is_refused("fd12::1", allowed)
    assert is_refused("192.168.0.1", allowed)


@pytest.mark.parametrize("url", ["https://xn--a.example/x", "https://xn--\u2603-.example/x"])
def test_what_looks_like_idna_and_is_none_is_no_address(url: str) -> None:
    assert usable_url(url) is None


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_gzip_of_several_members_is_unpacked_whole(piece: int) -> None:
    """They may stand one behind another (RFC 1952); what is no member behind them is padding."""
    packed = gzip.compress(b"a" * 1000) + gzip.compress(b"b" * 1000) + b"\0" * 20
    unpacker = _Gunzip()
    chunks = [packed[n : n + piece] for n in range(0, len(packed), piece)]
    assert b"".join(part for chunk in chunks for part in unpacker.pieces(chunk)) == b"a" * 1000 + b"b" * 1000
    assert unpacker.is_whole
