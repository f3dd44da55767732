"""A server that takes an upload on and then stands still: what a dead link looks like from here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from upload_protocol.messages import UploadStatus
from upload_protocol.ranges import RangeSet


class StallingServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.is_stalling = threading.Event()
        """Set when a body has begun to arrive that nobody will read."""
        self.stalling = 0
        """How many bodies nobody reads."""
        self.counting = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StallingServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = UploadStatus(
            "0" * 32, asked.get("device") or "d", asked["name"], "open", asked["length"], RangeSet()
        )
        body = json.dumps(status.to_json()).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        with self.server.counting:
            self.server.stalling += 1
        self.server.is_stalling.set()
        self.server.released.wait(60)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def stalling_server() -> Iterator[StallingServer]:
    with StallingServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
