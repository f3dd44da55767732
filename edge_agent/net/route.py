"""Which network interface leads to the server: the kernel is asked (rtnetlink), nothing is sent."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from edge_agent.base.helper import only_helps

_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLM_F_REQUEST = 1
_RTA_DST, _RTA_OIF = 1, 4
_HEAD = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_ELSEWHERE = ("192.0.2.1", "2001:db8::1")
"""Documentation addresses: the way to them is the way to a server whose address is not known."""


def interface_to(host: str, known: Sequence[str] = ()) -> str | None:
    """Return the name of the interface over which packets to *host* leave; None: there is no way.

    Args:
        known: addresses of *host* if it is a name. Without any, it is taken to be where the default
            route leads: a look-up would take time.
    """
    try:
        wanted = [ipaddress.ip_address(host.strip("[]"))]
    except ValueError:
        wanted = [ipaddress.ip_address(one.partition("%")[0]) for one in known or _ELSEWHERE]
    with only_helps("route", instead="rules for links do not count"), suppress(OSError):
        for address in wanted:
            found = _ask(address)
            if found is not None:
                return found
    return None


def why_none(host: str, addresses: Sequence[str]) -> str | None:
    """Return why no way leads to *host* where one leads to addresses of the other kind only.

    Many mobile networks have IPv6 alone: names get through their NAT64, IPv4 addresses do not.

    Args:
        addresses: of *host*, if it is a name; without any nothing is known of it.
    """
    addresses = addresses or [host.strip("[]")]
    try:
        found = [ipaddress.ip_address(one.partition("%")[0]) for one in addresses]
    except ValueError:
        return None
    kinds = {one.version for one in found}
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    other = 10 - kind
    elsewhere = ipaddress.ip_address(_ELSEWHERE[other == 6])
    with only_helps("route", instead="why nothing leads there is not said"), suppress(OSError):
        if any(_ask(one) is not None for one in found) or _ask(elsewhere) is None:
            return None
        if host.strip("[]") not in addresses:
            what = f"{host} has IPv{kind} addresses only: its name needs one of IPv{other}"
            return f"this network leads to IPv{other} only, and {what}, or the network a DNS64"
        advice = "which a NAT64 lets through" if other == 6 else "that has an IPv4 address, too"
        return (
            f"this network leads to IPv{other} only, and {host} is an address of IPv{kind}: put a name in its"
            f" place, {advice}"
        )
    return None


def _ask(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    route = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    length = _HEAD.size + len(route) + len(attribute)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(1.0)
        asking.send(_HEAD.pack(length, _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + route + attribute)
        return _read(asking.recv(65536))


def _read(answer: bytes) -> str | None:
    length, kind, *_ = _HEAD.unpack_from(answer)
    if kind != _RTM_NEWROUTE:
        return None  # an error: no route
    at = _HEAD.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= min(length, len(answer)):
        size, what = _ATTRIBUTE.unpack_from(answer, at)
        if size < _ATTRIBUTE.size:
            return None
        if what == _RTA_OIF:
            (index,) = struct.unpack_from("=I", answer, at + _ATTRIBUTE.size)
            return socket.if_indextoname(index)
        at += (size + 3) & ~3
    return None
