"""Which addresses a request to a stranger may reach (facts §11): no private, reserved or local ones, however written.

A URL from the fediverse may point anywhere, also at a cloud's metadata service or at the operator's own Redis. The
check is made on the address that is actually connected to, so a name that resolves differently the second time gains
nothing. `ALLOWED_PRIVATE_ADDRESSES` lifts it for what the operator lists. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from mastomend.mastodon.configuration import IPNetwork

_REFUSED_V4 = [
    ipaddress.IPv4Network(n)
    for n in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
_REFUSED_V6 = [
    ipaddress.IPv6Network(n)
    for n in (
        "::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23",
        "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
        "::ffff:0:0:0/96",
    )
]  # fmt: skip
_V4_IN_V6 = [ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::/96")]


def is_refused(address: str, allowed: Sequence[IPNetwork] = ()) -> bool:
    """Whether that address (as text, a scope id is ignored) must not be connected to. What is no address is refused."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if any(ip in network for network in allowed if network.version == ip.version):
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return any(ip in network for network in _REFUSED_V4)
    if any(ip in network for network in _V4_IN_V6):  # IPv4-mapped and IPv4-compatible forms
        embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return is_refused(str(embedded), allowed)
    return any(ip in network for network in _REFUSED_V6)
