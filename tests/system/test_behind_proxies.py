"""The program behind the proxies that Debian has: by deploy/'s configurations, and by their shortest.

What a proxy is told in its manual's first lines must do: a link that the server gives leads back to it.
"""

import contextlib
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from demo.ports import LOOPBACK, free_port
from tests.support.certificates import Authority
from tests.support.processes import Program, Server, wait_for
from tests.support.requirements import require

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
MODULES = "/usr/lib/apache2/modules"
APACHE_MODULES = [
    "mpm_event",
    "authz_core",
    "ssl",
    "headers",
    "proxy",
    "proxy_http",
    "socache_shmcb",
]
TUS = {"Tus-Resumable": "1.0.0"}
FORGED = {
    "X-Client-Verify": "SUCCESS",
    "X-Client-DN": "CN=drone-9",
    "X-Proxy-Secret": "x" * 24,
    "Forwarded": "for=192.0.2.1;proto=http;host=evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "1",
}
NAMES = ["nginx", "apache", "caddy", "haproxy"]


class Proxy:
    """One of them on a port of its own, in front of *upstream*."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.port = name, folder, free_port()
        self.url = f"https://localhost:{self.port}"
        self.authority = Authority(folder / "ca")
        self.pair = self.authority.server()
        self.pem = folder / "server.pem"
        self.pem.write_text(self.pair.cert.read_text() + self.pair.key.read_text())

    def client(self, **headers: str) -> httpx.Client:
        context = self.authority.client_context()
        return httpx.Client(verify=context, base_url=self.url, headers=headers, trust_env=False)

    @contextlib.contextmanager
    def running(self, site: str):
        """Run it with *site*, the configuration of the one place that it serves."""
        command = getattr(self, f"_{self.name}")(site)
        log = self.folder / "proxy.log"
        home = {"HOME": str(self.folder), "PATH": "/usr/sbin:/usr/bin"}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=home)
        try:
            wait_for(lambda: self._answers(process, log), f"{self.name} answers", 20)
            yield self
        finally:
            process.terminate()
            process.wait(15)

    def _answers(self, process, log: Path) -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError), self.client() as client:
            return client.get("/livez").status_code == 200
        return False

    def _nginx(self, site: str):
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        config = self.folder / "nginx.conf"
        config.write_text(
            f"user root; daemon off; pid {self.folder}/nginx.pid; error_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\n{places}{site} }}\n"
        )
        return [require("nginx"), "-p", self.folder, "-c", config]

    def _caddy(self, site: str):
        config = self.folder / "Caddyfile"
        tls = f"\ttls {self.pair.cert} {self.pair.key}\n"
        opening = f"https://localhost:{self.port} {{\n{tls}"
        config.write_text("{\n admin off\n auto_https off\n}\n" + site.replace("SITE {\n", opening))
        return [require("caddy"), "run", "--config", config, "--adapter", "caddyfile"]

    def _haproxy(self, site: str):
        config = self.folder / "haproxy.cfg"
        config.write_text(f"global\n    maxconn 500\n{site}")
        return [require("haproxy"), "-f", config, "-db"]

    def _apache(self, site: str):
        modules = "".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in APACHE_MODULES)
        config = self.folder / "apache.conf"
        config.write_text(
            f"ServerRoot {self.folder}\nServerName localhost\nPidFile {self.folder}/pid\n"
            f"Listen {LOOPBACK}:{self.port}\nErrorLog {self.folder}/errors\n"
            f"Mutex file:{self.folder} default\n{modules}{site}"
        )
        return [require("apache2"), "-f", config, "-DFOREGROUND"]


def shortest(proxy: Proxy, upstream: str) -> str:
    """Return the fewest lines, with the server at / and, its prefix taken away, below /ingest/."""
    cert, key, at = proxy.pair.cert, proxy.pair.key, f"{LOOPBACK}:{proxy.port}"
    return {
        "nginx": f"server {{ listen {at} ssl; ssl_certificate {cert}; ssl_certificate_key {key};\n"
        f"location / {{ proxy_pass {upstream}; }} location /ingest/ {{ proxy_pass {upstream}/; }} }}",
        "caddy": f"SITE {{\n\treverse_proxy {upstream.removeprefix('http://')}\n}}\n",
        "haproxy": "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n"
        f"    timeout server 60s\nfrontend f\n    bind {at} ssl crt {proxy.pem}\n"
        "    http-request replace-path /ingest(/)?(.*) /\\2 if { path_beg /ingest/ }\n"
        "    default_backend b\nbackend b\n    server s " + upstream.removeprefix("http://") + "\n",
        "apache": f"<VirtualHost {at}>\nSSLEngine on\nSSLCertificateFile {cert}\n"
        f"SSLCertificateKeyFile {key}\nProxyPass /ingest/ {upstream}/\n"
        f"ProxyPassReverse /ingest/ {upstream}/\nProxyPass / {upstream}/\n"
        f"ProxyPassReverse / {upstream}/\n</VirtualHost>\n",
    }[proxy.name]


def shipped(proxy: Proxy, socket: Path) -> str:
    """Return deploy/'s configuration with the places of this machine."""
    path = {"nginx": "nginx/ingest-server.conf", "apache": "apache/ingest-server.conf"}
    path |= {"caddy": "caddy/Caddyfile", "haproxy": "haproxy/haproxy.cfg"}
    site = (DEPLOY / path[proxy.name]).read_text()
    changes = {
        "/run/ingest-server/http.sock": str(socket),
        "listen 443 ssl": f"listen {LOOPBACK}:{proxy.port} ssl",
        "<VirtualHost *:443>": f"<VirtualHost {LOOPBACK}:{proxy.port}>",
        "bind :443 ssl": f"bind {LOOPBACK}:{proxy.port} ssl",
        "\ningest.example.org {\n": "\nSITE {\n",
        "/etc/edge-uploader/server.crt": str(proxy.pair.cert),
        "/etc/edge-uploader/server.key": str(proxy.pair.key),
        "/etc/edge-uploader/server.pem": str(proxy.pem),
    }
    for theirs, ours in changes.items():
        site = site.replace(theirs, ours)
    assert str(socket) in site
    return site


@pytest.fixture
def open_folder():
    """A folder that Apache reaches as another user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def served(folder: Path, **keys):
    server = Server(folder, server=keys, auth={"mode": "token"})
    try:
        Program.start(server)  # not on a port, where it would be asked
        if "listen" in keys:
            wait_for(keys["proxy_socket"].exists, "the server listens")
        else:
            server.wait_until_ready()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_in_its_shortest_form_a_link_leads_back_and_nobody_is_a_device_by_headers(
    tmp_path, name, trusts
):
    proxy = Proxy(name, tmp_path)
    with served(tmp_path, trust_proxy=trusts) as server:
        token = server.new_token()
        with proxy.running(shortest(proxy, f"http://{LOOPBACK}:{server.port}")):
            forger, device = proxy.client(**FORGED), proxy.client(Authorization=f"Bearer {token}")
            with forger, device:
                assert forger.get("/v1?nonce=n").status_code == 401

                # Caddy's handle_path says nothing of what it takes away, and says all else.
                for prefix in ["", "/ingest"] if name != "caddy" and trusts else [""]:
                    at = f"{prefix}/files/"
                    created = device.post(at, headers={**TUS, "Upload-Length": "5"})
                    url = urljoin(proxy.url + at, created.headers["Location"])
                    found = device.head(url, headers=TUS) if url.startswith(proxy.url) else None

                    if trusts or name in {"nginx", "apache"}:
                        assert found is not None, url
                        assert found.headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("name", NAMES)
def test_as_deploy_has_it_links_are_whole_and_what_a_client_forges_does_not_come_through(
    tmp_path, open_folder, name
):
    proxy, socket = Proxy(name, tmp_path), open_folder / "s"
    with served(tmp_path, trust_proxy=True, listen=f"unix:{socket}", proxy_socket=socket) as server:
        socket.chmod(0o666)  # instead of the group that Apache's user would be in
        token = server.new_token()
        with proxy.running(shipped(proxy, socket)):
            forger = proxy.client(**FORGED)
            device = proxy.client(**FORGED, Authorization=f"Bearer {token}")
            with forger, device:
                answer = forger.get("/v1?nonce=n")
                created = device.post("/files/", headers={**TUS, "Upload-Length": "5"})

    assert answer.status_code == 401
    assert created.headers["Location"].startswith(f"{proxy.url}/files/")
