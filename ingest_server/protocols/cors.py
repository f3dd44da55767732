"""Which web pages may use the upload protocols from a browser (the Fetch standard's CORS).

Nobody's by default: in open mode, any page that a person looks at could otherwise upload.
"""

from __future__ import annotations

from dataclasses import dataclass

import falcon

ANY = "*"
MAX_AGE_S = 7200
"""How long a browser may remember a preflight; none keeps it for longer."""


@dataclass(frozen=True, slots=True)
class CorsRules:
    """What an allowed page may send to some resources, and read of their answers."""

    methods: str
    headers: str
    exposed: str


FILES = CorsRules(
    methods="POST, GET, HEAD, PATCH, DELETE, OPTIONS",
    headers="Authorization, Content-Type, Content-Digest, Content-Disposition, Idempotency-Key, "
    "Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, "
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, "
    "Upload-Offset, Want-Repr-Digest, X-HTTP-Method-Override, X-Request-Id, X-Requested-With",
    exposed="Location, Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, "
    "Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, "
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, "
    "Upload-Limit, Upload-Metadata, Upload-Offset, Want-Content-Digest, Want-Repr-Digest, "
    "X-Request-Id",
)
COMPAT = CorsRules(
    methods="GET, POST, PUT, OPTIONS",
    # X-CSRFToken: Django's pages send it with everything; here it means nothing.
    headers="Accept, Authorization, Content-Type, Content-Disposition, Content-Range, "
    "Idempotency-Key, X-CSRFToken, X-Request-Id, X-Requested-With",
    exposed="Retry-After, X-Request-Id",
)


def is_preflight(req: falcon.Request) -> bool:
    """Return whether a browser asks, on a page's behalf and without its credential."""
    return (
        req.method == "OPTIONS"
        and req.get_header("Origin") is not None
        and req.get_header("Access-Control-Request-Method") is not None
    )


def allows(origins: frozenset[str], origin: str | None) -> bool:
    """Whether the operator named the page that *origin* stands for; *origins*: lower case."""
    return origin is not None and (ANY in origins or origin.lower() in origins)


def allow(
    req: falcon.Request, resp: falcon.Response, origins: frozenset[str], rules: CorsRules
) -> None:
    """Set what lets a page of an allowed origin read the answer, errors included."""
    if not origins:
        return
    resp.append_header("Vary", "Origin")
    origin = req.get_header("Origin")
    if origin is None or not allows(origins, origin):
        return
    resp.set_header("Access-Control-Allow-Origin", origin)
    resp.set_header("Access-Control-Expose-Headers", rules.exposed)
    if is_preflight(req):
        resp.set_header("Access-Control-Allow-Methods", rules.methods)
        resp.set_header("Access-Control-Allow-Headers", rules.headers)
        resp.set_header("Access-Control-Max-Age", str(MAX_AGE_S))
        # From a page of the internet to a server in a private network, as this one often is.
        if req.get_header("Access-Control-Request-Private-Network") == "true":
            resp.set_header("Access-Control-Allow-Private-Network", "true")
