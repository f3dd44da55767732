"""The ways to run the server: each gets the same requests, byte by byte."""

import contextlib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.ports import LOOPBACK, free_port
from ingest_server.front.address import ListenAddress
from ingest_server.front.proxy_headers import CertificateProxy, trusting
from tests.support.certificates import Authority
from tests.support.ingest import ingest
from tests.support.processes import toml, wait_for
from tests.support.raw_http import Peer, serving
from tests.support.requirements import require

NGINX_CONFIG = Path(__file__).parents[2] / "deploy" / "nginx" / "ingest-server.conf"
READ_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Front:
    """Where a client connects to, and what it has to expect there."""

    name: str
    address: ListenAddress
    tls: ssl.SSLContext | None = None
    data_dir: Path | None = None

    def connect(self) -> Peer:
        return Peer(self.address, self.tls)

    @property
    def is_ours(self) -> bool:
        """Whether our own container speaks to the client."""
        return self.name in {"own", "own TLS"}


@dataclass(frozen=True, kw_only=True)
class Gunicorn(Front):
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def front(name: str, folder: Path) -> Iterator[Front]:
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"own": own, "own TLS": own_tls, "gunicorn": gunicorn, "nginx": nginx}
    with makers[name](folder) as made:
        yield made


@contextlib.contextmanager
def own(folder: Path) -> Iterator[Front]:
    with (
        ingest(folder / "data") as made,
        serving(made.app, read_timeout_s=READ_TIMEOUT_S) as server,
    ):
        yield Front("own", server.address, data_dir=folder / "data")


@contextlib.contextmanager
def own_tls(folder: Path) -> Iterator[Front]:
    authority = Authority(folder / "ca")
    with (
        ingest(folder / "data") as made,
        serving(made.app, read_timeout_s=READ_TIMEOUT_S, keys=authority.server()) as server,
    ):
        yield Front("own TLS", server.address, authority.client_context(), folder / "data")


@contextlib.contextmanager
def gunicorn(folder: Path, **tables: dict[str, object]) -> Iterator[Gunicorn]:
    config = folder / "server.toml"
    config.write_text(
        toml(
            {
                "server": {"data_dir": folder / "data"},
                "auth": {"mode": "open"},
                "limits": {"min_free": 0, "read_timeout_s": READ_TIMEOUT_S},
                **tables,
            }
        )
    )
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", "1", "--threads", "16"),
        *("--bind", f"{LOOPBACK}:{port}", "--graceful-timeout", "5", "--no-control-socket"),
        f'ingest_server.wsgi:create_app("{config}")',
    ]
    log = folder / "gunicorn.log"
    with _program(command, log) as process:
        address = ListenAddress(LOOPBACK, port)
        _wait_until_ready(address, None, process, log)
        yield Gunicorn("gunicorn", address, data_dir=folder / "data", process=process, log=log)


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Front]:
    """Our server behind Debian's nginx, with the configuration that deploy/ has."""
    program = require("nginx")
    authority = Authority(folder / "ca")
    pair = authority.server()
    port = free_port()
    socket_path = folder / "server.sock"
    site = NGINX_CONFIG.read_text()
    for theirs, ours in {
        "unix:/run/ingest-server/http.sock": f"unix:{socket_path}",
        "listen 443 ssl": f"listen {LOOPBACK}:{port} ssl",
        "/etc/edge-uploader/server.crt": str(pair.cert),
        "/etc/edge-uploader/server.key": str(pair.key),
        "client_body_timeout 30s": f"client_body_timeout {READ_TIMEOUT_S:.0f}s",
        "# ssl_client_certificate /etc/edge-uploader/devices-ca.crt": (
            f"ssl_client_certificate {authority.cert}"
        ),
        "# ssl_verify_client": "ssl_verify_client",
    }.items():
        assert theirs in site, theirs
        site = site.replace(theirs, ours)
    (folder / "site.conf").write_text(site)
    config = folder / "nginx.conf"
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr info;\n"
        f"events {{}}\nhttp {{ access_log off;\n{places}include {folder}/site.conf; }}\n"
    )
    with (
        ingest(folder / "data") as made,
        serving(
            trusting(made.app, certificates=CertificateProxy(socket=True)),
            listen=f"unix:{socket_path}",
            read_timeout_s=READ_TIMEOUT_S * 10,
        ),
        _program([program, "-p", folder, "-c", config], folder / "nginx.log") as process,
    ):
        address = ListenAddress(LOOPBACK, port)
        context = authority.client_context()
        _wait_until_ready(address, context, process, folder / "nginx.log")
        yield Front("nginx", address, context, folder / "data")


@contextlib.contextmanager
def _program(command, log: Path):
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)

    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    address: ListenAddress, tls: ssl.SSLContext | None, process, log: Path
) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), Peer(address, tls) as peer:
            peer.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return peer.answer().status == 200
        return False

    wait_for(is_ready, f"{address} is ready", 30)
