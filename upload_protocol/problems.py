"""The one table of everything that can go wrong on the wire (RFC 9457, Problem Details).

An answer's ``code`` is what a program acts on, ``detail`` what a person reads. ``retryable`` says
whether the same request may succeed later without the client changing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:edge-uploader:problem:"

MAX_MISSING_RANGES = 64
"""Missing ranges told in an error: what the next requests need, in an answer of about 2 KB."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal: its code, HTTP status, title, and whether trying again can help."""

    code: str
    status: int
    title: str
    retryable: bool = False

    @property
    def uri(self) -> str:
        return TYPE_PREFIX + self.code


_TABLE = (
    # What the client sent cannot be understood or contradicts itself.
    ProblemType("malformed-request", 400, "The request cannot be read"),
    ProblemType("idempotency-key-required", 400, "A create needs an Idempotency-Key"),
    ProblemType("invalid-range", 400, "The byte range is not usable"),
    ProblemType("inconsistent-length", 400, "The lengths contradict each other"),
    ProblemType("content-digest-mismatch", 400, "The body is not what its digest says", True),
    ProblemType("body-truncated", 400, "The body ended before its Content-Length", True),
    ProblemType("unauthorized", 401, "A valid device token is needed"),
    ProblemType("forbidden", 403, "This credential may not do that"),
    ProblemType("device-mismatch", 403, "The token belongs to another device"),
    ProblemType("not-found", 404, "There is nothing here"),
    ProblemType("upload-not-found", 404, "No such upload"),
    ProblemType("unsupported-version", 404, "This protocol version is not spoken here"),
    ProblemType("method-not-allowed", 405, "That method is not possible here"),
    ProblemType("request-timeout", 408, "The body stopped arriving", True),
    ProblemType("superseded", 409, "A newer request took over these bytes", True),
    ProblemType("not-open", 409, "The upload takes no more bytes"),
    ProblemType("ranges-missing", 409, "Some bytes have not arrived"),
    ProblemType("digest-mismatch", 409, "The stored bytes are not what the digest says"),
    ProblemType("too-many-ranges", 409, "The upload is in too many pieces"),
    ProblemType("not-direct", 409, "These bytes do not go straight to the store"),
    ProblemType("device-claimed", 409, "The device id is taken"),
    ProblemType("command-refused", 409, "The device does not take that"),
    ProblemType("upload-expired", 410, "The upload has expired"),
    ProblemType("upload-aborted", 410, "The upload was aborted"),
    ProblemType("length-required", 411, "A Content-Length is needed"),
    ProblemType("precondition-failed", 412, "It is another than the request expects"),
    ProblemType("too-large", 413, "Larger than this server takes"),
    ProblemType("unsupported-media-type", 415, "This encoding or type is not taken"),
    ProblemType("misdirected-request", 421, "This server is not known under that name"),
    ProblemType("idempotency-key-reused", 422, "The key belongs to another upload"),
    ProblemType("digest-required", 422, "A whole-file digest is required"),
    ProblemType("invalid-name", 422, "The name cannot be used"),
    ProblemType("invalid-command", 422, "No device understands that"),
    ProblemType("upload-refused", 422, "The operator's check refuses the file"),
    ProblemType("headers-too-large", 431, "The headers are too large"),
    ProblemType("too-many-requests", 429, "Too many requests", True),
    ProblemType("internal", 500, "The server failed", True),
    ProblemType("server-busy", 503, "The server is busy", True),
    ProblemType("stopping", 503, "The server is stopping", True),
    ProblemType("storage-full", 507, "The server's disk is nearly full", True),
    ProblemType("quota-exceeded", 507, "The device's quota is used up", True),
    ProblemType("storage-failed", 500, "The server's disk failed", True),
)

PROBLEMS: Mapping[str, ProblemType] = MappingProxyType({kind.code: kind for kind in _TABLE})
