"""The server's own certificate authority: made once, and what it signs for the server, again before it ends.

The program `openssl` does the work (docs/adr/0033): it is in every Debian, and kept by it. Each certificate begins a
year before it is made: a board without a clock battery, whose time is that of its last shutdown, takes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import shutil
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_host.setup.durable import put
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import run

_EARLIER = timedelta(days=365)
_BEFORE_THIS_PROGRAM = datetime(2026, 1, 1, tzinfo=UTC)
RENEWED_AT = timedelta(days=200)
"""Half of that left: a timer that fails for half a year is noticed."""

_CONFIG = """
[ca]
default_ca = own
[own]
database = {work}/index.txt
new_certs_dir = {work}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of one folder, root's alone but for the certificate."""

    folder: Path

    @property
    def cert(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hexadecimal digits."""
        return fingerprint(self.cert)

    @property
    def _making(self) -> Path:
        return self.folder / ".making"

    def clear(self) -> None:
        """Take away what a run that was cut off has left of what is not to stay: a key, for one."""
        shutil.rmtree(self._making, ignore_errors=True)

    @contextlib.contextmanager
    def _work(self) -> Iterator[Path]:
        """Have a folder for what is not to stay; what a run that was cut off has left of it goes first."""
        self.clear()
        self._making.mkdir(mode=0o700)
        try:
            yield self._making
        finally:
            shutil.rmtree(self._making)

    def make(self, name: str) -> None:
        """Make what is not there yet; a key that is there is used, never replaced.

        Raises:
            SetupError: openssl does not do it, or the clock is wrong: it would be over before it is used.
            OSError: the disk does not.
        """
        if (now := datetime.now(UTC)) < _BEFORE_THIS_PROGRAM:
            raise SetupError(
                f"This machine's clock says {now:%Y-%m-%d}. Set it, and run this again."
            )
        with self._work() as work:
            if not self.key.exists():
                put(self.key, _new_key(), mode=0o600)
            signed = _sign(work, self.key, None, _AUTHORITY, [name])
            put(self.cert, signed, mode=0o644)

    def issue(self, names: Sequence[str], path: Path, gid: int) -> None:
        """Put a new certificate of the server, with a new key, in one file: both are replaced at once.

        Raises:
            SetupError: openssl does not do it.
            OSError: the disk does not.
        """
        with self._work() as work:
            key = work / "server.key"
            put(key, _new_key(), mode=0o600)
            signed = _sign(work, key, self, _SERVER, names)
            put(path, signed + self.cert.read_bytes() + key.read_bytes(), mode=0o640, gid=gid)


def _new_key() -> bytes:
    return run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A section of the configuration above, and how long such a certificate is good."""

    section: str
    good: timedelta


_AUTHORITY, _SERVER = (
    _Kind("authority", timedelta(days=25 * 365)),
    _Kind("server", timedelta(days=400)),
)
"""With the year before, the second is less than the 825 days that some browsers take of a private CA."""


def _sign(work: Path, key: Path, by: Authority | None, kind: _Kind, names: Sequence[str]) -> bytes:
    """Return the certificate of *key* for *names*, the first its common name, by an authority or by itself."""
    config, request, signed = work / "openssl.cnf", work / "request", work / "signed"
    alternatives = (f"{'IP' if _is_address(one) else 'DNS'}:{one}" for one in names)
    config.write_text(_CONFIG.format(work=work, name=names[0][:64], names=",".join(alternatives)))
    (work / "index.txt").touch()
    run("openssl", "req", "-new", "-config", config, "-key", key, "-out", request)
    signer: list[str | Path] = (
        ["-selfsign", "-keyfile", key] if by is None else ["-cert", by.cert, "-keyfile", by.key]
    )
    now = datetime.now(UTC)
    dates = ["-startdate", _moment(now - _EARLIER), "-enddate", _moment(now + kind.good)]
    how: list[str | Path] = ["-batch", "-notext", "-config", config, "-extensions", kind.section]
    run("openssl", "ca", *how, *dates, *signer, "-in", request, "-out", signed)
    return signed.read_bytes()


def _moment(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%SZ")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def fingerprint(cert: Path) -> str:
    """Return the SHA-256 of the first certificate in a PEM file.

    Raises:
        SetupError: there is none in it.
    """
    try:
        text = cert.read_text(encoding="ascii")
        end = "-----END CERTIFICATE-----"
        first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end) + len(end)]
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()
    except (OSError, ValueError) as error:
        raise SetupError(f"{cert} holds no certificate in PEM form.") from error


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is said by one that is there."""

    ends: datetime
    names: frozenset[str]
    is_by: bool
    """Whether the authority that was asked about has signed it."""

    @classmethod
    def at(cls, path: Path, ca: Path) -> Certificate | None:
        """Return it; None where the file is none, or has no key that fits."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(path)
            text = run(
                "openssl", "x509", "-in", path, "-noout", "-enddate", "-ext", "subjectAltName"
            ).decode()
        except (OSError, SetupError):
            return None
        ends = text.partition("notAfter=")[2].splitlines()[0]
        names = {
            one.partition(":")[2].strip()
            for line in text.splitlines()
            for one in line.split(",")
            if one.strip().startswith(("DNS:", "IP Address:"))
        }
        return cls(
            datetime.strptime(ends, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC),
            frozenset(_plain(one) for one in names),
            _verifies(path, ca),
        )


def _plain(name: str) -> str:
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _verifies(path: Path, ca: Path) -> bool:
    try:
        run("openssl", "verify", "-no_check_time", "-CAfile", ca, path)
    except SetupError:
        return False
    return True
