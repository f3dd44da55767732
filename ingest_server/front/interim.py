"""To whom an interim answer of a new kind may go: 104 (Upload Resumption Supported), before the final one.

A client that speaks the IETF draft asks for it. A proxy in between does not: nginx takes it for the final
answer, and its client then never sees that one. So it goes out only where nothing speaks of a proxy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ingest_server.front.request_head import RequestHead

_OF_PROXIES = frozenset({b"Via", b"Forwarded", b"X-Real-Ip", b"X-Proxy-Secret", b"X-Client-Verify"})
_X_FORWARDED = b"X-Forwarded-"


class Interim(enum.Enum):
    """When a 104 is sent to a client that names a version of the draft which is spoken here."""

    DIRECT = "direct"
    """On a connection without a proxy, as far as can be told."""
    ALWAYS = "always"
    NEVER = "never"


def takes_interim(head: RequestHead, when: Interim, *, from_proxy: bool) -> bool:
    """Whether the request may be answered by a 104 first.

    Args:
        from_proxy: whether its connection is a proxy's, whatever it says itself.
    """
    if when is Interim.NEVER or head.version != b"HTTP/1.1":
        return False
    if when is Interim.ALWAYS:
        return True
    speaks_of_one = any(
        name in _OF_PROXIES or name.startswith(_X_FORWARDED) for name in head.headers
    )
    return not from_proxy and not speaks_of_one


def interim_answer(status: str, fields: Mapping[str, str]) -> bytes:
    """Return an interim answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
