"""All that this server takes from cheroot; nobody else imports it.

The names that begin with an underscore, and `ACCEPT_FAILED`, are no promise of cheroot's: an upgrade has
to keep each of them, and the test of this module names each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Generator
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Protocol

from cheroot import connections, wsgi
from cheroot.server import HTTPConnection as Connection
from cheroot.server import HTTPRequest as Request

from ingest_server.front.phases import HAS_LEFT
from ingest_server.front.queues import ASKED

__all__ = ["ACCEPT_FAILED", "Connection", "Gateway", "Request", "Server"]

ACCEPT_FAILED = "Error in HTTPServer.serve"
"""What its loop says to `error_log` when it could not accept a connection."""
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
ENDED_AT_ONCE = 16
"""Idle connections that make room for new ones: to find them takes a look at all."""


class Server(wsgi.Server):
    """cheroot's server, with connections parked in our way."""

    _connections: Any

    def park_connections(self) -> None:
        """Take over what waits for bytes; once `prepare` has made the listening socket."""
        self._connections._selector.close()
        self._connections = ParkedConnections(self)


class Gateway(wsgi.Gateway_10):
    """cheroot's gateway, which can pause between two pieces of an answer."""

    def get_environ(self) -> Any:
        """Return cheroot's environ, whose turn the request is, and whether its client is there."""
        environ: Any = super().get_environ()  # type: ignore[no-untyped-call] # cheroot's
        return {**environ, ASKED: self.req.conn.asked, HAS_LEFT: self.req.conn.has_left}

    def pieces(self) -> Generator[None, None, None]:
        """Let the application answer; yields before anything is written, and behind each piece."""
        response = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            yield
            for piece in filter(None, response):
                self.write(piece)
                yield
        finally:
            if hasattr(response, "close"):
                response.close()


class Parked(Protocol):
    """A connection that waits for its peer."""

    deadline_s: float | None
    parked_s: float
    socket: Any

    @property
    def awaits_reader(self) -> bool:
        """Whether it waits for the peer to take bytes, not to send some."""

    @property
    def is_idle(self) -> bool:
        """Whether its peer has asked for nothing that was not answered."""

    @property
    def has_work(self) -> bool:
        """Whether it can go on at once, and no event of the socket would tell of it."""

    def expire(self) -> None: ...


class ParkedConnections(connections.ConnectionManager):
    """The connections that wait for their peers, each with a deadline of its own.

    By the monotonic clock. cheroot's own loop goes by the time of day: where that is set back by a
    day, it ends nothing for a day, neither who is too slow nor who has gone.
    """

    _selector: Any
    _stop_requested: bool
    _from_server_socket: Any
    _remove_invalid_sockets: Any

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.at_rest = threading.Event()
        self.at_rest.set()
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self.wake_fd, EVENT_READ, data=server)  # as the listening socket is

    def run(self, expiration_interval: float) -> None:
        """Watch the connections until `stop`."""
        self.at_rest.clear()
        try:
            self._run(expiration_interval)
        finally:
            self.at_rest.set()

    def stop(self) -> None:
        """End the watch at once; cheroot's own goes on for half a second."""
        self._stop_requested = True
        if self.wake_fd >= 0:  # else it is closed, and nothing is watched
            os.eventfd_write(self.wake_fd, 1)
        self.at_rest.wait()

    def close(self) -> None:
        super().close()
        wake_fd, self.wake_fd = self.wake_fd, -1
        if wake_fd >= 0:
            os.close(wake_fd)

    def put(self, conn: Parked) -> None:
        conn.parked_s = self.server.now_s()
        if conn.has_work:
            self.server.process_conn(conn)
            return
        events = EVENT_WRITE if conn.awaits_reader else EVENT_READ
        # A stop has closed the selector: it closes what is left.
        with contextlib.suppress(ValueError):
            self._selector.register(conn.socket.fileno(), events, data=conn)

    def _run(self, expiration_interval: float) -> None:
        looked_s = self.server.now_s()
        while not self._stop_requested:
            try:
                wait_s = min(expiration_interval, self.server.held.due_in_s())
                ready = list(self._selector.select(timeout=wait_s))
            except OSError:
                self._remove_invalid_sockets()
                continue
            knocks = False
            for descriptor, conn in ready:
                if conn is self.server:
                    knocks |= descriptor != self.wake_fd
                else:
                    self._selector.unregister(descriptor)
                    self.server.process_conn(conn)
            if knocks:  # last: what is open goes on, and ends, whether one more can come or not
                self.accept()
            now_s = self.server.now_s()
            if now_s - looked_s > expiration_interval:
                self._expire(now_s - self.server.timeout)
                looked_s = now_s
            self.server.held.release()
            self.server.queues.look()

    def accept(self) -> None:
        """Take one more connection, in the place of idle ones where there is none left for it.

        Raises:
            OSError: the listening socket failed.
        """
        if self.server.is_crowded() and not self.end_idle():
            self.server.wait_for_room()
            return
        try:
            made = self._from_server_socket(self.server.socket)
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            if not self.end_idle():
                self.server.wait_for_room()
            return
        if made is not None:
            self.server.process_conn(made)

    def end_idle(self) -> bool:
        """End some of the connections that were idle for longest; returns whether there were any."""
        idle = [
            (conn.parked_s, descriptor, conn)
            for descriptor, conn in self._selector.connections
            if conn is not self.server and conn.is_idle
        ]
        for _, descriptor, conn in sorted(idle, key=lambda one: one[:2])[:ENDED_AT_ONCE]:
            self._selector.unregister(descriptor)
            conn.expire()
        return bool(idle)

    def _expire(self, threshold: float) -> None:
        now_s = self.server.now_s()
        late = [
            (descriptor, conn)
            for descriptor, conn in self._selector.connections
            if conn is not self.server and _is_late(conn, now_s, threshold)
        ]
        for descriptor, conn in late:
            self._selector.unregister(descriptor)
            conn.expire()


def _is_late(conn: Parked, now_s: float, threshold: float) -> bool:
    if conn.deadline_s is not None:
        return conn.deadline_s < now_s
    return conn.parked_s < threshold
