"""The servers that are compared, each as its people run it; `load_client` feeds them all."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import tus
from benchmarks.load_client import Case, Client
from benchmarks.machine import MB, cpu_s
from demo.ports import LOOPBACK, free_port, is_listening
from tests.support.certificates import Authority
from tests.support.processes import Server, wait_for

NGINX_WORKERS = 2
INSTALL_NGINX = "apt-get install --no-install-recommends nginx"


@dataclass(frozen=True, slots=True)
class Speed:
    mb_per_s: float
    cpu_s_per_gb: float
    written: float
    """Bytes written anywhere, by the kernel's count, for each byte that was sent."""
    finish_s: float = 0.0
    """The slowest request that verified and published a file; in the time of the whole."""


class Peer(ABC):
    """A running server."""

    name: str

    @abstractmethod
    def measure(self, client: Client, case: Case) -> Speed:
        """Send the case's files, every one of them new to the server."""

    @abstractmethod
    def clean(self) -> None:
        """Remove what it stored: what is left to write back must not burden who comes next."""


class Ours(Peer):
    name = "ingest-server"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port if server.tls is None else f"tls:{server.port}"
        self.headers = {"Authorization": f"Bearer {server.new_token()}"}

    def measure(self, client: Client, case: Case) -> Speed:
        targets = [self.create(case.length) for _ in range(case.connections)]
        before = _used([self.server.pid])
        seconds = client.send(self.port, case, self.head(), targets)
        finishes = []
        for target in targets:  # verified and published: a part of the work
            started_s = time.monotonic()
            self.complete(target, case.length, client.digest(case.length))
            finishes.append(time.monotonic() - started_s)
        after = _used([self.server.pid])
        return _speed(case, seconds + sum(finishes), before, after, max(finishes))

    def head(self) -> str:
        return (
            "PUT {target}/content HTTP/1.1\r\n"
            f"Host: {LOOPBACK}\r\n"
            f"Authorization: {self.headers['Authorization']}\r\n"
            "Content-Length: {body}\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n"
        )

    def create(self, length: int) -> str:
        """Return the path of a new upload."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        asked = {"name": f"{secrets.token_hex(8)}.bin", "length": length}
        return f"/v1/uploads/{self.post('/v1/uploads', asked, key)['id']}"

    def complete(self, target: str, length: int, digest: str) -> None:
        while True:
            found = self.post(f"{target}/complete", {"length": length, "digest": digest})
            if "published_as" in found:
                return
            time.sleep(0.01)  # still verifying

    def post(self, path: str, document: Any, more: dict[str, str] | None = None) -> Any:
        headers = {**self.headers, "Content-Type": "application/json", **(more or {})}
        connection = http.client.HTTPConnection(LOOPBACK, self.server.port, timeout=120)
        if self.server.tls is not None:
            connection = http.client.HTTPSConnection(
                LOOPBACK, self.server.port, timeout=120, context=self.server.tls
            )
        try:
            connection.request("POST", path, json.dumps(document), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{answer.status}: {content[:300]!r}")
        return json.loads(content)

    def clean(self) -> None:
        for path in self.server.published_files():
            path.unlink()


class Nginx(Peer):
    """PUT by nginx's dav module: a new file each request, neither hashed nor synced."""

    name = "nginx dav PUT"

    def __init__(self, port: int | str, pids: list[int], folder: Path) -> None:
        self._port = port
        self._pids = pids
        self._folder = folder

    @property
    def port(self) -> int:
        return int(str(self._port).removeprefix("tls:"))

    def measure(self, client: Client, case: Case) -> Speed:
        head = "PUT {target}-{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n"
        targets = [f"/{number}" for number in range(case.connections)]
        before = _used(self._pids)
        seconds = client.send(self._port, case, head, targets)
        return _speed(case, seconds, before, _used(self._pids))

    def clean(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()


class Npm(Peer):
    """The npm tus server with its file store: neither hashed nor synced."""

    def __init__(self, peer: tus.Peer, folder: Path) -> None:
        self.name = peer.name
        self._peer = peer
        self._folder = folder

    def measure(self, client: Client, case: Case) -> Speed:
        head = (
            "PATCH {target} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
            "Upload-Offset: {first}\r\nContent-Type: application/offset+octet-stream\r\n"
            "Content-Length: {body}\r\n\r\n"
        )
        targets = [self._create(case.length) for _ in range(case.connections)]
        before = _used([self._peer.pid])
        seconds = client.send(self._peer.port, case, head, targets)
        return _speed(case, seconds, before, _used([self._peer.pid]))

    def _create(self, length: int) -> str:
        connection = http.client.HTTPConnection(LOOPBACK, self._peer.port, timeout=30)
        try:
            headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
            connection.request("POST", "/files", headers=headers)
            return urlsplit(connection.getresponse().headers["Location"]).path
        finally:
            connection.close()

    def clean(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()


def _used(pids: list[int]) -> tuple[float, int]:
    return sum(map(cpu_s, pids)), sum(io_count(pid, "wchar") for pid in pids)


def io_count(pid: int, key: str) -> int:
    """Return one of the kernel's counts of what a process read and wrote."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields[key])


def _speed(
    case: Case,
    seconds: float,
    before: tuple[float, int],
    after: tuple[float, int],
    finish_s: float = 0.0,
) -> Speed:
    return Speed(
        case.total / MB / seconds,
        (after[0] - before[0]) / (case.total / 1e9),
        (after[1] - before[1]) / case.total,
        finish_s,
    )


@contextlib.contextmanager
def ours(folder: Path, authority: Authority | None = None) -> Iterator[Ours]:
    """Run our server, with a certificate of *authority* where there is one."""
    if authority is None:
        server = Server(folder / "ours")
    else:
        keys = authority.server()
        tls = {"cert_file": keys.cert, "key_file": keys.key}
        server = Server(folder / "ours-tls", tls=tls)
        server.tls = authority.client_context()
    try:
        server.start()
        yield Ours(server)
    finally:
        server.close()


@contextlib.contextmanager
def nginx(folder: Path, authority: Authority | None = None) -> Iterator[Nginx]:
    """Run nginx with its data in *folder*, with a certificate of *authority* where there is one.

    Raises:
        FileNotFoundError: there is no nginx here.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise FileNotFoundError(f"nginx is not installed: {INSTALL_NGINX}")
    home, port = folder / ("nginx" if authority is None else "nginx-tls"), free_port()
    for part in ("root", "temp"):
        (home / part).mkdir(parents=True)
    secure, keys = "", ""
    if authority is not None:
        pair = authority.server()
        secure = " ssl"
        # What ours and the client agree on as well.
        keys = (
            f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key}; ssl_protocols TLSv1.3;"
        )
    user = "user root;" if os.geteuid() == 0 else ""
    temps = "\n".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(f"""
        {user} daemon off; worker_processes {NGINX_WORKERS}; pid {home}/pid;
        error_log {home}/error.log;
        events {{ worker_connections 256; }}
        http {{
          access_log off; sendfile on; keepalive_requests 1000000; client_max_body_size 0;
          client_body_temp_path {home}/temp; {temps}
          server {{
            listen {LOOPBACK}:{port}{secure}; {keys} root {home}/root;
            location / {{ dav_methods PUT; }}
          }}
        }}
    """)
    with subprocess.Popen([program, "-p", home, "-e", home / "error.log", "-c", home / "nginx.conf"],
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        try:
            wait_for(lambda: is_listening(port), "nginx listens")
            yield Nginx(f"tls:{port}" if secure else port, _family(process.pid), home / "root")
        finally:
            process.terminate()


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


@contextlib.contextmanager
def npm(folder: Path) -> Iterator[Npm]:
    """Install and run the npm tus server.

    Raises:
        FileNotFoundError: there is no npm here.
    """
    with tus.npm_server(folder) as peer:
        yield Npm(peer, folder / "npm-data")
