"""Opening a TCP connection on a link that may be half broken, or just coming back.

Addresses are tried a quarter of a second apart, the first that answers wins (RFC 8305), and all of them
are tried again each second: the kernel's own second SYN comes after one second, its third after three.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Iterable, Sequence

from edge_agent.base.clock import Clock
from edge_agent.net.resolver import Address
from edge_agent.net.socket_options import SocketOption

_APART_S = 0.25
_AGAIN_S = 1.0
_MOST = 8
"""Attempts that run at once."""


def dial(
    addresses: Sequence[Address],
    *,
    options: Iterable[SocketOption],
    timeout_s: float | None,
    clock: Clock,
) -> socket.socket:
    """Return a connected socket, non-blocking, with *options* set before it was connected.

    Raises:
        TimeoutError: nobody answered within *timeout_s*.
        OSError: all addresses refused.
    """
    options = tuple(options)
    limit_s = float("inf") if timeout_s is None else timeout_s
    began_s = now_s = clock.now_s()
    attempts: dict[int, socket.socket] = {}
    queue = list(addresses)
    next_s = again_s = began_s
    error: OSError | None = None
    try:
        while now_s - began_s < limit_s:
            if now_s >= again_s:
                queue = list(addresses)
                again_s = now_s + max(_AGAIN_S, _APART_S * len(queue))
                next_s = now_s
            if queue and now_s >= next_s and len(attempts) < _MOST:
                try:
                    one = _begin(queue.pop(0), options)
                    attempts[one.fileno()] = one
                    next_s = now_s + _APART_S
                except OSError as failure:
                    error = failure
                    continue
            if not queue and not attempts:
                raise error or OSError(errno.EADDRNOTAVAIL, "the name has no address")
            is_next = bool(queue) and len(attempts) < _MOST  # else nothing is due before an answer
            until_s = min(again_s, next_s if is_next else again_s, began_s + limit_s)
            for fd in _ready(attempts, max(0.0, until_s - now_s)):
                code = attempts[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return attempts.pop(fd)
                attempts.pop(fd).close()
                error = OSError(code, os.strerror(code))
                next_s = 0.0
            now_s = clock.now_s()
    finally:
        for one in attempts.values():
            one.close()
    raise TimeoutError(errno.ETIMEDOUT, "nobody answered the connect in time")


def _begin(address: Address, options: Iterable[SocketOption]) -> socket.socket:
    family, peer = address
    attempt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in options:
            # What the other family does not know is not worth a failure; another interface is.
            with contextlib.suppress(*() if option[1] == socket.SO_BINDTODEVICE else (OSError,)):
                attempt.setsockopt(*option)
        code = attempt.connect_ex(peer)
        if code not in {0, errno.EINPROGRESS}:
            raise OSError(code, os.strerror(code))
    except OSError:
        attempt.close()
        raise
    return attempt


def _ready(attempts: Iterable[int], wait_s: float) -> list[int]:
    poll = select.poll()
    for fd in attempts:
        poll.register(fd, select.POLLOUT)
    return [fd for fd, _ in poll.poll(wait_s * 1000)]
