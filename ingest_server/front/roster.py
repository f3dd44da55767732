"""What is there at this moment: open connections, those that linger, and running requests.

A stop waits for some of them, cuts others, and closes the rest, wherever they wait.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest_server.front.connection import HttpConnection
    from ingest_server.front.request import HttpRequest

MAX_LINGERING = 1024
"""Connections that linger at once; one more is closed behind its answer."""


class Roster:
    """Of one server; used from any thread."""

    def __init__(self) -> None:
        self._open: set[HttpConnection] = set()
        self._lingering: set[HttpConnection] = set()
        self._running: set[HttpRequest] = set()
        self._changed = threading.Condition()

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open(self) -> list[HttpConnection]:
        """Return the connections that are open at this moment."""
        with self._changed:
            return list(self._open)

    def remember(self, conn: HttpConnection) -> None:
        """Note that a connection is open: wherever it waits, a stop closes it."""
        with self._changed:
            self._open.add(conn)

    def forget(self, conn: HttpConnection) -> None:
        """Note that a connection is closed."""
        with self._changed:
            self._open.discard(conn)
            if conn in self._lingering:
                self._lingering.remove(conn)
                self._changed.notify_all()

    def may_linger(self, conn: HttpConnection) -> bool:
        """Count *conn* among those that linger, if there is room."""
        with self._changed:
            if len(self._lingering) >= MAX_LINGERING:
                return False
            self._lingering.add(conn)
        return True

    def enter(self, request: HttpRequest) -> None:
        with self._changed:
            self._running.add(request)

    def leave(self, request: HttpRequest) -> None:
        with self._changed:
            self._running.discard(request)
            self._changed.notify_all()

    def running(self) -> list[HttpRequest]:
        with self._changed:
            return list(self._running)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no request runs; false: some still do."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    def wait_until_none_lingers(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._lingering, timeout_s)

    def shut_down_running(self) -> None:
        """Break the connections of requests that run on although they were cut."""
        for request in self.running():
            with contextlib.suppress(OSError):
                request.conn.socket.shutdown(socket.SHUT_RDWR)

    def close_rest(self) -> None:
        """Close what nobody would come back for, now that no thread of the server is left.

        A connection goes from hand to hand: from the selector to a thread, from there to its turn. One
        that a thread passes on while the server stops may arrive behind the last who would take it.
        """
        with self._changed:
            rest = list(self._open)
        for conn in rest:
            with contextlib.suppress(OSError):
                conn.close()
