"""The proxies that we know, each before our server: by deploy/'s configurations, and by their shortest."""

import contextlib
import subprocess
from pathlib import Path

import httpx

from demo.ports import LOOPBACK, free_port
from tests.support.certificates import Authority
from tests.support.processes import wait_for
from tests.support.requirements import require

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
NAMES = ["nginx", "apache", "caddy", "haproxy", "traefik"]


BETWEEN = "\n# dynamic\n"
"""Between the two files of Traefik."""


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

    def _traefik(self, site: str):
        config = self.folder / "traefik.yml"
        static, _, dynamic = site.partition(BETWEEN)
        config.write_text(static)
        (self.folder / "dynamic.yml").write_text(dynamic)
        return [require("traefik"), f"--configFile={config}"]

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
        "traefik": f"entryPoints: {{web: {{address: '{at}'}}}}\n"
        f"providers: {{file: {{filename: {proxy.folder}/dynamic.yml}}}}\n{BETWEEN}"
        "http:\n  routers:\n    all: {rule: 'PathPrefix(`/`)', service: s, tls: {}}\n    below: {rule: "
        "'PathPrefix(`/ingest`)', service: s, middlewares: [strip], tls: {}}\n"
        "  middlewares: {strip: {stripPrefix: {prefixes: [/ingest]}}}\n"
        f"  services: {{s: {{loadBalancer: {{servers: [{{url: '{upstream}'}}]}}}}}}\n"
        f"tls: {{certificates: [{{certFile: {cert}, keyFile: {key}}}]}}\n",
    }[proxy.name]


def shipped(proxy: Proxy, listen: str) -> str:
    """Return deploy/'s configuration with the places of this machine.

    Args:
        listen: where ours listens, as in its settings.
    """
    path = {"nginx": "nginx/ingest-server.conf", "apache": "apache/ingest-server.conf"}
    path |= {"caddy": "caddy/Caddyfile", "haproxy": "haproxy/haproxy.cfg"}
    if proxy.name == "traefik":
        files = [DEPLOY / "traefik" / name for name in ("traefik.yml", "ingest-server.yml")]
        site = BETWEEN.join(file.read_text() for file in files)
    else:
        site = (DEPLOY / path[proxy.name]).read_text()
    changes = {
        "/run/ingest-server/http.sock": listen.removeprefix("unix:"),
        "http://127.0.0.1:8080": f"http://{listen}",
        "listen 443 ssl": f"listen {LOOPBACK}:{proxy.port} ssl",
        "<VirtualHost *:443>": f"<VirtualHost {LOOPBACK}:{proxy.port}>",
        "bind :443 ssl": f"bind {LOOPBACK}:{proxy.port} ssl",
        'address: ":443"': f'address: "{LOOPBACK}:{proxy.port}"',
        "\ningest.example.org {\n": "\nSITE {\n",
        "Host(`ingest.example.org`)": "Host(`localhost`)",
        "/etc/edge-uploader/server.crt": str(proxy.pair.cert),
        "/etc/edge-uploader/server.key": str(proxy.pair.key),
        "/etc/edge-uploader/server.pem": str(proxy.pem),
        "/etc/traefik/ingest-server.yml": f"{proxy.folder}/dynamic.yml",
    }
    for theirs, ours in changes.items():
        site = site.replace(theirs, ours)
    assert listen.removeprefix("unix:") in site
    return site
