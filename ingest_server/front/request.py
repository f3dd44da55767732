"""One request of a connection: what was gathered, its body, and its answer piece by piece."""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING

from ingest_server.core.errors import Refused
from ingest_server.front import admission, cheroot_parts, request_head
from ingest_server.front.body import SocketBody
from ingest_server.front.chunked import ChunkedBody
from ingest_server.front.interim import takes_interim
from upload_protocol import headers, problems

if TYPE_CHECKING:
    from ingest_server.front.connection import HttpConnection
    from ingest_server.front.http_server import UploadServer


class HttpRequest(cheroot_parts.Request):
    """One request: our head, our body, cheroot's gateway and answer."""

    server: UploadServer
    conn: HttpConnection
    body: SocketBody | None = None
    _pieces: Generator[None, None, None] | None = None
    """The answer, as far as it is still to be made."""

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
        body = self._unread(head)
        body.takes_interim = takes_interim(
            head, self.server.settings.interim, from_proxy=self.conn.is_proxys
        )
        return body

    def _unread(self, head: request_head.RequestHead) -> SocketBody:
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
        self._pieces = self.server.gateway(self).pieces()
        self.server.roster.enter(self)
        self.go_on()

    def go_on(self) -> None:
        """Make and send the answer as far as the peer takes it; the connection says when it takes more.

        Raises:
            OSError: the connection broke.
        """
        self.conn.answering = self
        try:
            is_out = self._is_out()
        except BaseException:
            self.end()
            raise
        if is_out:
            self.end()

    def _is_out(self) -> bool:
        out, asked = self.conn.wfile, self.conn.asked
        most = None if asked is None else asked.slice_bytes
        before = out.bytes_written
        while not out.is_full:
            if most is not None and out.bytes_written - before >= most:
                return False  # others have waited for this turn
            if self._pieces is None:
                return True
            if next(self._pieces, self) is not self:
                if self.conn.holds_back():
                    return False
            else:
                self._pieces = None
                self.ensure_headers_sent()
                if self.chunked_write:
                    out.write(b"0\r\n\r\n")
                out.flush()
        return False

    def end(self) -> None:
        """Leave the connection as it can go on: the answer is out, or will never be."""
        self.conn.answering = None
        pieces, self._pieces = self._pieces, None
        try:
            if pieces is not None:
                pieces.close()
        finally:
            if self.body is not None:
                self.body.finish()
            self.server.roster.leave(self)
            if self._ends_connection():
                self.close_connection = self.conn.lingers = True
            if self.server.draining:
                self.close_connection = True

    def cut(self) -> None:
        """End what is waited for of the peer, from another thread: the body, or that it reads."""
        if self.conn.awaits_reader or self.conn.is_sliced:
            with contextlib.suppress(OSError):
                self.conn.socket.shutdown(socket.SHUT_RDWR)
        elif self.body is not None:
            self.body.interrupt()

    def _ends_connection(self) -> bool:
        return self.body is not None and not self.body.is_spent

    def send_headers(self) -> None:
        """Send the answer's head; never reads on: an unread body ends the connection instead."""
        if self._ends_connection() or self.server.draining or self.server.is_leaving:
            self.close_connection = True
        self.conn.socket.settimeout(0)
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
        self.conn.socket.settimeout(0)
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
