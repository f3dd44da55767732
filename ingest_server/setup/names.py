"""By which names and addresses other machines reach this one, as far as it knows itself."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from pathlib import Path

_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
_SOMEWHERE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses of nobody (RFC 5737, 3849): connecting a datagram socket sends nothing, and picks our own."""


def is_name(text: str) -> bool:
    """Return whether that can stand in a certificate: a host's name, or an address."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return _NAME.match(text) is not None


def in_ascii(name: str) -> str:
    """Return a host's name as DNS and certificates have it: other letters as ``xn--``; as it is, if it is none."""
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def own_names() -> list[str]:
    """Return them, the likeliest first: the address that leads out, the name, mDNS's name, the others."""
    host = socket.gethostname().lower()
    found = [
        *_leading_out(),
        host,
        f"{host.partition('.')[0]}.local",
        *_addresses(),
        "localhost",
        "127.0.0.1",
        "::1",
    ]
    return [one for one in dict.fromkeys(found) if is_name(one)]


def _leading_out() -> list[str]:
    found = []
    for address, family in _SOMEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect((address, 9))
            found.append(str(trial.getsockname()[0]))
    return [one for one in found if not ipaddress.ip_address(one).is_loopback]


def _addresses() -> list[str]:
    """Return those of all interfaces, as the kernel lists them."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        text = Path("/proc/net/fib_trie").read_text(encoding="ascii")
        found += re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text)
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    addresses = [ipaddress.ip_address(one) for one in found]
    return [str(one) for one in addresses if not (one.is_loopback or one.is_link_local)]
