"""The end of a connection whose answer came before its request's body had (RFC 9112, 9.6).

A reset would destroy an answer that the peer has not read yet. So this side says that it sends no more, and what the
peer still sends is read and dropped, for a while, without a thread.
"""

from __future__ import annotations

import socket

from ingest_server.front.tls import TlsSocket

LINGER_BYTES = 16 * 1024 * 1024
"""What is read and dropped after an early answer: twice the largest body that an agent sends. A proxy
that passes a body on may not look for an answer before the body's end."""
LINGER_S = 2.0
"""Without a byte: whoever has read the answer has closed by then."""
LINGER_MOST_S = 30.0

_PIECE_BYTES = 64 * 1024


class Lingering:
    """Of one connection."""

    def __init__(self) -> None:
        self._left = LINGER_BYTES
        self._until_s = 0.0

    def begin(self, sock: socket.socket, now_s: float) -> bool:
        """Say that nothing more is sent; false where the peer is gone."""
        self._until_s = now_s + LINGER_MOST_S
        if isinstance(sock, TlsSocket):
            sock.say_goodbye()
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def go_on(self, sock: socket.socket, now_s: float) -> float | None:
        """Drop what is here; return until when more is waited for, None where that is over."""
        sock.settimeout(0)
        try:
            while self._left > 0:
                got = (
                    sock.drop(_PIECE_BYTES)
                    if isinstance(sock, TlsSocket)
                    else len(sock.recv(_PIECE_BYTES))
                )
                if got == 0:
                    return None
                self._left -= got
        except BlockingIOError:
            return min(now_s + LINGER_S, self._until_s)
        except OSError:
            pass
        return None
