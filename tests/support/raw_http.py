"""A client that sends exactly the bytes it is told to, and a server on loopback to send them to."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ingest_server.base.observer import NOBODY, Observer
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.front.admission import HELD_S
from ingest_server.front.body import Patience
from ingest_server.front.http_server import ServingSettings, UploadServer
from ingest_server.front.interim import Interim
from ingest_server.front.tls import TlsFiles, server_context
from tests.support.certificates import Pair

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """One connection; closed by the ``with`` that opens it."""

    def __init__(self, address: ListenAddress, tls: ssl.SSLContext | None = None) -> None:
        if address.path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT_S)
            self.socket.connect(address.path)
        else:
            self.socket = socket.create_connection((address.host, address.port), TIMEOUT_S)
        self._pending = b""
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            except BaseException:
                self.socket.close()
                raise

    def half_close(self) -> None:
        """Send the end of the connection, and go on reading; TLS is not told."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_until_refused(self, piece: bytes, limit: int) -> None:
        """Send on like a client that does not read before it has sent everything."""
        sent = 0
        try:
            while sent < limit:
                self.socket.sendall(piece)
                sent += len(piece)
        except OSError:
            return

    def answer(self, *, has_body: bool = True) -> Answer:
        """Read one whole answer, with the interim ones before it."""
        interim = []
        while True:
            head = self.head().split("\r\n")
            status = int(head[0].split(" ")[1])
            if status >= 200:
                break
            interim.append(status)
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        fields = {name.title(): value for name, value in pairs}
        length = int(fields.get("Content-Length", 0)) if has_body else 0
        while len(self._pending) < length:
            self._pending += self._some()
        body, self._pending = self._pending[:length], self._pending[length:]
        return Answer(status, fields, body, tuple(interim))

    def head(self) -> str:
        """Read the head of one answer, interim or final."""
        return self._until(b"\r\n\r\n").decode("latin-1")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._pending:
            self._pending += self._some()
        head, _, self._pending = self._pending.partition(mark)
        return head

    def _some(self) -> bytes:
        found = self.socket.recv(65536)
        if not found:
            raise ConnectionError(f"closed; unread: {self._pending[:200]!r}")
        return found

    def is_closed_by_server(self) -> bool:
        """Wait for the end of the connection; what is still unread counts as not closed."""
        try:
            return not self._pending and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def serving(
    app: Callable[..., Any],
    *,
    listen: str = "127.0.0.1:0",
    max_uploads: int = 8,
    read_timeout_s: float = 5.0,
    header_timeout_s: float = 5.0,
    stop_timeout_s: float = 5.0,
    min_rate: float = 0.0,
    min_rate_window_s: float = 60.0,
    keys: Pair | None = None,
    client_ca: Path | None = None,
    observer: Observer = NOBODY,
    behind_proxy: bool = False,
    interim: Interim = Interim.DIRECT,
    keep_alive_s: float = 75.0,
    held_s: float = HELD_S,
) -> Iterator[UploadServer]:
    """Serve *app* on a port of the kernel's choice; over TLS with *keys*."""
    tls = None if keys is None else server_context(TlsFiles(keys.cert, keys.key, client_ca))
    settings = ServingSettings(
        parse_address(listen),
        max_uploads=max_uploads,
        header_timeout_s=header_timeout_s,
        stop_timeout_s=stop_timeout_s,
        behind_proxy=behind_proxy,
        interim=interim,
        keep_alive_s=keep_alive_s,
        held_s=held_s,
        patience=Patience(read_timeout_s, min_rate, min_rate_window_s),
    )
    server = UploadServer(settings, app, now_s=time.monotonic, tls=tls, observer=observer)
    server.expiration_interval = 0.05  # how soon it sees who is late
    server.listen()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
