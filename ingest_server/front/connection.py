"""One connection and its requests, made of cheroot's and fit for uploads.

A connection takes a thread only while there is work for one: a TLS handshake, a request's head, the
small JSON body of a control request and the lingering after an early answer all proceed whenever
bytes arrive, and are parked with the server's selector in between, each with a deadline.
"""

from __future__ import annotations

import contextlib
import email.utils
import enum
import json
import secrets
import select
import socket
import ssl
from typing import TYPE_CHECKING, Any

import structlog

from ingest_server.core.errors import Refused
from ingest_server.front import admission, cheroot_parts, request_head
from ingest_server.front.answer_writer import AnswerWriter
from ingest_server.front.body import CONTINUE, SocketBody
from ingest_server.front.chunked import ChunkedBody
from ingest_server.front.head_reader import Gathered, HeadReader
from ingest_server.front.tls import CLIENT_NAME, SECURE_ENVIRON, TlsSocket
from upload_protocol import headers, problems

if TYPE_CHECKING:
    from ingest_server.front.http_server import UploadServer

log = structlog.get_logger()

WRITE_TIMEOUT_S = 30.0
NEXT_REQUEST_MS = 1
"""How long the thread of an answered request waits for the next: a client on the same machine, or a
proxy, takes less than this, and one across a network never comes so soon."""
LINGER_BYTES = 64 * 1024
LINGER_S = 2.0

KEEPALIVE_PROBES = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
USER_TIMEOUT_MS = 30_000
"""Unacknowledged data of ours (an answer) for this long means that the peer is gone."""


class HttpRequest(cheroot_parts.Request):
    """One request: our head, our body, cheroot's gateway and answer."""

    server: UploadServer
    conn: HttpConnection
    body: SocketBody | None = None

    def parse_request(self) -> None:
        """Take over the head that was gathered, or answer what is wrong with it.

        Raises:
            RuntimeError: no head was gathered; a bug here.
        """
        found = self.conn.gathered
        if found is None:
            raise RuntimeError("a request begins before its head was gathered")
        self.started_request = True
        if found.fault is not None:
            self.refuse(found.fault.code, str(found.fault))
        head = found.head
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

    def _body(self, head: request_head.RequestHead) -> SocketBody:
        conn, server = self.conn, self.server
        patience, now_s = server.settings.patience, server.now_s
        expects = head.expects_continue and not admission.is_gathered(head)
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
        """Let the application answer, and leave the connection as it can go on.

        Raises:
            RuntimeError: the head was not read; a bug here.
        """
        body = self.rfile = self.body
        if body is None:
            raise RuntimeError("a request is answered before its head was read")
        self.server.enter(self)
        try:
            self.server.gateway(self).respond()
            self.ensure_headers_sent()
            if self.chunked_write:
                self.conn.wfile.write(b"0\r\n\r\n")
            self.conn.wfile.flush()
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
            with self.conn.wfile.held():
                super().send_headers()
        finally:
            self.rfile = hidden

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer in cheroot's stead when something fails outside of the application."""
        code = {"408": "request-timeout", "503": "server-busy"}.get(str(status)[:3], "internal")
        self.refuse(code, msg or problems.PROBLEMS[code].title)

    def refuse(self, code: str, detail: str) -> None:
        """Answer with a problem, and end the connection."""
        self.close_connection = self.conn.lingers = self.sent_headers = True
        self.conn.socket.settimeout(WRITE_TIMEOUT_S)
        with contextlib.suppress(OSError):  # the peer may be gone, and it is over anyway
            self.conn.wfile.write(self.conn.refusal(code, detail))


def refusal(code: str, detail: str, request_id: str) -> bytes:
    """Return a whole answer, for what the application never gets to see."""
    kind = problems.PROBLEMS[code]
    content = json.dumps(Refused(code, detail).document(request_id)).encode("ascii")
    head = (
        f"HTTP/1.1 {kind.status} {kind.title}\r\n"
        f"Content-Type: {problems.CONTENT_TYPE}\r\nContent-Length: {len(content)}\r\n"
        f"Date: {email.utils.formatdate(usegmt=True)}\r\n{headers.REQUEST_ID}: {request_id}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + content


class Phase(enum.Enum):
    """What a connection waits for while it is parked."""

    IDLE = enum.auto()
    HANDSHAKE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    TURN = enum.auto()
    """For its turn among the control requests, not for bytes."""
    LINGER = enum.auto()


_TOO_SLOW = {Phase.HEAD: "the headers", Phase.BODY: "the body"}


class HttpConnection(cheroot_parts.Connection):
    RequestHandlerClass = HttpRequest

    server: UploadServer

    def __init__(self, server: UploadServer, sock: socket.socket, makefile: Any) -> None:  # noqa: ARG002 # cheroot's
        def made(one: socket.socket, mode: str, size: int) -> HeadReader | AnswerWriter:  # noqa: ARG001 # cheroot's
            return HeadReader(one) if "r" in mode else AnswerWriter(one)

        super().__init__(server, sock, made)
        self.phase = Phase.IDLE
        self.deadline_s: float | None = None
        """When the peer's time for the phase is over; None: the server's keep-alive time counts."""
        self.parked_s = 0.0
        """Since when it waits."""
        self.gathered: Gathered | None = None
        self.lingers = False
        self.is_accepted = False
        self.has_turn = False
        self._linger_left = LINGER_BYTES
        self._is_secured = server.tls is None
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE_PROBES:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        server.remember(self)

    def communicate(self) -> bool:
        """Go on as far as is possible; true where the connection is to be parked again."""
        if self.phase is Phase.LINGER:
            return self._goes_on_lingering()
        while True:
            if self.phase is not Phase.TURN:
                try:
                    if not self._is_ready():
                        return True
                except OSError as error:
                    log.debug("connection.broken", phase=self.phase.name.lower(), error=str(error))
                    return False
                if self._must_wait_its_turn():
                    self.phase, self.deadline_s = Phase.TURN, None
                    return True
            if not self._serve():
                return False
            # The next request of a sender close by is here within a moment; to wait for it here
            # saves two handovers between threads. Not while others wait for a thread.
            if self.lingers or self.server.requests.qsize or not self._goes_on():
                return True

    def _goes_on(self) -> bool:
        """Whether the peer sends something at once after an answer, or has sent it before."""
        if self.rfile.has_data():
            return True
        waiting = select.poll()
        waiting.register(self.socket.fileno(), select.POLLIN)
        return bool(waiting.poll(NEXT_REQUEST_MS))

    def _serve(self) -> bool:
        self.phase, self.deadline_s = Phase.IDLE, None
        try:
            is_kept: bool = super().communicate()  # type: ignore[no-untyped-call] # cheroot's
        finally:
            self.gathered = None
            if self.has_turn:
                self.has_turn = False
                self.server.turns.end()
        return is_kept or (self.lingers and self._begins_to_linger())

    def _must_wait_its_turn(self) -> bool:
        head = None if self.gathered is None else self.gathered.head
        if head is None or not admission.is_control(head):
            return False
        self.has_turn = self.server.turns.take()
        return not self.has_turn

    # What is gathered before a request begins.

    def _is_ready(self) -> bool:
        """Whether a whole request is here, as far as it is gathered; else parks it.

        Raises:
            OSError: the connection broke, or its TLS handshake failed.
        """
        if not self._is_secured and not self._proceeds_with_handshake():
            return False
        if self.gathered is None:
            self._enter(Phase.HEAD, self.server.settings.header_timeout_s)
            self.gathered = self.rfile.gather()
            if self.gathered is None:
                if not len(self.rfile):
                    # Nothing but TLS records of its own has come: it is between two requests.
                    self.phase, self.deadline_s = Phase.IDLE, None
                return False
        head = self.gathered.head
        if head is None or not admission.is_gathered(head):
            return True
        if head.expects_continue and self.phase is not Phase.BODY:
            # At once: who holds back so little, and would wait for the application's word, would
            # hold a thread meanwhile.
            self.socket.settimeout(0)
            self.socket.send(CONTINUE)
        self._enter(Phase.BODY, self.server.settings.patience.read_timeout_s)
        is_here: bool = self.rfile.gather_body(head.length)
        return is_here

    def _enter(self, phase: Phase, timeout_s: float) -> None:
        if self.phase is not phase:
            self.phase, self.deadline_s = phase, self.server.now_s() + timeout_s

    def _proceeds_with_handshake(self) -> bool:
        """Do what can be done of the handshake at once; true when it is complete."""
        if self.server.tls is None:
            raise RuntimeError("a handshake without a certificate")
        self._enter(Phase.HANDSHAKE, self.server.settings.header_timeout_s)
        if not isinstance(self.socket, TlsSocket):
            self.socket.settimeout(0)
            self.socket = self.server.tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.rfile = HeadReader(self.socket)
            self.wfile = AnswerWriter(self.socket)
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                detail = "this port speaks https only, the request is plain http"
                self.socket.send_plainly(self.refusal("malformed-request", detail))
            log.info("tls.refused", peer=self.remote_addr, error=error.reason or str(error))
            raise
        self._is_secured = True
        self.ssl_env = dict(SECURE_ENVIRON)
        name = self.socket.client_name()
        if name is not None:
            self.ssl_env[CLIENT_NAME] = name
        return True

    # The end.

    def expire(self) -> None:
        """End a connection whose time is over. Called by the acceptor: never waits."""
        late = _TOO_SLOW.get(self.phase)
        if late is not None:
            self.lingers = True
            self.socket.settimeout(0)
            with contextlib.suppress(OSError):
                self.socket.send(self.refusal("request-timeout", f"{late} did not arrive in time"))
            if self._begins_to_linger():
                self.server.put_conn(self)
                return
        with contextlib.suppress(OSError):
            self.close()

    def _begins_to_linger(self) -> bool:
        """Let the peer read an early answer before a reset can destroy it (RFC 9112, 9.6)."""
        self.phase, self.deadline_s = Phase.LINGER, self.server.now_s() + LINGER_S
        self.rfile.discard()
        if isinstance(self.socket, TlsSocket):
            self.socket.say_goodbye()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return self._goes_on_lingering()

    def _goes_on_lingering(self) -> bool:
        is_tls = isinstance(self.socket, TlsSocket)
        self.socket.settimeout(0)
        try:
            while self._linger_left > 0:
                size = 16 * 1024
                got = self.socket.drop(size) if is_tls else len(self.socket.recv(size))
                if got == 0:
                    return False
                self._linger_left -= got
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def refusal(self, code: str, detail: str) -> bytes:
        """Return the answer to a request that the application never gets to see, and tell of it."""
        request_id = secrets.token_hex(8)
        status = problems.PROBLEMS[code].status
        self.server.observer.request_refused(status=status, code=code)
        log.info("request.refused", request_id=request_id, status=status, code=code, error=detail)
        return refusal(code, detail, request_id)

    def close(self) -> None:
        if self._is_secured and isinstance(self.socket, TlsSocket) and not self.lingers:
            self.socket.say_goodbye()
        self.server.forget(self)
        super().close()
