"""What a problem of the server's is about: the one table from which follows what is done on it.

Only what is listed as about the file is a verdict on the file. All that is not listed, with codes that a
later server may invent, is about how it was asked: a wrong URL, something on the way, another version.
That is waited for and goes on by itself when it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from edge_agent.core.recording import OF_THE_FILE


class About(Enum):
    """Whom an answer concerns."""

    FILE = auto()
    """This file, as it is: kept for a person."""
    BODY = auto()
    """The bytes of one request: look at what arrived, and go on."""
    UPLOAD = auto()
    """The upload is not as we thought: ask what it is, once; if that does not help, begin anew."""
    UPLOAD_GONE = auto()
    """There is no such upload, or none of this file: begin anew."""
    LOGIN = auto()
    """Who we are: waits for a person."""
    SERVER = auto()
    """The server has no time or no room now."""
    CHANNEL = auto()
    """The way there, or how we ask: the URL, a proxy, the versions."""


_TABLE = {
    About.FILE: tuple(OF_THE_FILE),
    About.BODY: ("superseded", "request-timeout", "body-truncated", "content-digest-mismatch"),
    About.UPLOAD: (
        "not-open",
        "ranges-missing",
        "digest-mismatch",
        "too-many-ranges",
        "not-direct",
    ),
    About.UPLOAD_GONE: (
        "upload-not-found",
        "upload-expired",
        "upload-aborted",
        "idempotency-key-reused",
        "inconsistent-length",
    ),
    About.LOGIN: ("unauthorized", "forbidden", "device-mismatch", "device-claimed"),
    About.SERVER: (
        "too-many-requests",
        "internal",
        "server-busy",
        "stopping",
        "storage-full",
        "quota-exceeded",
        "storage-failed",
    ),
    About.CHANNEL: (
        "malformed-request",
        "idempotency-key-required",
        "invalid-range",
        "not-found",
        "unsupported-version",
        "method-not-allowed",
        "length-required",
        "precondition-failed",
        "unsupported-media-type",
        "misdirected-request",
        "digest-required",
        "headers-too-large",
        "command-refused",
        "invalid-command",
    ),
}

ABOUT: Mapping[str, About] = MappingProxyType(
    {code: about for about, codes in _TABLE.items() for code in codes}
)
"""Code of a problem -> whom it concerns."""

_BY_STATUS = {
    401: About.LOGIN,
    403: About.LOGIN,
    408: About.BODY,
    409: About.UPLOAD,
    410: About.UPLOAD_GONE,
    429: About.SERVER,
}
"""Of a code that this version does not know."""


def about(status: int, code: str) -> About:
    """Return whom a problem with *code*, of an answer with *status*, concerns."""
    if status >= 500:
        return About.SERVER
    return ABOUT.get(code) or _BY_STATUS.get(status, About.CHANNEL)
