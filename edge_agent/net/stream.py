"""httpcore's view of a socket, with what a sender on a bad link needs and httpcore's own lacks.

While a body goes out the other direction is listened to: a final answer ends the sending at once and
is read, informational ones (1xx) are told, ``Expect: 100-continue`` holds the body back. Pieces are
not copied. Works on TCP and TLS alike, because what was read ahead is kept for the reader.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpcore

from edge_agent.base.clock import SystemClock
from edge_agent.net.connect import dial
from edge_agent.net.resolver import Resolver
from edge_agent.net.socket_options import SocketOption

OnInformational = Callable[[int, bytes], None]
"""Told the status of a 1xx answer and its raw head."""

_CLOCK = SystemClock()
"""httpcore hands no clock down."""

_SESSIONS: WeakKeyDictionary[ssl.SSLContext, dict[str | None, ssl.SSLSession]] = WeakKeyDictionary()
"""Of the last connection to each name: resuming it saves the certificates, and on a slow board most of
the handshake's work. A session is good for the context alone that it began with."""

_TLS_PIECE = 64 * 1024
"""Encrypted at once; between two such pieces the other direction is looked at."""
_READ_BYTES = 64 * 1024
_LONGEST_HEAD = 64 * 1024
_MOST_INFORMATIONAL = 100
"""1xx answers to one request; each ends the idle time anew, so that without end they would hold us."""
_ANSWER_S, _ANSWER_BYTES_PER_S = 60.0, 64
"""An answer that has begun comes at that rate at least, after the first minute."""
_CONTINUE_S = 1.0
"""Then the body is sent without a 100 (RFC 9110, 10.1.1: never wait indefinitely)."""

_EXPECTS = re.compile(rb"\r\nexpect: *100-continue\r\n", re.IGNORECASE)
_BEGIN = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])")
_BEGIN_BYTES = 12


def tell_nobody(_status: int, _head: bytes) -> None:
    """Do nothing with an informational answer."""


@contextmanager
def _named(timeout: type[Exception], other: type[Exception]) -> Iterator[None]:
    """Raise httpcore's name for a fault of a socket."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(error) from error
    except OSError as error:
        raise other(error) from error


def _known_session(context: ssl.SSLContext, server_hostname: str | None) -> ssl.SSLSession | None:
    return _SESSIONS.get(context, {}).get(server_hostname)


def _remember_session(live: ssl.SSLSocket) -> None:
    # Now and not after the handshake: in TLS 1.3 the ticket comes later, with the first answer.
    session = live.session
    if session is not None and session.has_ticket:
        _SESSIONS.setdefault(live.context, {})[live.server_hostname] = session


class Backend(httpcore.NetworkBackend):
    """Opens streams.

    Args:
        options: set on each socket before it is connected.
        on_informational: called from the thread that sends; must return at once.
    """

    def __init__(
        self,
        names: Resolver,
        options: Iterable[SocketOption] = (),
        *,
        on_informational: OnInformational = tell_nobody,
    ) -> None:
        self._names = names
        self._options = tuple(options)
        self._on_informational = on_informational

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del local_address, socket_options  # of the pool, which was given none
        began_s = _CLOCK.now_s()
        with _named(httpcore.ConnectTimeout, httpcore.ConnectError):
            addresses = self._names.addresses(host, port, timeout)
            left_s = None if timeout is None else timeout - (_CLOCK.now_s() - began_s)
            live = dial(addresses, options=self._options, timeout_s=left_s, clock=_CLOCK)
        return Stream(live, self._on_informational)


class Stream(httpcore.NetworkStream):
    """One connection, used by one thread."""

    def __init__(self, live: socket.socket, on_informational: OnInformational) -> None:
        self._socket = live
        self._on_informational = on_informational
        self._ahead = bytearray()
        """Read and not yet asked for."""
        self._is_head_next = True
        self._awaits_answer = False
        """A request has begun whose final answer has not."""
        self._awaits_continue = False
        self._refusal: ssl.SSLError | None = None
        """An alert met while writing: httpcore forgets it, reads, and would find but a shut connection."""
        self._informational = 0
        """1xx answers to the request at hand."""
        self._answer_began_s = 0.0
        self._answer_bytes = 0
        live.setblocking(False)

    # --- writing ------------------------------------------------------------------------------

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of *buffer*; *timeout* is for the time in which nothing moves.

        Raises:
            httpcore.WriteError: also when the final answer is there already; it can be read.
        """
        if not buffer:
            return
        with _named(httpcore.WriteTimeout, httpcore.WriteError):
            if self._is_head_next:
                self._is_head_next = False
                self._awaits_answer = True
                self._informational = self._answer_bytes = 0
                self._send(buffer, timeout)
                self._awaits_continue = _EXPECTS.search(buffer) is not None
                return
            if self._awaits_continue:
                self._wait_for_continue()
            self._send(buffer, timeout)

    def _send(self, buffer: bytes, timeout: float | None) -> None:
        rest = memoryview(buffer)
        is_tls = isinstance(self._socket, ssl.SSLSocket)
        while rest:
            try:
                self._look_ahead()
                # A TLS piece that did not fit must be offered again as it is, and is.
                rest = rest[self._socket.send(rest[:_TLS_PIECE] if is_tls else rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLIN | select.POLLOUT, timeout)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, timeout)
            except ssl.SSLError as error:
                if "ALERT" in (error.reason or ""):
                    self._refusal = error
                raise

    def _wait_for_continue(self) -> None:
        until_s = _CLOCK.now_s() + _CONTINUE_S
        while self._awaits_continue and (left_s := until_s - _CLOCK.now_s()) > 0:
            if not self._is_ready(select.POLLIN, left_s):
                break
            self._look_ahead()
        self._awaits_continue = False

    def _look_ahead(self) -> None:
        """Take in what has arrived.

        Raises:
            httpcore.WriteError: a final answer has begun to arrive, or the other side hung up.
        """
        while self._awaits_answer and self._has_arrived():
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return  # part of a TLS record, or one that is not for us (a session ticket)
            self._ahead += data
            self._take_informational()
            if not data or not self._awaits_answer:
                raise httpcore.WriteError("answered before the body was sent")

    def _take_informational(self) -> None:
        """Cut 1xx answers off the beginning, and notice when the final one begins."""
        while self._awaits_answer and len(self._ahead) >= _BEGIN_BYTES:
            begin = _BEGIN.match(self._ahead)
            if begin is None or not begin[1].startswith(b"1") or begin[1] == b"101":
                self._awaits_answer = False  # the final one, or none of ours: the reader will see
                return
            end = self._ahead.find(b"\r\n\r\n")
            if end < 0:
                self._awaits_answer = len(self._ahead) < _LONGEST_HEAD
                return
            status, head = int(begin[1]), bytes(self._ahead[:end])
            del self._ahead[: end + 4]
            self._awaits_continue = False
            self._informational += 1
            self._answer_bytes = 0
            if self._informational > _MOST_INFORMATIONAL:
                msg = f"{_MOST_INFORMATIONAL} informational answers and no final one"
                raise httpcore.RemoteProtocolError(msg)
            self._on_informational(status, head)

    # --- reading ------------------------------------------------------------------------------

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._is_head_next = True
        with _named(httpcore.ReadTimeout, httpcore.ReadError):
            if self._refusal is not None and not self._ahead:
                raise self._refusal
            while self._awaits_answer or not self._ahead:
                data = self._receive(timeout)
                self._ahead += data
                self._take_informational()
                self._demand_pace(len(data))
                if not data:
                    self._awaits_answer = False
                    break
        data = bytes(self._ahead[:max_bytes])
        del self._ahead[:max_bytes]
        return data

    def _demand_pace(self, count: int) -> None:
        """Refuse an answer that trickles: a byte a minute keeps every idle time from running out."""
        if self._answer_bytes == 0:
            self._answer_began_s = _CLOCK.now_s()
        self._answer_bytes += count
        allowed_s = _ANSWER_S + self._answer_bytes / _ANSWER_BYTES_PER_S
        if _CLOCK.now_s() - self._answer_began_s > allowed_s:
            raise httpcore.ReadTimeout("the answer trickles in")

    def _receive(self, timeout: float | None) -> bytes:
        while True:
            try:
                return self._socket.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, timeout)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, timeout)
            except ssl.SSLEOFError:
                return b""

    # --- waiting ------------------------------------------------------------------------------

    def _has_arrived(self) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return self._is_ready(select.POLLIN, 0)

    def _is_ready(self, events: int, wait_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._socket, events)
        return bool(poll.poll(None if wait_s is None else wait_s * 1000))

    def _wait(self, events: int, timeout: float | None) -> None:
        if not self._is_ready(events, timeout):
            msg = f"nothing moved for {timeout:.0f} s"
            raise TimeoutError(msg)

    # --- the rest -----------------------------------------------------------------------------

    def close(self) -> None:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.fileno() >= 0:
            _remember_session(self._socket)
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        with _named(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._socket.settimeout(timeout)
                secure = ssl_context.wrap_socket(
                    self._socket,
                    server_hostname=server_hostname,
                    session=_known_session(ssl_context, server_hostname),
                )
            except Exception:
                self.close()
                raise
        return Stream(secure, self._on_informational)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "socket":
                return self._socket
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "is_readable":
                # A closed socket, too: the connection is then not used again.
                return self._socket.fileno() < 0 or self._is_ready(select.POLLIN, 0)
            case _:
                return None
