"""The receiving side of one connection: gathers a request's head without ever waiting for it.

A head, and the small JSON body of a control request, are gathered while the connection is parked;
only then it takes a thread. So however slowly they come, they hold none.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from ingest_server.front import request_head

FILL_BYTES = 8 * 1024


class _Incomplete(Exception):  # noqa: N818 # no fault: the rest has not come yet
    """The head's end has not arrived."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A whole head, or what is wrong with it. Both are None where the peer closed without one."""

    head: request_head.RequestHead | None = None
    fault: request_head.MalformedError | None = None


class HeadReader:
    """Buffered for the head, out of the way for the body."""

    def __init__(self, connection: socket.socket) -> None:
        self.closed = False
        self.bytes_read = 0  # cheroot's statistics ask for it
        self.is_ended = False
        """Whether the peer will send no more."""
        self._connection = connection
        self._buffer = bytearray()
        self._looked_at = 0
        """How much of the buffer is known to be no whole head."""
        self._read_upto = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def has_data(self) -> bool:
        """Whether there is something to do that no event of the connection would tell of."""
        if len(self._buffer) != self._looked_at:
            return True
        return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0

    def gather(self) -> Gathered | None:
        """Return the next head, or None while it has not arrived in full. Never waits.

        Raises:
            OSError: the connection broke.
        """
        while True:
            if b"\n" in self._buffer[self._looked_at :] or self._is_decided():
                found = self._parse()
                if found is not None:
                    return found
            self._looked_at = len(self._buffer)
            if not self._fill():
                return None

    def gather_body(self, length: int) -> bool:
        """Whether the *length* bytes behind the head are here, or will never be. Never waits."""
        while len(self._buffer) < length and not self.is_ended:
            if not self._fill():
                self._looked_at = len(self._buffer)
                return False
        return True

    def take(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._buffer))
        buffer[:count] = self._buffer[:count]
        del self._buffer[:count]
        self._looked_at = 0
        return count

    def discard(self) -> None:
        """Forget what is buffered: nobody will ask for it."""
        self._buffer.clear()
        self._looked_at = 0

    def _is_decided(self) -> bool:
        return self.is_ended or len(self._buffer) >= request_head.MAX_HEAD_BYTES

    def _parse(self) -> Gathered | None:
        self._read_upto = 0
        try:
            found = Gathered(request_head.read_head(self._line))
        except _Incomplete:
            return None
        except request_head.MalformedError as error:
            found = Gathered(fault=error)
        del self._buffer[: self._read_upto]
        self._looked_at = 0
        return found

    def _line(self, limit: int) -> bytes:
        start = self._read_upto
        end = self._buffer.find(b"\n", start, start + limit) + 1
        if not end:
            if len(self._buffer) - start < limit and not self.is_ended:
                raise _Incomplete
            end = min(len(self._buffer), start + limit)
        self._read_upto = end
        return bytes(self._buffer[start:end])

    def _fill(self) -> bool:
        """Take what has arrived; false while nothing has. An end counts as something."""
        if self.is_ended:
            return False
        self._connection.settimeout(0)
        try:
            found = self._connection.recv(FILL_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self._buffer += found
        self.is_ended = not found
        return True

    def close(self) -> None:
        self.closed = True
