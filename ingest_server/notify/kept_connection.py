"""The connection to a webhook's target, kept from one event to the next while they come.

The addresses of a name are looked up once for each connection, and only those very addresses are
connected to, and only if they are public. So what a name stands for is asked anew within `MAX_AGE_S`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, quote

from edge_host.clock import Clock
from ingest_server.notify.public_address import is_public
from ingest_server.notify.watch import Limit, Watch

MAX_AGE_S = 60.0
IDLE_S = 5.0
"""Without an event; servers that keep connections do so for longer, as a rule."""
MAX_ANSWER = 64 * 1024
"""What is read of an answer's content so that another event may follow it."""

_AS_IT_STANDS = "/?%:@!$&'()*+,;=~[]-._"

Resolve = Callable[[str, int], Sequence[str]]


class WebhookError(Exception):
    """A webhook cannot be told; the message is fit for a log."""


class UnreachedError(Exception):
    """The target has no address, or takes no connection: whatever it was to be told."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of *host*."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what checks a target's certificate; the file is read anew, as one may be renewed.

    Raises:
        WebhookError: it cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as error:
        raise WebhookError(f"the ca_file {ca_file} holds no certificate in PEM form") from error
    except OSError as error:
        raise WebhookError(f"the ca_file {ca_file} cannot be read: {error.strerror}") from error


class Place(Protocol):
    """Which addresses may be connected to, and by whose certificate."""

    @property
    def allow_private(self) -> bool: ...

    @property
    def ca_file(self) -> Path | None: ...


@dataclass(slots=True)
class _Line:
    sock: socket.socket
    until_s: float
    """When it is closed, whatever comes."""
    used_s: float | None = None


class KeptConnection:
    """One target's connection; for one thread at a time."""

    def __init__(self, place: Place, clock: Clock, *, resolve: Resolve, timeout_s: float) -> None:
        self._place = place
        self._clock = clock
        self._resolve = resolve
        self._timeout_s = timeout_s
        self._line: _Line | None = None
        self._watch: Watch | None = None

    def close(self) -> None:
        """Let the connection go; the next event makes another."""
        self._drop()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()

    __del__ = close

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.sock.close()

    def post(
        self, url: SplitResult, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None]:
        """Send a request; returns the status of the answer, and its Retry-After.

        On a connection that the target has closed meanwhile it is sent once more, on a new one.

        Raises:
            WebhookError: the target may not be connected to.
        UnreachedError: it cannot be.
            TimeoutError: the whole of it took too long.
            OSError, http.client.HTTPException: the connection broke, or what came is no answer.
        """
        sent = _request(url, headers, body)
        limit = Limit(self._clock.now_s() + self._timeout_s)
        line = self._kept()
        if line is not None:
            try:
                return self._exchange(line, sent, limit)
            except (ConnectionError, http.client.BadStatusLine):  # nothing was answered
                pass
        return self._exchange(self._new(url, limit.until_s), sent, limit)

    def _kept(self) -> _Line | None:
        line, now_s = self._line, self._clock.now_s()
        if line is None or line.used_s is None:
            return None
        if now_s >= line.until_s or now_s - line.used_s > IDLE_S:
            self._drop()
        return self._line

    def _exchange(self, line: _Line, sent: bytes, limit: Limit) -> tuple[int, str | None]:
        if self._watch is None:
            self._watch = Watch(self._clock.now_s, self._timeout_s / 20)
        answer = http.client.HTTPResponse(line.sock, method="POST")
        is_whole = False
        try:
            with self._watch.over(line.sock, limit), answer:
                if line.used_s is None and isinstance(line.sock, ssl.SSLSocket):
                    line.sock.do_handshake()
                line.sock.sendall(sent)
                answer.begin()
                found = answer.status, answer.headers.get("Retry-After")
                if not answer.will_close:
                    is_whole = len(answer.read(MAX_ANSWER + 1)) <= MAX_ANSWER
        except Exception as error:
            self._drop()
            if limit.is_over:
                raise TimeoutError from error
            raise
        if limit.is_over or not is_whole:
            self._drop()
        if limit.is_over:  # a head that was cut looks like a whole one
            raise TimeoutError
        line.used_s = self._clock.now_s()
        return found

    def _new(self, url: SplitResult, until_s: float) -> _Line:
        sock = self._connect(url.scheme, url.hostname or "", url.port, until_s)
        self._line = _Line(sock, self._clock.now_s() + MAX_AGE_S)
        return self._line

    def _connect(self, scheme: str, host: str, port: int | None, until_s: float) -> socket.socket:
        is_tls = scheme == "https"
        port = port or (443 if is_tls else 80)
        with _reaching():
            addresses = self._resolve(host, port)
        if not addresses:
            raise WebhookError(f"{host} has no address")
        if not self._place.allow_private:
            private = [one for one in addresses if not is_public(one)]
            if private:
                raise WebhookError(
                    f"{host} is {private[0]}, not an address of the internet: set allow_private "
                    "if that is meant"
                )
        context = client_context(self._place.ca_file) if is_tls else None
        with _reaching():
            sock = self._reach(addresses, port, until_s)
        try:
            sock.settimeout(self._timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return sock
            return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            sock.close()
            raise

    def _reach(self, addresses: Sequence[str], port: int, until_s: float) -> socket.socket:
        """Return a connection to the first of *addresses* that has one."""
        for number, address in enumerate(addresses, 1):
            left_s = until_s - self._clock.now_s()
            if left_s <= 0:
                break
            try:
                return socket.create_connection((address, port), left_s)
            except OSError:
                if number == len(addresses):
                    raise
        raise TimeoutError


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise UnreachedError("no connection within its time") from error
    except OSError as error:
        raise UnreachedError(f"{type(error).__name__}: {error}"[:200]) from error


def _request(url: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a whole request, to be sent in one piece."""
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [
        f"POST {quote(target, safe=_AS_IT_STANDS)} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body
