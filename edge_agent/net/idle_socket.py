"""A socket that never blocks, on TCP and TLS alike, with a limit for the time in which nothing moves."""

from __future__ import annotations

import select
import socket
import ssl

_TLS_PIECE = 64 * 1024
"""Encrypted at once; between two such pieces the other direction is looked at."""
_READ_BYTES = 64 * 1024


class IdleSocket:
    """One connection, used by one thread. A *timeout* is never for all of it, only for standing still.

    Raises:
        TimeoutError: nothing moved for so long.
        OSError: the connection broke; an `ssl.SSLError` is one.
    """

    def __init__(self, live: socket.socket) -> None:
        self.raw = live
        self.is_tls = isinstance(live, ssl.SSLSocket)
        self._refusal: ssl.SSLError | None = None
        """An alert met while writing: httpcore forgets it, reads, and would find but a shut connection."""
        live.setblocking(False)

    def offer(self, rest: memoryview, timeout: float | None) -> int:
        """Return how much of *rest* was taken; 0: nothing yet, but something has moved since."""
        try:
            # A TLS piece that did not fit must be offered again as it is, and is.
            return self.raw.send(rest[:_TLS_PIECE] if self.is_tls else rest)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait(select.POLLIN | select.POLLOUT, timeout)
        except ssl.SSLWantReadError:
            self._wait(select.POLLIN, timeout)
        except ssl.SSLError as error:
            self._note(error)
            raise
        return 0

    def receive(self, timeout: float | None) -> bytes:
        """Wait for bytes; none: the other side has ended."""
        if self._refusal is not None:
            raise self._refusal
        while True:
            try:
                return self.raw.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, timeout)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, timeout)
            except ssl.SSLEOFError:
                return b""

    def receive_now(self) -> bytes | None:
        """Return what has arrived; empty: the other side has ended; None: nothing that can be read yet."""
        if not self._has_arrived():
            return None
        try:
            return self.raw.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None  # part of a TLS record, or one that is not for us (a session ticket)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def is_readable(self, wait_s: float | None = 0) -> bool:
        """Return whether something arrives within *wait_s*; None: however long it takes."""
        return self._is_ready(select.POLLIN, wait_s)

    def _note(self, error: ssl.SSLError) -> None:
        if "ALERT" in (error.reason or ""):
            self._refusal = error

    def _has_arrived(self) -> bool:
        if isinstance(self.raw, ssl.SSLSocket) and self.raw.pending():
            return True
        return self.is_readable()

    def _is_ready(self, events: int, wait_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self.raw, events)
        return bool(poll.poll(None if wait_s is None else wait_s * 1000))

    def _wait(self, events: int, timeout: float | None) -> None:
        if not self._is_ready(events, timeout):
            msg = f"nothing moved for {timeout:.0f} s"
            raise TimeoutError(msg)
