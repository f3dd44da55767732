"""Bodies that do not say how long they are: chunked transfer coding (RFC 9112, 7.1).

The end is the last chunk. A connection that closes before it has cut the body, however whole it may
look: what was returned until then is a prefix, and `readinto` raises. Trailers are read and dropped,
since WSGI has no place for them. A connection that carried such a body carries nothing after it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import Any

from ingest_server.front.body import (
    STREAM_READ_BYTES,
    BodyInterruptedError,
    BodyTruncatedError,
    Buffered,
    Patience,
    SocketBody,
    StreamBody,
)

MAX_LINE_BYTES = 4 * 1024
MAX_TRAILER_BYTES = 8 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
_NEXT = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
"""Between two chunks, as nearly everybody sends it."""


class _Ahead:
    """Bytes of the connection that were read together with a chunk's head."""

    def __init__(self, inner: Buffered) -> None:
        self.data = bytearray()
        self._inner = inner

    def take(self, buffer: memoryview) -> int:
        if not self.data:
            return self._inner.take(buffer)
        count = min(len(buffer), len(self.data))
        buffer[:count] = self.data[:count]
        del self.data[:count]
        return count


class ChunkedBody(SocketBody):
    """A chunked body, straight from the connection's socket.

    ``remaining`` is what is due of the chunk that is being read.
    """

    def __init__(
        self,
        connection: socket.socket,
        buffered: Buffered,
        *,
        patience: Patience,
        now_s: Callable[[], float],
        expects_continue: bool = False,
    ) -> None:
        self._ahead = _Ahead(buffered)
        super().__init__(
            connection,
            self._ahead,
            0,
            patience=patience,
            now_s=now_s,
            expects_continue=expects_continue,
        )
        self.is_ended = False
        self._is_first = True

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes arrived; 0 once the last chunk has been read.

        Raises:
            OSError: as a body of known length; also when it is not in chunks as it should be.
        """
        if not len(buffer):
            return 0
        while not self.is_ended:
            if self.remaining:
                got = super().readinto(buffer)
                return got + self._take_small_ones(buffer[got:])
            self._begin_chunk()
        return 0

    def _take_small_ones(self, buffer: memoryview) -> int:
        """Take the chunks behind this one that are here already: of one byte each, they cost one write.

        Never waits, and leaves the last one, and whatever is odd, to `_begin_chunk`.
        """
        data = self._ahead.data
        done = at = 0
        while done < len(buffer):
            if self.remaining == 0:
                following = _NEXT.match(data, at)
                if following is None or not int(following[1], 16):
                    break
                self.remaining, at = int(following[1], 16), following.end()
            count = min(self.remaining, len(buffer) - done, len(data) - at)
            if count == 0:
                break
            buffer[done : done + count] = data[at : at + count]
            self.remaining -= count
            done, at = done + count, at + count
        del data[:at]
        self.received += done
        return done

    @property
    def is_spent(self) -> bool:
        return self.is_ended and not self._interrupted

    def _begin_chunk(self) -> None:
        if not self._is_first and self._line() != b"\r\n":
            raise BodyTruncatedError("a chunk of the body does not end where it should")
        self._is_first = False
        match = _SIZE.match(self._line())
        if match is None:
            raise BodyTruncatedError("a chunk of the body does not begin with its size")
        self.remaining = int(match[1], 16)
        if self.remaining == 0:
            self._drop_trailers()
            self.is_ended = True

    def _drop_trailers(self) -> None:
        left = MAX_TRAILER_BYTES
        while (line := self._line()) != b"\r\n":
            left -= len(line)
            if left < 0:
                raise BodyTruncatedError("the trailers of the body are too long")

    def _line(self) -> bytes:
        ahead = self._ahead.data
        while (end := ahead.find(b"\n")) < 0:
            if len(ahead) > MAX_LINE_BYTES:
                raise BodyTruncatedError("a chunk of the body begins with too long a line")
            piece = memoryview(bytearray(8 * 1024))
            ahead += piece[: self._some(piece)]
        line = bytes(ahead[: end + 1])
        del ahead[: end + 1]
        return line

    def _some(self, piece: memoryview) -> int:
        """Return how many bytes of the connection came, whatever they belong to."""
        self._begin_read()
        # Not through `_ahead`: it holds the beginning of the line already.
        return self._ahead._inner.take(piece) or self._receive(piece, len(piece))

    def read(self, size: int | None = -1) -> bytes:
        found = bytearray()
        piece = memoryview(bytearray(STREAM_READ_BYTES))
        while size is None or size < 0 or len(found) < size:
            wanted = len(piece) if size is None or size < 0 else size - len(found)
            count = self.readinto(piece[:wanted])
            if not count:
                break
            found += piece[:count]
        return bytes(found)

    def readline(self, size: int | None = -1) -> bytes:
        line = bytearray()
        while (size is None or size < 0 or len(line) < size) and not line.endswith(b"\n"):
            one = self.read(1)
            if not one:
                break
            line += one
        return bytes(line)


class UnmeasuredStreamBody(StreamBody):
    """A chunked body that a foreign server decodes; its end is the stream's end."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, 0)
        self._is_ended = False

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes arrived; 0 at the body's end.

        Raises:
            BodyInterruptedError: `interrupt` was called.
            OSError: the connection broke.
        """
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        if self._is_ended or not len(buffer):
            return 0
        data = self._read(min(len(buffer), STREAM_READ_BYTES))
        if self._interrupted:
            raise BodyInterruptedError("the request was given up")
        self._is_ended = not data
        buffer[: len(data)] = data
        self.received += len(data)
        return len(data)


def unmeasured_body_of(environ: Mapping[str, Any]) -> ChunkedBody | UnmeasuredStreamBody | None:
    """Return the request's chunked body, or None where its end cannot be told from a cut."""
    stream = environ["wsgi.input"]
    if isinstance(stream, ChunkedBody):
        return stream
    # Servers that set this raise when a chunked body is cut; of others, nothing is known.
    return UnmeasuredStreamBody(stream) if environ.get("wsgi.input_terminated") else None
