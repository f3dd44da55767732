"""Which addresses are of the internet: none of a special purpose, on whatever Python this runs.

The ranges are IANA's special-purpose address registries (looked at on 2026-11-28), deprecated entries and
those of anycast services among them: no consumer of webhooks has such an address, and 192.0.0.9 is
whoever routes this network. What Python's `ipaddress` takes for global has changed between releases.
"""

from __future__ import annotations

import ipaddress

_V4 = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out as unicast; what lies outside is local, special or nobody's."""
_V6 = tuple(
    ipaddress.IPv6Network(one)
    for one in (
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether *address* is one of the internet, in whatever disguise it comes."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in one for one in _V4)
    # An IPv4 address to this kernel, and one behind the network's translator (RFC 6052).
    inner = found.ipv4_mapped
    if found in _NAT64:
        inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(str(inner))
    return found in _GLOBAL_V6 and not any(found in one for one in _V6)
