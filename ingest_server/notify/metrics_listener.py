"""The private listener: what an operator's machines ask and the world need not know.

Apart from the one for devices, off by default, without a credential: for this machine or a private
network (`[metrics] listen`). It shares no thread with uploads, so it answers while they take all of
theirs; Python's own plain HTTP server is enough for a scrape every few seconds.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from typing import Any

import structlog

from ingest_server.base.health import readiness_answer
from ingest_server.core.errors import ServerError
from ingest_server.front.address import ListenAddress
from ingest_server.front.listening import ListenError, remove_stale_socket
from ingest_server.notify.metrics import Metrics, server_version

log = structlog.get_logger()

TIMEOUT_S = 5.0
POLL_S = 0.1
"""How soon it notices a stop."""
MOST_AT_ONCE = 32
"""Requests; whoever comes beyond that is hung up on."""
ACCEPT_PAUSE_S = 0.2


class MetricsListener:
    """Serves `/metrics`, `/readyz` and `/version` from `start` to `stop`."""

    def __init__(
        self,
        address: ListenAddress,
        metrics: Metrics,
        readiness: Callable[[], list[str]],
        now_s: Callable[[], float],
    ) -> None:
        """*now_s*: by a clock that never goes back."""
        self._now_s = now_s
        self._wanted = address
        self._metrics = metrics
        self._readiness = readiness
        self._scraping = threading.Lock()
        self._http: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> ListenAddress:
        """Where it listens: with the kernel's choice where port 0 was asked for."""
        if self._http is None or self._wanted.path:
            return self._wanted
        host, port = self._http.socket.getsockname()[:2]
        return ListenAddress(host, port)

    def start(self) -> None:
        """Listen; requests are served on return.

        Raises:
            ServerError: the address cannot be had.
        """
        try:
            self._http = _Server(self._wanted, self._answer, self._now_s)
        except OSError as error:
            sentence = str(ListenError(self._wanted, error))
            raise ServerError(sentence.replace("[server] listen", "[metrics] listen")) from error
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        log.info("metrics.started", address=str(self.address))

    def stop(self) -> None:
        if self._http is None or self._thread is None:
            return
        self._http.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        if self._wanted.path:
            Path(self._wanted.path).unlink(missing_ok=True)

    def _answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            with self._scraping:  # each reads the database; one after the other
                content, content_type = self._metrics.exposition(accept)
            return HTTPStatus.OK, content_type, content
        if path == "/readyz":
            status, text = readiness_answer(self._readiness())
            return status, "text/plain", text.encode()
        if path == "/version":
            about = {"version": server_version(), "python": platform.python_version()}
            return HTTPStatus.OK, "application/json", json.dumps(about).encode()
        known = b"this listener has /metrics, /readyz and /version\n"
        return HTTPStatus.NOT_FOUND, "text/plain", known


Answer = Callable[[str, str], tuple[HTTPStatus, str, bytes]]


class _Server(ThreadingMixIn, TCPServer):
    """A listener on a TCP address or a Unix socket."""

    daemon_threads = True
    request_queue_size = MOST_AT_ONCE
    block_on_close = False  # a scraper that stalls must not hold the stop up
    allow_reuse_address = True

    def __init__(self, address: ListenAddress, answer: Answer, now_s: Callable[[], float]) -> None:
        self.answer = answer
        self._now_s = now_s
        self.stopping = threading.Event()
        self._asking: dict[Any, float] = {}
        """Who has not said yet what is wanted, and since when."""
        self._open = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._is_full = False
        if address.path:
            remove_stale_socket(Path(address.path))
            self.address_family = socket.AF_UNIX
            super().__init__(address.path, _Handler)  # type: ignore[arg-type] # typed for TCP
        else:
            self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_UNIX:
            # The file gets the socket's mode less the umask: never wider than meant.
            os.fchmod(self.socket.fileno(), 0o660)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # Out of descriptors, most likely: the loop would try again without a pause.
            self.stopping.wait(ACCEPT_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._open.acquire(blocking=False):
            if not self._is_full:
                log.warning(
                    "metrics.crowded",
                    error=f"{MOST_AT_ONCE} connections are open, and more are hung up on",
                    action="see who keeps connections to [metrics] listen; each ends by itself within seconds",
                )
            self._is_full = True
            self.shutdown_request(request)
            return
        self._is_full = False
        self._asking[request] = self._now_s()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread to be had
            self.has_asked(request)
            self._open.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._open.release()

    def has_asked(self, request: Any) -> None:
        self._asking.pop(request, None)

    def service_actions(self) -> None:
        """End who takes too long over a head, however often a byte of it comes."""
        now_s = self._now_s()
        for request, since_s in list(self._asking.items()):
            if now_s - since_s > TIMEOUT_S:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 # its signature
        log.warning("metrics.failed", error=repr(sys.exception()))


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_S
    server: BaseServer

    def do_GET(self) -> None:
        if not isinstance(self.server, _Server):
            raise TypeError(type(self.server).__name__)
        self.server.has_asked(self.request)
        path = self.path.partition("?")[0]
        status, kind, content = self.server.answer(path, self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 # http.server's names

    def version_string(self) -> str:
        return "edge-uploader"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its signature
        log.debug("metrics.asked", error=format % args)
