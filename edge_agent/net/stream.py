"""httpcore's view of a socket, with what a sender on a bad link needs and httpcore's own lacks.

While a body goes out the other direction is listened to (`early_answer`), pieces are not copied, and
waiting is limited by idle time alone (`idle_socket`). Works on TCP and TLS alike.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpcore

from edge_agent.base.clock import SystemClock
from edge_agent.base.helper import only_helps
from edge_agent.net.connect import dial
from edge_agent.net.early_answer import EarlyAnswer, OnInformational
from edge_agent.net.idle_socket import IdleSocket
from edge_agent.net.resolver import Resolver
from edge_agent.net.route import why_none
from edge_agent.net.socket_options import SocketOption
from edge_agent.net.way import Way

_CLOCK = SystemClock()
"""httpcore hands no clock down."""

_SESSIONS: WeakKeyDictionary[ssl.SSLContext, dict[str | None, ssl.SSLSession]] = WeakKeyDictionary()
"""Of the last connection to each name: resuming it saves the certificates, and on a slow board most of
the handshake's work. A session is good for the context alone that it began with."""


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
        way: says what else is.
        on_informational: called from the thread that sends; must return at once.
    """

    def __init__(
        self,
        names: Resolver,
        options: Iterable[SocketOption] = (),
        *,
        way: Way | None = None,
        on_informational: OnInformational = tell_nobody,
    ) -> None:
        self._way = Way() if way is None else way
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
        """Return a stream to *host*.

        Raises:
            httpcore.ConnectTimeout: nobody answered.
            httpcore.ConnectError: nobody is there, or no way leads there.
        """
        del local_address, socket_options  # of the pool, which was given none
        began_s = _CLOCK.now_s()
        with _named(httpcore.ConnectTimeout, httpcore.ConnectError):
            addresses = self._names.addresses(host, port, timeout)
            left_s = None if timeout is None else timeout - (_CLOCK.now_s() - began_s)
            options = (*self._options, *self._way.options())
            try:
                live = dial(addresses, options=options, timeout_s=left_s, clock=_CLOCK)
            except OSError as error:
                why = why_none(host, [str(peer[0]) for _, peer in addresses])
                if why is None:
                    raise
                raise OSError(why) from error
        return Stream(live, self._on_informational)


class Stream(httpcore.NetworkStream):
    """One connection, used by one thread."""

    def __init__(self, live: socket.socket, on_informational: OnInformational) -> None:
        self._connection = IdleSocket(live)
        self._on_informational = on_informational
        self._answer = EarlyAnswer(self._connection, on_informational)
        self._is_head_next = True

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
                self._answer.begin()
                self._send(buffer, timeout)
                self._answer.head_sent(buffer)
            else:
                self._answer.wait_for_continue()
                self._send(buffer, timeout)

    def _send(self, buffer: bytes, timeout: float | None) -> None:
        rest = memoryview(buffer)
        while rest:
            self._answer.look()
            rest = rest[self._connection.offer(rest, timeout) :]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to *max_bytes* of the answer; nothing at its end.

        Raises:
            httpcore.ReadTimeout: nothing came for *timeout* seconds.
            httpcore.ReadError: the connection broke, or nobody goes on with the request.
        """
        self._is_head_next = True
        with _named(httpcore.ReadTimeout, httpcore.ReadError):
            return self._answer.read(max_bytes, timeout)

    def close(self) -> None:
        live = self._connection.raw
        if isinstance(live, ssl.SSLSocket) and live.fileno() >= 0:
            with only_helps("TLS sessions", instead="the next handshake is a whole one"):
                _remember_session(live)
        live.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        with _named(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._connection.raw.settimeout(timeout)
                secure = ssl_context.wrap_socket(
                    self._connection.raw,
                    server_hostname=server_hostname,
                    session=_known_session(ssl_context, server_hostname),
                )
            except Exception:
                self.close()
                raise
        return Stream(secure, self._on_informational)

    def get_extra_info(self, info: str) -> Any:
        live = self._connection.raw
        match info:
            case "socket":
                return live
            case "client_addr":
                return live.getsockname()
            case "server_addr":
                return live.getpeername()
            case "ssl_object":
                return live if self._connection.is_tls else None
            case "is_readable":
                # A closed socket, too: the connection is then not used again.
                return live.fileno() < 0 or self._connection.is_readable()
            case _:
                return None
