"""What it means when a request breaks off, in words for an operator."""

from __future__ import annotations

from edge_agent.base.errors import (
    ClockError,
    LinkDownError,
    TransportError,
    UnauthorizedError,
    UntrustedError,
)
from edge_agent.core.printable import without_codes

_IN_WORDS = {
    "ConnectError": "no connection",
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "WriteTimeout": "the link took nothing in time",
    "ReadError": "the connection broke",
    "WriteError": "the connection broke",
    "RemoteProtocolError": "the answer broke off, or is not HTTP",
}
"""What an exception of the HTTP library is called, for who does not know it."""


def what_broke(error: Exception) -> tuple[TransportError, bool]:
    """Return what *error* means to us, and whether somebody was there: then the link works."""
    text = without_codes(str(error))
    lowered = str(error).lower().replace("_", " ")
    if "certificate is not yet valid" in lowered:
        return ClockError(
            "the server's certificate is not yet valid by the clock of this device: either that is behind"
            " (edge-agent check tells; timedatectl set-ntp true, or set it by hand), or the clock where"
            " the certificate was made is ahead; sending goes on by itself"
        ), True
    if "certificate verify failed" in lowered:
        if "mismatch" in lowered:
            advice = "the host in [server] url must be a name that the certificate is made for"
        else:
            advice = "check [server] ca_file, and the clock of this device"
        return UntrustedError(f"the server's certificate is not accepted ({text}): {advice}"), True
    if ("alert" in lowered and "certificate" in lowered) or "alert unknown ca" in lowered:
        return UnauthorizedError(
            f"the server does not take this device's certificate ({text}): see [server]"
            " client_cert_file, and edge-agent check"
        ), True
    if "wrong version number" in lowered:
        return LinkDownError(
            "what answers there does not speak TLS: http:// instead of https:// in [server] url, or"
            " another port, if not a login page of the network"
        ), False
    if "receive buffer too long" in lowered:
        return LinkDownError("the head of the answer is longer than any of an ingest server"), False
    if "without sending a response" in lowered:
        return LinkDownError("the connection ended before an answer came"), False
    kind = type(error).__name__
    kind, text = _IN_WORDS.get(kind, kind), text.rstrip(".")
    return LinkDownError(f"{kind}: {text}" if text else kind), False
