"""The sending side of one connection: an answer leaves in one piece where it can.

What the peer does not take at once stays here, and `connection` parks the connection until it takes
more. So however slowly an answer is read, or never, no thread waits for it.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

JOINED_BYTES = 64 * 1024
"""A body up to this size is sent together with its head: one call of the kernel, one packet, and
one moment at which the client wakes up. A larger one is not worth the copy."""


class AnswerWriter:
    """Sends at once what the connection takes, unless it is to be held back for what follows."""

    def __init__(self, connection: socket.socket) -> None:
        self.bytes_written = 0  # cheroot's statistics ask for it
        self._connection = connection
        self._held = b""
        self._holds = False
        self._rest: deque[memoryview] = deque()

    @property
    def is_full(self) -> bool:
        """Whether something waits for the peer to take it."""
        return bool(self._rest)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold what is written in the body of this until the next `write` or `flush`."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def write(self, data: bytes) -> None:
        """Send *data*, after what was held; what the connection does not take stays for `proceed`.

        Raises:
            OSError: the connection broke.
        """
        if self._holds:
            self._held += data
            return
        held, self._held = self._held, b""
        if held and len(data) > JOINED_BYTES:
            self._rest.append(memoryview(held))
            held = b""
        self._rest.append(memoryview(held + data))
        self.proceed()

    def flush(self) -> None:
        """Send what is held.

        Raises:
            OSError: as `write`.
        """
        if self._held:
            self.write(b"")

    def proceed(self) -> bool:
        """Send what the connection takes without waiting; true where nothing is left.

        Raises:
            OSError: the connection broke; nothing is left of the answer.
        """
        while self._rest:
            try:
                sent = self._connection.send(self._rest[0])
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                self._rest.clear()
                # The words of TLS for it; cheroot knows the socket's, and takes this for a fault.
                raise BrokenPipeError(errno.EPIPE, "the peer has closed") from error
            except OSError:
                self._rest.clear()
                raise
            self.bytes_written += sent
            self._rest[0] = self._rest[0][sent:]
            if not self._rest[0]:
                self._rest.popleft()
        return True

    def taken_bytes(self) -> int:
        """Return how much of all that was sent the peer has taken out of the kernel's hands.

        Raises:
            OSError: the connection is closed.
        """
        asked = fcntl.ioctl(self._connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        waiting: int = struct.unpack("i", asked)[0]
        return self.bytes_written - waiting
