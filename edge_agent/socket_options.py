"""Options for a TCP socket on a bad link, as far as this kernel knows them."""

from __future__ import annotations

import errno
import socket
from typing import Literal

CongestionControl = Literal["auto", "cubic", "bbr"]
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

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


def wanted(congestion_control: CongestionControl) -> list[SocketOption]:
    """Return what we would like; each of it may be missing on this kernel."""
    options: list[SocketOption] = [
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
        (socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _RTO_MAX_MS),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT),
        *_KEEPALIVE,
    ]
    name = "bbr" if congestion_control == "auto" else congestion_control
    options.append((socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode()))
    return options


def accepted(options: list[SocketOption]) -> list[SocketOption]:
    """Return those that the kernel takes, tried on a socket that is never connected.

    An option that fails later, inside a connect, would look like a dead link.
    """
    taken: list[SocketOption] = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        for option in options:
            try:
                trial.setsockopt(*option)
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                    raise
                continue
            taken.append(option)
    return taken
