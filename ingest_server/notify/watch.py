"""How long an exchange with a target may take in all: a socket's own timeout is for each read.

One thread looks at the exchange that runs, however many there are: a timer for each would cost more than
the rest of it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Limit:
    """When an exchange is over, and whether it is."""

    until_s: float
    is_over: bool = False


class Watch:
    """Cuts the connection of an exchange that takes too long."""

    def __init__(self, now_s: Callable[[], float], every_s: float) -> None:
        self._now_s = now_s
        self._every_s = every_s
        self._watched: tuple[socket.socket, Limit] | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="webhook-limit", daemon=True).start()

    @contextmanager
    def over(self, sock: socket.socket, limit: Limit) -> Iterator[None]:
        """Watch over an exchange on *sock* while the body of this runs."""
        self._watched = sock, limit
        try:
            yield
        finally:
            self._watched = None

    def end(self) -> None:
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(self._every_s):
            watched = self._watched
            if watched is not None and self._now_s() >= watched[1].until_s:
                _cut(*watched)


def _cut(sock: socket.socket, limit: Limit) -> None:
    limit.is_over = True
    try:
        # Below TLS, whose own shutdown takes the connection apart under the thread that reads it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it ended in this moment
