"""Who takes webhooks, in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Consumer(ThreadingHTTPServer):
    """Takes webhooks; keeps which event came for which upload, as often as it came."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.told: list[tuple[str, str]] = []
        self.status = 204
        """What it answers."""
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                consumer.told.append((event["subject"], event["id"]))
                self.send_response(consumer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)


@contextmanager
def consumer(port: int = 0) -> Iterator[Consumer]:
    """Run one as long as the body does."""
    with Consumer(port) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()
