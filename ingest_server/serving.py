"""cheroot embedded in this process, made fit for uploads; the only module that knows cheroot.

What is changed, and why (stock cheroot is not enough for uploads):

* the request head is read by `wire`, which refuses what two readers could understand differently;
* ``wsgi.input`` is a `SocketBody`: bytes on arrival, truncation is an error, a stall ends;
* ``100 Continue`` is sent when the application first reads, so a refusal comes without it;
* a connection whose body was not read in full is closed, but not before the peer had a chance to
  read the answer (lingering close);
* a connection gets a thread only once it has sent something;
* a stop first finishes running requests, then cuts the rest through their bodies, so that the
  application can still seal what has arrived.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from cheroot import server as cheroot_server
from cheroot import wsgi

from ingest_server import wire
from ingest_server.address import Address
from ingest_server.body import Patience, SocketBody
from ingest_server.chunked import ChunkedBody
from ingest_server.listening import ListenError, remove_stale_socket
from upload_protocol import problems

log = structlog.get_logger()

BACKLOG = 1024
"""Connections that the kernel holds for us: a whole fleet that comes back at once."""

WRITE_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75
"""Idle time before a connection is closed; longer than an agent's pause between requests."""

LINGER_BYTES = 64 * 1024
LINGER_S = 2.0
CUT_GRACE_S = 5
"""After running requests were cut: time for them to seal and answer."""

ACCEPT_FAILED = "Error in HTTPServer.serve"  # cheroot's words
ACCEPT_PAUSE_S = 0.2

KEEPALIVE_PROBES = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
USER_TIMEOUT_MS = 30_000
"""Unacknowledged data of ours (an answer) for this long means that the peer is gone."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    address: Address
    threads: int = 64
    header_timeout_s: float = 15.0
    """From the first byte of a request to the end of its headers: they are a few hundred bytes."""
    stop_timeout_s: float = 30.0
    patience: Patience = field(default_factory=Patience)


class Reader:
    """The receiving side of one connection: buffered for the head, out of the way for the body."""

    def __init__(self, connection: socket.socket, now_s: Callable[[], float]) -> None:
        self.closed = False
        self.bytes_read = 0  # cheroot's statistics ask for it
        self.deadline_s: float | None = None
        self._connection = connection
        self._now_s = now_s
        self._buffer = bytearray()

    def has_data(self) -> bool:
        return bool(self._buffer)

    def readline(self, limit: int) -> bytes:
        """Return up to and with the next line feed, at most *limit* bytes; b"" at the end.

        Raises:
            TimeoutError: the deadline passed.
        """
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched, limit)
            if end >= 0 or len(self._buffer) >= limit:
                return self._cut(end + 1 if end >= 0 else limit)
            searched = len(self._buffer)
            if not self._fill():
                return self._cut(len(self._buffer))

    def take(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._buffer))
        buffer[:count] = self._buffer[:count]
        del self._buffer[:count]
        return count

    def _cut(self, count: int) -> bytes:
        line = bytes(self._buffer[:count])
        del self._buffer[:count]
        return line

    def _fill(self) -> bool:
        if self.deadline_s is not None:
            left_s = self.deadline_s - self._now_s()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left_s)
        found = self._connection.recv(8192)
        self._buffer += found
        return bool(found)

    def close(self) -> None:
        self.closed = True


class _Request(cheroot_server.HTTPRequest):
    """One request: our head, our body, cheroot's gateway and answer."""

    server: UploadServer
    conn: _Connection
    body: SocketBody | None = None

    def parse_request(self) -> None:
        """Read the head, or answer what is wrong with it."""
        reader = self.conn.rfile
        reader.deadline_s = self.server.now_s() + self.server.settings.header_timeout_s
        self.started_request = True
        try:
            head = wire.read_head(reader.readline)
        except wire.MalformedError as error:
            self._refuse(error.code, str(error))
            return
        finally:
            reader.deadline_s = None
        if head is None:
            return
        self.method, self.uri, self.path, self.qs = head.method, head.target, head.path, head.query
        self.authority = b""
        self.request_protocol = head.version
        self.response_protocol = head.version.decode("ascii")
        self.inheaders = head.headers
        self.chunked_read = head.is_chunked
        self.close_connection = head.is_chunked or not head.keeps_alive
        self.ready = True
        self.body = self._body(head)

    def _body(self, head: wire.Head) -> SocketBody:
        conn, server = self.conn, self.server
        patience, now_s = server.settings.patience, server.now_s
        expects = head.expects_continue
        if head.is_chunked:
            return ChunkedBody(
                conn.socket, conn.rfile, patience=patience, now_s=now_s, expects_continue=expects
            )
        return SocketBody(
            conn.socket,
            conn.rfile,
            head.length,
            patience=patience,
            now_s=now_s,
            expects_continue=expects,
        )

    def respond(self) -> None:
        body = self.rfile = self.body
        if body is None:
            raise RuntimeError("a request is answered before its head was read")
        self.server.enter(self)
        try:
            self.server.gateway(self).respond()
            self.ensure_headers_sent()
            if self.chunked_write:
                self.conn.wfile.write(b"0\r\n\r\n")
        finally:
            body.finish()
            self.server.leave(self)
            if self._ends_connection():
                self.close_connection = self.conn.lingers = True
        if self.server.draining:
            self.close_connection = True

    def _ends_connection(self) -> bool:
        return self.body is not None and not self.body.is_spent

    def send_headers(self) -> None:
        """Send the answer's head; never reads on: an unread body ends the connection instead."""
        if self._ends_connection() or self.server.draining:
            self.close_connection = True
        self.conn.socket.settimeout(WRITE_TIMEOUT_S)
        self.rfile, hidden = None, self.rfile  # cheroot would read the rest of it
        try:
            super().send_headers()
        finally:
            self.rfile = hidden

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer in cheroot's stead when something fails outside of the application."""
        code = {"408": "request-timeout", "503": "server-busy"}.get(str(status)[:3], "internal")
        self._refuse(code, msg or problems.PROBLEMS[code].title)

    def _refuse(self, code: str, detail: str) -> None:
        kind = problems.PROBLEMS[code]
        document = {
            "type": kind.uri,
            "title": kind.title,
            "status": kind.status,
            "code": code,
            "detail": detail,
            "retryable": kind.retryable,
        }
        content = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {kind.status} {kind.title}\r\n"
            f"Content-Type: {problems.CONTENT_TYPE}\r\nContent-Length: {len(content)}\r\n"
            f"Date: {email.utils.formatdate(usegmt=True)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.close_connection = self.conn.lingers = self.sent_headers = True
        self.conn.socket.settimeout(WRITE_TIMEOUT_S)
        with contextlib.suppress(OSError):  # the peer may be gone, and it is over anyway
            self.conn.wfile.write(head.encode("ascii") + content)
        log.info("request.refused", status=kind.status, code=code, error=detail)


class _Connection(cheroot_server.HTTPConnection):
    RequestHandlerClass = _Request

    server: UploadServer
    lingers = False
    is_parked = False

    def __init__(self, server: UploadServer, sock: socket.socket, makefile: Any) -> None:
        def made(one: socket.socket, mode: str, size: int) -> Any:
            return Reader(one, server.now_s) if "r" in mode else makefile(one, mode, size)

        super().__init__(server, sock, made)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE_PROBES:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    def close(self) -> None:
        """Close; after an early answer, let the peer read it before a reset can destroy it."""
        if self.lingers:
            self._linger()
        super().close()

    def _linger(self) -> None:
        left = LINGER_BYTES
        give_up_s = self.server.now_s() + LINGER_S
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while left > 0 and (left_s := give_up_s - self.server.now_s()) > 0:
                self.socket.settimeout(left_s)
                got = len(self.socket.recv(16 * 1024))
                if got == 0:
                    break
                left -= got


class UploadServer(wsgi.Server):
    """An HTTP server for one WSGI application.

    `listen` binds and `serve` runs until `stop`, which is called from another thread.
    """

    ConnectionClass = _Connection
    keep_alive_conn_limit = 2**20  # its default of 10 is for a web site; descriptors are the limit

    def __init__(
        self,
        settings: ServingSettings,
        app: Callable[..., Iterable[bytes]],
        *,
        now_s: Callable[[], float],
    ) -> None:
        address = settings.address
        super().__init__(
            address.path or (address.host, address.port),
            app,
            numthreads=settings.threads,
            server_name="edge-uploader",
            request_queue_size=BACKLOG,
            timeout=KEEP_ALIVE_S,
            shutdown_timeout=CUT_GRACE_S,
        )
        self.settings = settings
        self.now_s = now_s
        self.draining = False
        self._bind_error: OSError | None = None
        self._stopping = threading.Event()
        self._running: set[_Request] = set()
        self._changed = threading.Condition()

    @property
    def address(self) -> Address:
        """Where it really listens: with the kernel's choice where port 0 was asked for."""
        if isinstance(self.bind_addr, str):
            return Address(path=self.bind_addr)
        host, port = self.bind_addr
        return Address(host, port)

    def listen(self) -> None:
        """Bind and start the threads; connections queue from now on.

        Raises:
            ListenError: the address cannot be had.
        """
        try:
            self.prepare()
        except OSError as error:
            # cheroot raises an error of its own, without the number that says why.
            raise ListenError(self.settings.address, self._bind_error or error) from error

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002 # cheroot's
        made = self.prepare_socket(self.bind_addr, family, type, proto, self.nodelay, None)
        return self._bound(made)

    def bind_unix_socket(self, bind_addr: str) -> socket.socket:
        try:
            remove_stale_socket(Path(bind_addr))
        except OSError as error:
            self._bind_error = error
            raise
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The file gets the socket's mode less the umask: never wider than meant, maybe narrower.
        os.fchmod(made.fileno(), 0o660)
        self._bound(made)
        Path(bind_addr).chmod(0o660)
        return made

    def _bound(self, made: socket.socket) -> socket.socket:
        try:
            made.bind(self.bind_addr)
        except OSError as error:
            made.close()
            self._bind_error = error
            raise
        name = made.getsockname()
        self.bind_addr = name if isinstance(name, str) else name[:2]
        self.socket = made
        return made

    def process_conn(self, conn: _Connection) -> None:
        """Give a connection a thread, a new one only once it has sent something.

        A thousand connections that say nothing then cost a descriptor each, and no thread.
        """
        if conn.is_parked:
            super().process_conn(conn)
        else:
            conn.is_parked = True
            self.put_conn(conn)

    def enter(self, request: _Request) -> None:
        with self._changed:
            self._running.add(request)

    def leave(self, request: _Request) -> None:
        with self._changed:
            self._running.discard(request)
            self._changed.notify_all()

    def stop(self) -> None:
        """Finish running requests for the stop timeout, cut the rest, close.

        From its first moment `draining` is true: the application answers 503 to new work, and
        each connection is closed after its answer.
        """
        self.draining = True
        self._stopping.set()
        if not self._wait_until_idle(self.settings.stop_timeout_s):
            with self._changed:
                rest = list(self._running)
            log.warning("server.cut", requests=len(rest))
            for request in rest:
                if request.body is not None:
                    request.body.interrupt()
            if not self._wait_until_idle(CUT_GRACE_S):
                self._shut_down_rest()
        super().stop()
        if isinstance(self.bind_addr, str):
            Path(self.bind_addr).unlink(missing_ok=True)

    def _wait_until_idle(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    def _shut_down_rest(self) -> None:
        with self._changed:
            rest = list(self._running)
        for request in rest:
            with contextlib.suppress(OSError):
                request.conn.socket.shutdown(socket.SHUT_RDWR)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Send cheroot's own messages the way of all others."""
        if msg == ACCEPT_FAILED:
            # Out of descriptors, most likely: it would try again, and log, without a pause.
            self._stopping.wait(ACCEPT_PAUSE_S)
        if level >= logging.WARNING:
            log.error("server.failed", error=msg, exc_info=traceback)
        else:
            log.debug("server.noted", error=msg)
