"""A server that takes an upload on and then stands still: what a dead link looks like from here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from upload_protocol.headers import parse_content_range
from upload_protocol.messages import UploadStatus
from upload_protocol.ranges import RangeSet


class StallingServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, takes: Callable[[], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.takes = takes
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
        self._answer(201, "0" * 32, asked["length"], RangeSet())

    def _answer(self, code: int, upload_id: str, length: int, received: RangeSet) -> None:
        status = UploadStatus(upload_id, "d", "a.mp4", "open", length, received)
        body = json.dumps(status.to_json()).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        if self.server.takes():
            where = parse_content_range(self.headers["Content-Range"])
            self.rfile.read(where.where.length)
            self._answer(200, self.path.split("/")[3], where.total or 0, RangeSet([where.where]))
            return
        with self.server.counting:
            self.server.stalling += 1
        self.server.is_stalling.set()
        self.server.released.wait(60)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def stalling_server(
    takes: Callable[[], bool] = lambda: False,
) -> Iterator[StallingServer]:
    """A server whose *takes* says for each body whether it is still taken."""
    with StallingServer(takes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
