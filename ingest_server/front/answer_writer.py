"""The sending side of one connection: an answer leaves in one piece where it can."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

JOINED_BYTES = 64 * 1024
"""A body up to this size is sent together with its head: one call of the kernel, one packet, and
one moment at which the client wakes up. A larger one is not worth the copy."""


class AnswerWriter:
    """Sends at once, unless what is written is to be held back for what follows."""

    def __init__(self, connection: socket.socket) -> None:
        self.bytes_written = 0  # cheroot's statistics ask for it
        self._connection = connection
        self._held = b""
        self._holds = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold what is written in the body of this until the next `write` or `flush`."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def write(self, data: bytes) -> None:
        """Send *data*, after what was held.

        Raises:
            OSError: the connection broke, or took nothing for its timeout.
        """
        if self._holds:
            self._held += data
            return
        held, self._held = self._held, b""
        if held and len(data) > JOINED_BYTES:
            self._send(held)
            held = b""
        self._send(held + data)

    def flush(self) -> None:
        """Send what is held.

        Raises:
            OSError: as `write`.
        """
        if self._held:
            self.write(b"")

    def _send(self, data: bytes) -> None:
        # Not `sendall`: its timeout is one for everything, and this is one for each progress.
        rest = memoryview(data)
        while rest:
            try:
                sent = self._connection.send(rest)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                # The words of TLS for it; cheroot knows the socket's, and takes this for a fault.
                raise BrokenPipeError(errno.EPIPE, "the peer has closed") from error
            self.bytes_written += sent
            rest = rest[sent:]
