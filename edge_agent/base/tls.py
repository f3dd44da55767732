"""TLS contexts for the server and the broker, made from files that may be renewed at any time.

Which cipher comes first: without instructions for AES (each Raspberry Pi before the 5) ChaCha20 takes a
fifth of AES's time. Here that is put in order for TLS 1.2; of TLS 1.3 only OpenSSL's own configuration
can say it before Python 3.15 (docs/install.md).
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.base.errors import ConfigError
from edge_host.certificates import PairError, load_pair

_CPU = Path("/proc/cpuinfo")
_FLAGS = ("flags", "Features")
"""What x86 and Arm call the line of a processor's abilities."""

_SEQUENCE, _EXPLICIT_0, _GENERALIZED_TIME = 0x30, 0xA0, 0x18


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; None: the system's authorities, and no certificate of our own."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    table: str = "server"
    """Where the configuration names them, for messages."""

    @property
    def key_of_cert(self) -> Path | None:
        """The file that holds the key: often the certificate's own."""
        return self.key_file or self.cert_file


@dataclass(frozen=True, slots=True)
class Validity:
    """The time in which a certificate is good."""

    begins: datetime
    ends: datetime


def context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for *files* as they are now: the same one for as long as they are the same.

    One for all lanes: a megabyte each, and a session of one can be resumed by another.

    Raises:
        ConfigError: a file cannot be read or used; one sentence.
    """
    return _context(files, stamp(files))


def stamp(files: TlsFiles) -> tuple[tuple[int, int], ...]:
    """Return something that is equal only while the files are the same."""
    return tuple(
        _stamp(path)
        for path in (files.ca_file, files.cert_file, files.key_file)
        if path is not None
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)  # the context says what is wrong with it
    return (found.st_mtime_ns, found.st_ino)


@functools.lru_cache(maxsize=8)
def _context(files: TlsFiles, _stamp: object) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=_usable_ca(files))
    if not has_aes():
        made.set_ciphers(_chacha_first(made))
    if files.cert_file is not None:
        _load_own(made, files)
    return made


def _usable_ca(files: TlsFiles) -> str | None:
    if files.ca_file is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=files.ca_file)
    except OSError as error:  # ssl.SSLError is one
        msg = f"{files.table}.ca_file: {files.ca_file} cannot be used: {error}"
        raise ConfigError([msg]) from error
    return str(files.ca_file)


def _load_own(made: ssl.SSLContext, files: TlsFiles) -> None:
    cert, key = files.cert_file, files.key_of_cert
    if cert is None or key is None:
        return
    try:
        load_pair(
            made,
            cert,
            key,
            unreadable="cannot be read by this user",
            mismatch="is not the key of the certificate in {cert}: renew both together, or name the key that"
            " belongs to it",
            locked="is protected by a password, which nobody is there to type: store it without one, readable"
            " by the agent's user only",
        )
    except PairError as error:
        where = ", ".join(f"client_{part}" for part in error.parts)
        raise ConfigError([f"[{files.table}] {where}: {error}"]) from error


# --- which cipher ---------------------------------------------------------------------------


@functools.cache
def has_aes() -> bool:
    """Return whether the processor has instructions for AES; unknown counts as yes."""
    try:
        return says_aes(_CPU.read_text(errors="replace"))
    except OSError:
        return True


def says_aes(cpuinfo: str) -> bool:
    """Return whether that of all processors in *cpuinfo* the last has AES; without any: yes."""
    has = True
    for line in cpuinfo.splitlines():
        name, colon, words = line.partition(":")
        if colon and name.strip() in _FLAGS:
            has = "aes" in words.split()
    return has


def prefers_chacha() -> bool:
    """Return whether OpenSSL, as this process found it configured, begins with ChaCha20 in TLS 1.3."""
    names = [str(one["name"]) for one in ssl.create_default_context().get_ciphers()]
    return bool(names) and "CHACHA20" in names[0]


def _chacha_first(made: ssl.SSLContext) -> str:
    """Return the ciphers of TLS 1.2 as they are, those with ChaCha20 before the others."""
    names = [
        str(one["name"]) for one in made.get_ciphers() if not str(one["name"]).startswith("TLS_")
    ]
    return ":".join(sorted(names, key=lambda name: "CHACHA20" not in name))


# --- how long a certificate is good -----------------------------------------------------------


def validity(cert_file: Path) -> Validity:
    """Return from when to when the first certificate in *cert_file* is good (RFC 5280, 4.1.2.5).

    `ssl` tells that of the other side's certificate only.

    Raises:
        ValueError: the file cannot be read, or holds no certificate.
    """
    try:
        text = cert_file.read_text(encoding="ascii", errors="replace")
        at = text.index("-----BEGIN CERTIFICATE-----")
        stop = text.index("-----END CERTIFICATE-----", at) + len("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[at:stop])
        certificate, _ = _take(der, _SEQUENCE)
        fields, _ = _take(certificate, _SEQUENCE)
        if fields[0] == _EXPLICIT_0:
            _, fields = _take(fields)  # the version
        for _field in ("serial number", "signature", "issuer"):
            _, fields = _take(fields)
        times, _ = _take(fields, _SEQUENCE)
        begins, times = _take_time(times)
        ends, _ = _take_time(times)
    except (OSError, IndexError, ValueError) as error:
        msg = f"{cert_file} holds no certificate that can be read"
        raise ValueError(msg) from error
    return Validity(begins, ends)


def _take(der: bytes, wanted: int | None = None) -> tuple[bytes, bytes]:
    """Return the content of the first value in *der*, and what follows it."""
    if wanted is not None and der[0] != wanted:
        raise ValueError("not a certificate")
    length, at = der[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(der[2:at], "big")
    return der[at : at + length], der[at + length :]


def _take_time(der: bytes) -> tuple[datetime, bytes]:
    text, rest = _take(der)
    # UTCTime has two digits of the year, which `%y` reads as 1969-2068 and RFC 5280 as 1950-2049.
    form = "%Y%m%d%H%M%SZ" if der[0] == _GENERALIZED_TIME else "%y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC), rest
