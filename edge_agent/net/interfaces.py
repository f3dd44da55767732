"""The network interfaces of this machine, as /sys shows them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_NET = Path("/sys/class/net")
_UP = 0x1
_LOOPBACK = 772
_TUNNELS = frozenset({65534, 768, 769, 776, 778, 823})
"""ARPHRD of what carries packets inside others: none (tun, WireGuard), ipip, ip6tnl, sit, gre, ip6gre. PPP is
a modem's."""


def is_tunnel(name: str, net: Path = _NET) -> bool:
    """Return whether *name* is a VPN, or the like: its owner wants packets to go nowhere else."""
    if (net / name / "tun_flags").exists():
        return True
    with suppress(OSError, ValueError):
        if int((net / name / "type").read_text("ascii")) in _TUNNELS:
            return True
    with suppress(OSError):
        uevent = (net / name / "uevent").read_text("utf-8", "replace")
        return any(f"DEVTYPE={kind}" in uevent for kind in ("wireguard", "xfrm", "vti"))
    return False


def tunnel_among(*names: str | None) -> str | None:
    """Return the first of *names* that is a tunnel."""
    return next((one for one in names if one is not None and is_tunnel(one)), None)


def that_are_up(net: Path = _NET) -> list[str]:
    """Return those that may lead somewhere by themselves: no loopback, no tunnel, no bridge."""
    found = []
    with suppress(OSError):
        for one in sorted(net.iterdir()):
            with suppress(OSError, ValueError):
                is_up = int((one / "flags").read_text("ascii"), 16) & _UP
                state = (one / "operstate").read_text("ascii").strip()
                kind = int((one / "type").read_text("ascii"))
                if not is_up or state not in {"up", "unknown"} or kind == _LOOPBACK:
                    continue
                if not (one / "bridge").exists() and not is_tunnel(one.name, net):
                    found.append(one.name)
    return found
