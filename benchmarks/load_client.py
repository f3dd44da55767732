"""The client that feeds every server that is compared: a small program in C, so that it costs little itself."""

import base64
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import MB

INSTALL_OPENSSL = "apt-get install --no-install-recommends libssl-dev"


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one size over some connections; each connection sends one file."""

    body: int
    count: int
    connections: int

    @property
    def length(self) -> int:
        """Bytes of one connection's file."""
        return self.body * self.count

    @property
    def total(self) -> int:
        return self.length * self.connections


class NoTlsClientError(Exception):
    """The load client cannot be compiled with TLS here."""


class Client:
    """`put_client.c`, compiled at first use; with TLS where it is to send over that."""

    def __init__(self, folder: Path, *, with_tls: bool = False) -> None:
        """Compile the program.

        Raises:
            NoTlsClientError: OpenSSL's headers are not installed.
        """
        self._program = folder / ("put_client_tls" if with_tls else "put_client")
        source = Path(__file__).with_name("put_client.c")
        tls = ("-DWITH_TLS", "-lssl", "-lcrypto") if with_tls else ()
        command = ["cc", "-O2", "-pthread", "-o", self._program, source, *tls]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode and with_tls:
            raise NoTlsClientError(INSTALL_OPENSSL)
        if made.returncode:
            raise RuntimeError(made.stderr)
        # Odd in length: no two bodies of a file are alike.
        self._bytes = hashlib.shake_256(b"bench").digest(MB + 7)
        self._block = folder / "block"
        self._block.write_bytes(self._bytes)
        self._digests: dict[int, str] = {}

    def send(self, port: int | str, case: Case, head: str, targets: list[str]) -> float:
        """Return the seconds from the first connection to the last answer.

        Args:
            port: a number, or with ``tls:`` before it.
        """
        command: list[str | Path] = [
            self._program,
            str(port),
            self._block,
            str(case.body),
            str(case.count),
            head,
        ]
        done = subprocess.run(
            [*command, *targets], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the load client failed: {done.stderr.strip()}")
        return float(done.stdout)

    def digest(self, length: int) -> str:
        """Return what a file of *length* bytes has, in RFC 9530 form."""
        if length not in self._digests:
            hasher, left = hashlib.sha256(), length
            while left:
                hasher.update(self._bytes[:left])
                left -= min(left, len(self._bytes))
            value = base64.b64encode(hasher.digest()).decode()
            self._digests[length] = f"sha-256=:{value}:"
        return self._digests[length]
