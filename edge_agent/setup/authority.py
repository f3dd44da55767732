"""The server's certificate authority, told by its fingerprint alone.

The one request here goes over a connection that proves nothing, so nothing secret is in it, and of what
comes back only a certificate of exactly that fingerprint is taken. All else is asked over connections that
this certificate vouches for. (The way of `step ca bootstrap` and `kubeadm join`.)
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl
from urllib.parse import urlsplit

from edge_host.certificates import by_the_clock
from edge_host.setup.errors import SetupError
from upload_protocol.headers import CA_PATH

_ASK_S = 20.0
_MOST = 64 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?")


def plain_fingerprint(text: str) -> str:
    """Return a SHA-256 in lower case without colons.

    Raises:
        SetupError: it is none.
    """
    found = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise SetupError(
            "--ca-sha256 takes the 64 hexadecimal digits that `ingest-server setup` printed."
        )
    return found


def fetch(url: str, fingerprint: str) -> bytes:
    """Return the server's CA in PEM form, whose fingerprint is the given one.

    Raises:
        SetupError: the server cannot be reached, has no CA to give, or another one.
    """
    found = _PEM.findall(_asked(url))
    if not found:
        raise SetupError(
            f"{url} has no CA to give. Is it an ingest-server that was set up by `setup`?"
        )
    others = []
    for pem in found:
        try:
            digest = hashlib.sha256(
                ssl.PEM_cert_to_DER_cert(pem.decode("ascii").strip())
            ).hexdigest()
        except ValueError:
            continue
        if digest == fingerprint:
            return bytes(pem)
        others.append(digest)
    raise SetupError(
        f"The CA that {url} gave has another fingerprint ({', '.join(others) or 'none'}) than the one you were told"
        f" ({fingerprint}). Nothing was changed. Either somebody is between this device and the server, or the server"
        " has a new CA: run `ingest-server setup` there again, and take the line that it prints."
    )


def refuse_untrusted(url: str, ca: bytes | None) -> None:
    """Connect as the agent will, before anything is changed; a server that cannot be reached now is let by.

    Args:
        ca: who vouches for the server, in PEM form; None: those of the system.

    Raises:
        SetupError: the server's certificate is not accepted.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return
    context = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii"))
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), _ASK_S) as raw,
            context.wrap_socket(raw, server_hostname=parts.hostname),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        not_accepted = f"The certificate of {url} is not accepted: {error.verify_message}. Nothing was changed."
        if by_time := by_the_clock(error):
            raise SetupError(
                f"{not_accepted} {by_time} If it is right, run `ingest-server setup` on the server, which renews its"
                " certificate."
            ) from error
        by = (
            "no --ca-sha256 or --ca-file was given, and the system does not know who signed it"
            if ca is None
            else "take the line that `ingest-server setup` prints, with a name that the server is known by"
        )
        raise SetupError(
            f"{not_accepted} Look at the name in --server, and at the CA: {by}."
        ) from error
    except (OSError, ValueError):  # a name that cannot be one in DNS is a ValueError
        return


def _asked(url: str) -> bytes:
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the fingerprint decides
    link = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=_ASK_S, context=context
    )
    try:
        link.request("GET", parts.path.rstrip("/") + CA_PATH)
        answer = link.getresponse()
        content = answer.read(_MOST)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        port = (
            ""
            if parts.port
            else " The URL names no port, so 443 was asked; a server listens at 8443 after its setup."
        )
        raise SetupError(
            f"{url} does not answer ({why}). Is the server on, and its port open in its firewall?{port} Nothing was"
            " changed; run this again."
        ) from error
    finally:
        link.close()
    return content if answer.status == http.HTTPStatus.OK else b""
