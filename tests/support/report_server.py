"""A server that takes reports, for tests of the agent alone: real sockets, answers as a test wants them."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from demo.ports import LOOPBACK

_REFUSAL = (
    b'{"code":"malformed-request","status":422,"title":"no","detail":"it is not of its form"}'
)


_BUSY = b'{"code":"server-busy","status":503,"title":"busy","detail":"come again"}'


class ReportServer:
    """Keeps what it is told. What it answers is in public members, to be changed while it runs.

    It has events as the real one does: each once, by its number.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.commands: list[dict[str, Any]] = []
        self.desired: dict[str, Any] | None = None
        self.want: list[str] = []
        self.answer: bytes | None = None
        """In the place of all that; None: what follows from the report."""
        self.loses_answers = False
        """Hang up instead of answering, once what was told is kept."""
        self.retry_after: int | None = None
        self.reports: list[dict[str, Any]] = []
        self.holds: list[dict[str, Any]] = []
        self.keeps_holds = True
        self.standing = ("", 0)
        self.held: dict[str, list[Any]] = {}
        """What it knows that the device holds: rows by their file_id."""
        self.events: list[dict[str, Any]] = []
        self.acks: list[dict[str, Any]] = []
        self.connections = 0
        self.through = 0
        self.run = "a1b2c3d4"
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _report: False
        """Which reports are answered with 422, as a whole."""
        here = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body at once: else each waits for the other's acknowledgement
            disable_nagle_algorithm = True

            def setup(self) -> None:
                here.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                told = json.loads(body)
                is_refused = here.refuses(told)
                said = _REFUSAL if is_refused else here.take(self.path, told)
                if here.loses_answers:
                    self.close_connection = True
                    return
                if here.status == 503:
                    said = _BUSY
                self.send_response_only(422 if is_refused else here.status)
                if here.retry_after is not None:
                    self.send_header("Retry-After", str(here.retry_after))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'' if tls is None else 's'}://{LOOPBACK}:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def take(self, path: str, document: dict[str, Any]) -> bytes:
        if self.status == 200:
            if path.endswith("/holds"):
                return self._take_holds(document)
            self._take_report(document)
        if self.answer is not None:
            return self.answer
        said = {
            "v": 1,
            "now": "2026-11-29T02:26:55Z",
            "commands": self.commands,
            "desired": self.desired,
            "want": self.want,
            "through": self.through,
            "run": self.run,
        }
        if "holds" in document and self.keeps_holds:
            said["holds"] = dict(zip(("epoch", "through"), self.standing, strict=True))
        return json.dumps(said, separators=(",", ":")).encode()

    def _take_holds(self, document: dict[str, Any]) -> bytes:
        self.holds.append(document)
        epoch, through = self.standing
        begins_anew = document["from"] == 0
        if begins_anew or (
            epoch == document["epoch"] and document["from"] <= through < document["through"]
        ):
            self.held = {} if begins_anew else self.held
            for row in document["rows"]:
                self.held.pop(row[0], None)
                if len(row) > 2:
                    self.held[row[0]] = row
            self.standing = (document["epoch"], document["through"])
        elif epoch != document["epoch"]:
            self.standing = (document["epoch"], 0)
        return json.dumps(dict(zip(("epoch", "through"), self.standing, strict=True))).encode()

    def _take_report(self, document: dict[str, Any]) -> None:
        self.reports.append(document)
        self.acks += document.get("acks", [])
        for event in document.get("events", []):
            if event["seq"] > self.through:
                self.through = event["seq"]
                self.events.append(event)
        told = {one["id"] for one in self.acks}
        self.commands = [one for one in self.commands if one.get("id") not in told]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(20)
