"""A certificate authority for a test: the server's certificate, and those of devices."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.requirements import require

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
LEAF = ("-addext", "basicConstraints=critical,CA:FALSE")
"""Python 3.13 verifies strictly: who may sign has to say so, and who may not as well."""

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"


@dataclass(frozen=True)
class Pair:
    cert: Path
    key: Path


class Authority:
    """Signs certificates with the program openssl."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._made = 0
        self._openssl = require("openssl")
        self.ca = Pair(folder / "1.crt", folder / "1.key")
        if not self.ca.cert.exists():
            self._make(f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    @classmethod
    def existing(cls, folder: Path) -> Self:
        """Return the authority of that folder, to sign more."""
        found = cls(folder)
        found._made = 1000
        return found

    @property
    def cert(self) -> Path:
        return self.ca.cert

    def server(self) -> Pair:
        return self._signed("/CN=localhost", "-addext", NAMES)

    def expired(self) -> Pair:
        """Return the certificate of a server that nobody renewed."""
        made = self.server()
        request, extensions = made.key.with_suffix(".csr"), made.key.with_suffix(".ext")
        extensions.write_text(f"{NAMES}\nbasicConstraints=critical,CA:FALSE\n")
        self._run("req", "-new", "-subj", "/CN=localhost", "-key", made.key, "-out", request)
        signer = ("-CA", self.ca.cert, "-CAkey", self.ca.key, "-set_serial", "1")
        more = ("-extfile", extensions, "-days", "-1", "-out", made.cert)
        self._run("x509", "-req", "-in", request, *signer, *more)
        return made

    def device(self, subject: str) -> Pair:
        """Return a client's certificate; a plain name is its common name."""
        return self._signed(subject if subject.startswith("/") else f"/CN={subject}")

    def client_context(self, device: Pair | None = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority."""
        context = ssl.create_default_context(cafile=self.cert)
        if device is not None:
            context.load_cert_chain(device.cert, device.key)
        return context

    def _signed(self, subject: str, *more: str) -> Pair:
        return self._make(
            subject, "-CA", str(self.ca.cert), "-CAkey", str(self.ca.key), *LEAF, *more
        )

    def _make(self, subject: str, *more: str) -> Pair:
        self._made += 1
        made = Pair(self._folder / f"{self._made}.crt", self._folder / f"{self._made}.key")
        self._run(
            "req", "-x509", *KEY, "-subj", subject, *more, "-out", made.cert, "-keyout", made.key
        )
        return made

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [self._openssl, *command], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr


def not_yet_valid(folder: Path, authority: Authority) -> tuple[Path, Path]:
    """Return a certificate that is good in the year 2100 only, and its key, made in *folder*."""
    key, request, cert = folder / "f.key", folder / "f.csr", folder / "f.crt"
    (folder / "index").write_text("")
    (folder / "serial").write_text("1000")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\n"
        f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
    )
    key_options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    signer: list[str | Path] = ["-cert", authority.ca.cert, "-keyfile", authority.ca.key]
    times = ["-startdate", "21000101000000Z", "-enddate", "21010101000000Z"]
    config: list[str | Path] = ["-config", folder / "ca.cnf", "-extensions", "e"]
    commands: tuple[list[str | Path], ...] = (
        ["req", "-new", *key_options, "-subj", "/CN=f", "-keyout", key, "-out", request],
        ["ca", "-batch", "-notext", *config, *signer, *times, "-in", request, "-out", cert],
    )
    for command in commands:
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=30)
    return cert, key
