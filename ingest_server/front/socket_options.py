"""How the kernel watches over a connection that may wait for long."""

from __future__ import annotations

import socket

UNSENT_BYTES = 128 * 1024
"""What the kernel takes of answers beyond what is on its way: it would take 4 MiB, of each connection,
from a peer that reads nothing."""
KEEPALIVE_PROBES = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
USER_TIMEOUT_MS = 30_000
"""Unacknowledged data of ours (an answer) for this long means that the peer is gone."""


def notice_the_end(connection: socket.socket) -> None:
    """Let the kernel find out that the peer of a TCP connection is gone, and keep little for it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE_PROBES:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
