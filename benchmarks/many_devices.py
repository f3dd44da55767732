"""Many devices on slow links, and one on a fast link: does the fast one notice?

``python -m benchmarks.many_devices`` prints a row for `docs/performance.md`: uploads at 20 KB/s each,
and beside them requests of 8 MB, verified by their digest and durable, one every half second.
``--tls`` sends all of it over TLS.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import resource
import secrets
import selectors
import shutil
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.machine import MB, cpu_s
from tests.support.certificates import Authority
from tests.support.processes import Server

RATE = 20_000
TICK_S = 0.5
"""How often each slow device sends: a few packets, as a bad link delivers them."""
FAST_BYTES = 8 * MB
FAST_EVERY_S = 0.5
SPARE = 100
"""Uploads that the server takes besides the slow ones."""


@dataclass(frozen=True, slots=True)
class Result:
    fast_s: list[float]
    status_s: list[float]
    failed: int
    slow_broken: int
    slow_rate: float
    """Bytes per second that the server took of a slow one."""
    pss_idle: float
    pss: float
    cpu: float
    """Of the server, in CPU seconds per second."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_devices", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000, help="slow ones (default: 1000)")
    parser.add_argument("--seconds", type=float, default=30, help="measured (default: 30)")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-devices"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(f"{machine.describe(folder)}\n")
        print(
            "| slow | fast served | failed | p50 s | max s | status p50 s | PSS MiB | CPU/s "
            "| KB/s of a slow one |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        found = run(folder, chosen.devices, chosen.seconds, is_tls=chosen.tls)
        print(
            f"| {chosen.devices}{' over TLS' if chosen.tls else ''} | {len(found.fast_s)} "
            f"| {found.failed + found.slow_broken} | {statistics.median(found.fast_s):.3f} "
            f"| {max(found.fast_s):.3f} | {statistics.median(found.status_s):.4f} "
            f"| {found.pss_idle:.0f} -> {found.pss:.0f} | {found.cpu:.2f} "
            f"| {found.slow_rate / 1000:.1f} |"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, devices: int, seconds: float, *, is_tls: bool = False) -> Result:
    """Measure once; needs a descriptor for each device on either side."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        _server(folder, devices + SPARE, is_tls=is_tls) as (server, context),
        contextlib.closing(Client(server.port, context)) as client,
    ):
        uploads = [client.create(f"slow-{number}", 10**9) for number in range(devices)]
        fast = client.create("fast", 10**10)
        pss_idle = _pss(server.pid)
        slow = SlowDevices(client, uploads)
        try:
            slow.wait_until_sending()
            return _measure(server, client, fast, slow, seconds, pss_idle)
        finally:
            slow.stop()


def _measure(
    server: Server, client: Client, fast: str, slow: SlowDevices, seconds: float, pss_idle: float
) -> Result:
    data = secrets.token_bytes(FAST_BYTES)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    fast_s: list[float] = []
    status_s: list[float] = []
    failed, pss = 0, 0.0
    sample = slow.uploads[:: max(1, len(slow.uploads) // 20)]
    before = [client.received_bytes(one) for one in sample]
    began_s, cpu_before = time.monotonic(), cpu_s(server.pid)
    while (now_s := time.monotonic()) < began_s + seconds:
        start = len(fast_s) * FAST_BYTES
        try:
            answer = client.put(fast, start, data, digest)
            fast_s.append(time.monotonic() - now_s)
            failed += answer != 200
            asked_s = time.monotonic()
            failed += client.head(fast) != 200
            status_s.append(time.monotonic() - asked_s)
        except OSError:
            failed += 1
        pss = max(pss, _pss(server.pid))
        time.sleep(max(0.0, FAST_EVERY_S - (time.monotonic() - now_s)))
    took_s = time.monotonic() - began_s
    used = cpu_s(server.pid) - cpu_before
    after = [client.received_bytes(one) for one in sample]
    rate = statistics.median(b - a for a, b in zip(before, after, strict=True)) / took_s
    return Result(fast_s, status_s, failed, slow.broken, rate, pss_idle, pss, used / took_s)


@contextlib.contextmanager
def _server(
    folder: Path, uploads: int, *, is_tls: bool
) -> Iterator[tuple[Server, ssl.SSLContext | None]]:
    tables: dict[str, Any] = {}
    context = None
    if is_tls:
        authority = Authority(folder / "ca")
        keys = authority.server()
        tables["tls"] = {"cert_file": keys.cert, "key_file": keys.key}
        context = authority.client_context()
    server = Server(
        folder / "server",
        server={"threads": uploads},
        auth={"mode": "open"},
        limits={"max_open_uploads_per_device": 10_000},
        **tables,
    )
    server.tls = context
    server.start()
    try:
        yield server, context
    finally:
        server.stop(60)


def _pss(pid: int) -> float:
    """Return the memory of a process in MiB, shared pages by its share of them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("the kernel tells no Pss")


class Client:
    """One connection for requests one after the other, and heads for those that are sent slowly."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.port = port
        self.context = context
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)

    def close(self) -> None:
        self._connection.close()

    def create(self, device: str, length: int) -> str:
        document = {"name": "clip.mp4", "length": length, "device": device}
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": secrets.token_hex(16),
        }
        answer = self._ask("POST", "/v1/uploads", json.dumps(document), headers)
        if answer.status != 201:
            raise RuntimeError(answer.body)
        return str(json.loads(answer.body)["id"])

    def put(self, upload_id: str, start: int, data: bytes, digest: str) -> int:
        headers = {
            "Content-Range": f"bytes {start}-{start + len(data) - 1}/*",
            "Content-Digest": f"sha-256=:{digest}:",
        }
        return self._ask("PUT", f"/v1/uploads/{upload_id}/content", data, headers).status

    def head(self, upload_id: str) -> int:
        return self._ask("HEAD", f"/v1/uploads/{upload_id}", None, {}).status

    def complete(self, path: str, length: int, digest: str) -> int:
        document = json.dumps({"length": length, "digest": digest})
        return self._ask(
            "POST", f"{path}/complete", document, {"Content-Type": "application/json"}
        ).status

    def received_bytes(self, upload_id: str) -> int:
        answer = self._ask("GET", f"/v1/uploads/{upload_id}", None, {})
        return int(json.loads(answer.body)["received_bytes"])

    def _ask(
        self, method: str, path: str, body: str | bytes | None, headers: dict[str, str]
    ) -> _Answer:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return _Answer(answer.status, answer.read())

    def begin(self, upload_id: str, length: int) -> socket.socket:
        """Open a connection and send the head of a long request."""
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        made = plain
        if self.context is not None:
            made = self.context.wrap_socket(plain, server_hostname="localhost")
        made.sendall(
            f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Range: bytes 0-{length - 1}/*\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        return made


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class SlowDevices:
    """All slow devices in one thread, each sending a little at its own moment of the tick."""

    def __init__(self, client: Client, uploads: list[str], tick_s: float = TICK_S) -> None:
        """Begin; *tick_s*: how often each sends as much as at 20 KB/s comes in half a second."""
        self.broken = 0
        self._tick_s = tick_s
        self._client = client
        self.uploads = uploads
        self._stopped = threading.Event()
        self._sending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_until_sending(self) -> None:
        if not self._sending.wait(120):
            raise TimeoutError("the slow devices did not get going")
        time.sleep(2 * self._tick_s)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        links = [self._client.begin(one, 10**9) for one in self.uploads]
        self._sending.set()
        piece = b"x" * int(RATE * TICK_S)
        answers = selectors.DefaultSelector()
        for link in links:
            answers.register(link, selectors.EVENT_READ)
        alive = set(links)
        try:
            tick_s = time.monotonic()
            while not self._stopped.is_set():
                for number, link in enumerate(links):
                    due_s = tick_s + self._tick_s * number / len(links)
                    if (wait_s := due_s - time.monotonic()) > 0.005:
                        time.sleep(wait_s)
                    if link in alive:
                        self._send(link, piece, alive)
                # An answer before the end can only be a refusal; TLS tickets are no answer.
                if self._client.context is None:
                    for key, _ in answers.select(0):
                        alive.discard(key.fileobj)
                        answers.unregister(key.fileobj)
                        self.broken += 1
                tick_s = max(tick_s + self._tick_s, time.monotonic() - self._tick_s)
        finally:
            answers.close()
            for link in links:
                link.close()

    def _send(self, link: socket.socket, piece: bytes, alive: set[socket.socket]) -> None:
        try:
            link.sendall(piece)
        except OSError:
            alive.discard(link)
            self.broken += 1


if __name__ == "__main__":
    main()
