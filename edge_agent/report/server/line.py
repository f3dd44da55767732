"""The connection that reports go over, made when it is needed first, and broken off from other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_agent.base.errors import AbortedError
from edge_agent.report.server.port import ReportServer


class ServerLine:
    """Of one run of the agent; `stop` and `cut` may be called from any thread, all else from one."""

    def __init__(self, connect: Callable[[], ReportServer]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._server: ReportServer | None = None
        self._is_asking = False
        self._is_stopped = self._is_broken_off = self._is_cut = False

    @property
    def is_made(self) -> bool:
        return self._server is not None

    @property
    def used_bytes(self) -> int:
        """All that went over it, both ways."""
        return 0 if self._server is None else self._server.used_bytes

    @contextmanager
    def asking(self) -> Iterator[ReportServer]:
        """Have the server, for a request that `stop` breaks off.

        Raises:
            AbortedError: there are no more requests.
            AgentError: it cannot be asked.
        """
        server = self._connect() if self._server is None else self._server
        with self._lock:
            self._server = server
            if self._is_stopped:
                raise AbortedError("stopped before it was sent")
            self._is_asking = True
        try:
            yield server
        finally:
            with self._lock:
                self._is_asking = False

    def stop(self) -> None:
        """Break off what runs, and begin nothing more; an idle connection is left for the goodbye."""
        with self._lock:
            self._is_stopped = True
            server = self._server if self._is_asking else None
            self._is_broken_off = server is not None
        if server is not None:
            server.abort()

    def for_goodbye(self) -> ReportServer:
        """Return the server for the last request, which `cut` breaks off; after `stop`.

        Raises:
            AbortedError: no time is left for it.
            AgentError: it cannot be asked.
        """
        server = self._server
        if server is None or self._is_broken_off:
            self.close()
            server = self._connect()
        with self._lock:
            self._server = server
            if self._is_cut:
                raise AbortedError("no time is left")
        return server

    def cut(self) -> None:
        """Break off the goodbye, too, or keep it from beginning."""
        with self._lock:
            self._is_cut = True
            server = self._server
        if server is not None:
            server.abort()

    def rest(self) -> None:
        """Let the connection go: the next request is far."""
        if self._server is not None:
            self._server.rest()

    def close(self) -> None:
        """Let everything go."""
        if self._server is not None:
            self._server.close()
