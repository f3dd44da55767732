"""Whether the other side can be reached: one TCP connect at a time, that nobody waits for."""

from __future__ import annotations

import errno
import socket

from edge_agent.core import stall
from edge_agent.net.resolver import Resolver

_CONNECT_S = (1.0, 1.0, 3.0)
"""Limits of successive connects: short ones meet a link that returns, a long one a link that is slow."""
_NAME_S = 1.0
"""Limit of a look-up: the thread that knocks watches running connections, too."""

SocketAddress = tuple[str, int]


class Knock:
    """Connects while it is wanted, again and again. Used by one thread.

    Args:
        address: of whom to connect to.
    """

    def __init__(self, address: SocketAddress, names: Resolver) -> None:
        self.last_peer: SocketAddress | None = None
        """Where a connection worked last: needs no look-up."""
        self._address = address
        self._names = names
        self._attempt: socket.socket | None = None
        self._until_s = 0.0
        self._next_s = 0.0
        self._count = 0

    def fileno(self) -> int | None:
        """Return what to wait on until it can be written to; None: no connect is under way."""
        return None if self._attempt is None else self._attempt.fileno()

    def wait_s(self, now_s: float, *, is_wanted: bool) -> float | None:
        """Return the seconds until `go_on` has something to do; None: nothing is to come."""
        if self._attempt is not None:
            return self._until_s - now_s
        return self._next_s - now_s if is_wanted else None

    def go_on(self, now_s: float, away_s: float) -> None:
        """Begin a connect, or give up one that takes too long.

        Args:
            away_s: since when the other side has not been heard; the longer, the rarer it is asked.
        """
        if self._attempt is None and now_s >= self._next_s:
            self._begin(now_s, away_s)
        elif self._attempt is not None and now_s >= self._until_s:
            self.end()

    def was_answered(self) -> bool:
        """End the connect that is over; return whether it succeeded."""
        if self._attempt is None:
            return False
        code = self._attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.end()
        return code == 0

    def again_at_once(self, now_s: float) -> None:
        """Begin anew: the link is another than a moment ago."""
        self.end()
        self._next_s = now_s

    def start_over(self) -> None:
        """Say that the other side was heard: the next connect is a first one."""
        self._count = 0

    def end(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _begin(self, now_s: float, away_s: float) -> None:
        limit_s = _CONNECT_S[self._count % len(_CONNECT_S)]
        self._count += 1
        self._next_s = now_s + stall.probe_interval_s(away_s)
        for family, peer in self._peers():
            attempt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            code = attempt.connect_ex(peer)
            if code in {0, errno.EINPROGRESS}:
                self._attempt = attempt
                self._until_s = now_s + limit_s
                return
            attempt.close()

    def _peers(self) -> list[tuple[int, SocketAddress]]:
        """Return where to connect to: where it worked last, else what the name says now."""
        if self.last_peer is not None and self._count % len(_CONNECT_S):
            host, port = self.last_peer
            return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))]
        try:
            found = self._names.addresses(*self._address, _NAME_S)
        except OSError:
            return []
        return [(family, (str(peer[0]), int(peer[1]))) for family, peer in found]
