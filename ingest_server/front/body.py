"""Reading a request body without losing or inventing bytes, on any WSGI server.

Two ways in, one behaviour: `SocketBody` for our own server (`http_server` puts it into ``wsgi.input``)
returns bytes as they arrive and knows when a peer stalls; `StreamBody` makes do with what PEP 3333
promises. Both count against the Content-Length, because the end of the stream proves nothing: most
servers report a peer that went away as an ordinary end of input.

The protocol that both fulfil, `Body`, is stated where it is used, in `service`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

KIB = 1024
STREAM_READ_BYTES = 64 * KIB
"""Most that is asked of a foreign ``wsgi.input`` at once: it may block until all of it is there,
and loses it if the connection breaks first."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTruncatedError(ConnectionError):
    """The peer closed before its Content-Length was sent; what was returned before is valid."""


class BodyInterruptedError(ConnectionAbortedError):
    """Another thread gave this body up: a newer request took over, or the server stops."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a peer that sends nothing, or next to nothing, is waited for."""

    read_timeout_s: float = 30.0
    """Without a single byte: longer than the handover between two mobile networks takes."""
    min_rate: float = 1000.0
    """Bytes per second, averaged over the window: a trickle must not hold a thread for days."""
    min_rate_window_s: float = 60.0


class Buffered(Protocol):
    """Bytes that were received together with the headers."""

    def take(self, buffer: memoryview) -> int:
        """Move up to ``len(buffer)`` buffered bytes into *buffer*; 0 where there are none."""


class SocketBody:
    """A body of known length, straight from the connection's socket.

    It is also what PEP 3333 asks of ``wsgi.input``, so that any application runs on our server.
    """

    def __init__(
        self,
        connection: socket.socket,
        buffered: Buffered,
        length: int,
        *,
        patience: Patience,
        now_s: Callable[[], float],
        expects_continue: bool = False,
    ) -> None:
        self.remaining = length
        self.received = 0
        self.takes_interim = False
        """Whether `announce` sends anything."""
        self._interim = b""
        self._connection = connection
        self._buffered = buffered
        self._patience = patience
        self._now_s = now_s
        if expects_continue:
            self._interim = CONTINUE
        self._interrupted = False
        self._finished = False
        self._lock = threading.Lock()
        self._window_bytes = 0
        self._window_waited_s = 0.0
        self._too_slow: str | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes arrived; 0 once the declared length has been read.

        Raises:
            TimeoutError: nothing came for the read timeout, or too little over the rate's window.
            BodyTruncatedError: the peer closed early.
            BodyInterruptedError: `interrupt` was called.
            OSError: the connection broke.
        """
        wanted = min(len(buffer), self.remaining)
        if wanted == 0:
            return 0
        self._begin_read()
        got = self._buffered.take(buffer[:wanted])
        if got == 0:
            got = self._receive(buffer, wanted)
        elif got < wanted:
            got += self._top_up(buffer[got:wanted])
        self.remaining -= got
        self.received += got
        return got

    def _begin_read(self) -> None:
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        if self._too_slow is not None:
            raise TimeoutError(self._too_slow)
        if self._interim:
            # Only here, so that a refusal reaches a client that still holds its body back.
            answers, self._interim = self._interim, b""
            self._connection.settimeout(self._patience.read_timeout_s)
            self._connection.sendall(answers)

    def announce(self, answer: bytes) -> None:
        """Send an interim answer before the body is first read, to a peer that may get any."""
        if self.takes_interim:
            self._interim = answer + self._interim

    def _receive(self, buffer: memoryview, wanted: int) -> int:
        started_s = self._now_s()
        # Asked first: setting it is a call of the kernel, once more for each piece.
        if self._connection.gettimeout() != self._patience.read_timeout_s:
            self._connection.settimeout(self._patience.read_timeout_s)
        try:
            got = self._connection.recv_into(buffer, wanted)
        except TimeoutError as error:
            msg = f"no byte for {self._patience.read_timeout_s:g} s, {self.remaining} still due"
            raise TimeoutError(msg) from error
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        if got == 0:
            msg = f"the peer closed with {self.remaining} bytes still due"
            raise BodyTruncatedError(msg)
        self._check_rate(got, self._now_s() - started_s)
        return got

    def _top_up(self, buffer: memoryview) -> int:
        """Return how many bytes are here already behind the buffered ones, and take them.

        What came with the head is a few KiB; a piece that small costs a write and a hash of its own.
        """
        self._connection.settimeout(0)
        try:
            got = self._connection.recv_into(buffer, len(buffer))
        except OSError:
            return 0  # nothing for now; what is broken breaks the next read as well
        self._window_bytes += got
        return got

    def _check_rate(self, got: int, waited_s: float) -> None:
        """Note a trickle. Counts time spent waiting for the peer, not time on our own disk."""
        patience = self._patience
        self._window_bytes += got
        self._window_waited_s += waited_s
        if self._window_waited_s < patience.min_rate_window_s:
            return
        rate = self._window_bytes / self._window_waited_s
        self._window_bytes, self._window_waited_s = 0, 0.0
        if rate < patience.min_rate:
            # Raised by the next read: what has just arrived is still handed on.
            self._too_slow = (
                f"{rate:.0f} bytes per second over {patience.min_rate_window_s:g} s, "
                f"at least {patience.min_rate:g} are needed"
            )

    @property
    def is_spent(self) -> bool:
        """Whether the connection can carry another request after this one."""
        return self.remaining == 0 and not self._interrupted

    def interrupt(self) -> None:
        """Make a blocked or future read raise at once. Never blocks.

        Only the receiving half of the connection is shut, so that the answer can still be sent.
        Does nothing once the request is over: the connection may carry the next one by then.
        """
        self._interrupted = True
        with self._lock:
            if not self._finished:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        """End this body's hold on the connection; the server calls it when the answer is out."""
        with self._lock:
            self._finished = True

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.remaining if size is None or size < 0 else min(size, self.remaining)
        found = bytearray(wanted)
        view = memoryview(found)
        done = 0
        while done < wanted:
            done += self.readinto(view[done:])
        return bytes(found)

    def readline(self, size: int | None = -1) -> bytes:
        limit = self.remaining if size is None or size < 0 else min(size, self.remaining)
        line = bytearray()
        while len(line) < limit and not line.endswith(b"\n"):
            line += self.read(1)
        return bytes(line)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> SocketBody:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line


class StreamBody:
    """A body of known length from any server's ``wsgi.input``.

    A read that is blocked in the foreign server cannot be interrupted; the next one raises.
    """

    def __init__(self, stream: Any, length: int) -> None:
        self.remaining = length
        self.received = 0
        self._stream = stream
        self._interrupted = False

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes arrived; 0 once the declared length has been read.

        Raises:
            BodyTruncatedError: the peer closed early, or the server cannot read the body.
            BodyInterruptedError: `interrupt` was called.
            OSError: the connection broke.
        """
        wanted = min(len(buffer), self.remaining, STREAM_READ_BYTES)
        if wanted == 0:
            return 0
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        data = self._read(wanted)
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        if not data:
            msg = f"the peer closed with {self.remaining} bytes still due"
            raise BodyTruncatedError(msg)
        buffer[: len(data)] = data
        self.remaining -= len(data)
        self.received += len(data)
        return len(data)

    def _read(self, wanted: int) -> bytes:
        try:
            data: bytes = self._stream.read(wanted)
        except OSError:
            raise
        except Exception as error:
            # Servers raise errors of their own for a broken body (gunicorn's NoMoreData,
            # ValueError for bad framing); for us they are all one thing.
            msg = f"the server could not read the body: {type(error).__name__}"
            raise BodyTruncatedError(msg) from error
        return data

    def interrupt(self) -> None:
        self._interrupted = True


def body_of(environ: Mapping[str, Any], length: int) -> SocketBody | StreamBody:
    """Return the request's body, by the best way that its server offers."""
    stream = environ["wsgi.input"]
    return stream if isinstance(stream, SocketBody) else StreamBody(stream, length)


def read_all(body: SocketBody | StreamBody, limit: int) -> bytes | None:
    """Return a small body in full, or None where it has more than *limit* bytes.

    Raises:
        OSError: as ``readinto``.
    """
    if body.remaining > limit:
        return None
    found = memoryview(bytearray(body.remaining))
    done = 0
    while done < len(found):
        done += body.readinto(found[done:])
    return bytes(found)
