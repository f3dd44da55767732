"""TLS on the server's own connections: keys, the socket that uploads need, whose certificate it is.

What is changed on `ssl.SSLSocket`, and why:

* ``shutdown`` acts on the connection below. The original also drops the encryption, so that another
  thread that ends a body would have the answer sent in the clear;
* ``recv_into`` goes on for as long as bytes are here: a TLS record has 16 KiB at most, and a
  piece that is that small costs a write and a hash each.

The handshake is not done here: `connection` does it step by step, so that a peer that stops in the
middle of it holds no thread.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_host.certificates import PairError, load_pair
from ingest_server.core.errors import SettingError
from upload_protocol.headers import is_device_id

CLIENT_NAME = "edge_uploader.client_name"
"""In a request's environ: the common name of the client's certificate, checked against our CA. No
header can set it, since those arrive as ``HTTP_...``."""

SECURE_ENVIRON = {"wsgi.url_scheme": "https", "HTTPS": "on"}


class TlsError(SettingError):
    """The files of [tls] cannot be used; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate with its chain, its key, and the CA of the clients' ones."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class TlsSocket(ssl.SSLSocket):
    """A server's side of a TLS connection, fit for uploads."""

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self, how)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Wait for bytes, then take all that can be had without waiting."""
        wanted = nbytes or len(buffer)
        got = super().recv_into(buffer, wanted, flags)
        if got in (0, wanted):
            return got
        view = memoryview(buffer)
        timeout_s = self.gettimeout()
        self.settimeout(0)
        try:
            while got < wanted:
                # One call of Python less for each record than by the `recv_into` of the original.
                more: int = self.read(wanted - got, view[got:wanted])  # type: ignore[assignment] # a count
                if more == 0:
                    break
                got += more
        except (OSError, ValueError):  # ValueError: another thread has ended the encryption
            pass  # nothing more for now; what is broken breaks the next read as well
        finally:
            self.settimeout(timeout_s)
        return got

    def drop(self, count: int) -> int:
        """Take and forget up to *count* bytes from the wire, without decrypting them."""
        return len(socket.socket.recv(self, count))

    def say_goodbye(self) -> None:
        """Send the end of the TLS stream, if that can be done at once."""
        self.settimeout(0)
        with contextlib.suppress(OSError, ValueError):
            self.unwrap()

    def send_plainly(self, data: bytes) -> None:
        """Answer a peer that does not speak TLS, if that can be done at once."""
        self.settimeout(0)
        with contextlib.suppress(OSError):
            socket.socket.send(self, data)

    def client_name(self) -> str | None:
        """Return the common name of the client's certificate, None where it showed none.

        An empty text where it has none, or several: such a certificate is nobody's.
        """
        found = self.getpeercert()
        return None if not found else common_name(found)


def common_name(certificate: Mapping[str, Any]) -> str:
    """Return the one common name of a certificate as `ssl` describes it; "" for none or several."""
    subject = certificate.get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else ""


def device_of(name: str) -> str | None:
    """Return the device that a certificate's common name stands for, if it is a device's name."""
    return name if is_device_id(name) else None


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for the server's side.

    Raises:
        TlsError: a file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A body's end is known by its length. Without this OpenSSL takes a connection that closed
    # without a TLS goodbye (every broken link) for an attack and sends no answer on it.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF | ssl.OP_NO_RENEGOTIATION
    # The device's order of ciphers counts: a board without instructions for AES puts ChaCha20 first,
    # which costs it a fifth, and us little.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = TlsSocket
    try:
        load_pair(
            context,
            files.cert_file,
            files.key_file,
            unreadable="cannot be read",
            mismatch="is not the key of the certificate in {cert}",
            locked="is protected by a password, and nobody is there to type it: store the key without one, "
            "readable by this user only",
        )
    except PairError as error:
        raise TlsError(f"[tls] {', '.join(error.parts)}: {error}.") from error
    if files.client_ca_file is not None:
        _load_client_ca(context, files.client_ca_file)
    return context


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        msg = f"[tls] client_ca_file: {path} holds no certificate in PEM form."
        raise TlsError(msg) from error
    except OSError as error:
        msg = f"[tls] client_ca_file: {path} cannot be read: {error.strerror}."
        raise TlsError(msg) from error
    # Asked for, not insisted on: devices with a token need none.
    context.verify_mode = ssl.CERT_OPTIONAL
