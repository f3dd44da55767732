"""Options for a TCP socket on a bad link, as far as this kernel knows them."""

from __future__ import annotations

import contextlib
import errno
import socket

from edge_agent.base.helper import only_helps
from edge_agent.core.packets import CongestionControl

SocketOption = tuple[int, int, int] | tuple[int, int, bytes]

_USER_TIMEOUT_MS = 20_000
"""Unacknowledged for so long: dead. Measures progress of bytes, which no read timeout does."""

_TCP_RTO_MAX_MS = 44
"""Of linux/tcp.h, since Linux 6.15; the socket module does not name it yet."""

_RTO_MAX_MS = 1_000
"""Longest pause before a lost packet is tried again, and the least that the kernel takes. Doubled up to
two minutes as by default, the pauses on a link that loses in bursts cost half of what it can carry.
Round trips of 2 s in a deep queue are no harm: the kernel takes a needless timeout back (F-RTO)."""

_NOTSENT_LOWAT = 128 * 1024
"""Bytes that may wait in the kernel unsent: keeps progress honest and a rate limit smooth."""

_KEEPALIVE_IDLE_S = 15
_KEEPALIVE_SOON_S = 2
KEEPALIVE_AGAIN_S = 5
"""Between two keepalives of which nothing is heard."""

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_AGAIN_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


def wanted(
    congestion_control: CongestionControl, *, dscp: int = 0, is_probed: bool = True
) -> list[SocketOption]:
    """Return what we would like; each of it may be missing on this kernel.

    Args:
        dscp: 0 to 63, marked on each packet from the first on.
        is_probed: an idle connection is asked now and then whether it lives, which costs bytes.
    """
    options: list[SocketOption] = [
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
        (socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _RTO_MAX_MS),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT),
        *(_KEEPALIVE if is_probed else ()),
    ]
    options.append(congestion_option(congestion_control))
    if dscp:
        # Its six bits are the upper ones of the byte; the kernel keeps the lower two for ECN.
        options.append((socket.IPPROTO_IP, socket.IP_TOS, dscp << 2))
        options.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2))
    return options


def congestion_option(congestion_control: CongestionControl) -> SocketOption:
    """Return what asks the kernel for *congestion_control*; what is not measured yet is as ``auto``."""
    name = "bbr" if congestion_control in {"auto", "measured"} else congestion_control
    return (socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def try_congestion_control(name: str) -> None:
    """Ask for *name*, as each connection does, on a socket that is never connected.

    Raises:
        OSError: ENOENT: this kernel has none of that name. EPERM: it does not let this user have it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def accepted(options: list[SocketOption]) -> list[SocketOption]:
    """Return those that the kernel takes, tried on sockets that are never connected.

    An option that fails later, inside a connect, would look like a dead link.
    """
    of_ipv6 = [option for option in options if option[0] == socket.IPPROTO_IPV6]
    others = [option for option in options if option[0] != socket.IPPROTO_IPV6]
    taken = _taken(socket.AF_INET, others)
    if of_ipv6:
        try:
            taken += _taken(socket.AF_INET6, of_ipv6)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise
    return taken


def _taken(family: int, options: list[SocketOption]) -> list[SocketOption]:
    failed: OSError | None = None
    with only_helps("socket options", instead="the kernel's usual ones hold"):
        try:
            return _tried(family, options)
        except OSError as error:  # no descriptor is left: another try may find one
            failed = error
    if failed is not None:
        raise failed
    return []


def _tried(family: int, options: list[SocketOption]) -> list[SocketOption]:
    taken: list[SocketOption] = []
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        for option in options:
            try:
                trial.setsockopt(*option)
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                    raise
                continue
            taken.append(option)
    return taken


def probe_now(live: socket.socket) -> None:
    """Let the kernel ask the other side soon whether it is there, and each two seconds of quiet."""
    with contextlib.suppress(OSError):
        live.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SOON_S)
