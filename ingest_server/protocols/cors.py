"""Which web pages may use the upload protocols from a browser (the Fetch standard's CORS).

Nobody's by default: in open mode, any page that a person looks at could otherwise upload.
"""

from __future__ import annotations

import falcon

ANY = "*"
MAX_AGE_S = 7200
"""How long a browser may remember a preflight; none keeps it for longer."""

_METHODS = "POST, HEAD, PATCH, DELETE, OPTIONS"
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Content-Digest, Content-Disposition, Idempotency-Key, "
    "Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, "
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, "
    "Upload-Offset, Want-Repr-Digest, X-HTTP-Method-Override, X-Request-Id, X-Requested-With"
)
_EXPOSED = (
    "Location, Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, "
    "Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, Upload-Defer-Length, "
    "Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, "
    "Upload-Offset, X-Request-Id"
)


def is_preflight(req: falcon.Request) -> bool:
    """Return whether a browser asks, on a page's behalf and without its credential."""
    return (
        req.method == "OPTIONS"
        and req.get_header("Origin") is not None
        and req.get_header("Access-Control-Request-Method") is not None
    )


def allow(req: falcon.Request, resp: falcon.Response, origins: frozenset[str]) -> None:
    """Set what lets a page of an allowed origin read the answer, errors included."""
    if not origins:
        return
    resp.append_header("Vary", "Origin")
    origin = req.get_header("Origin")
    if origin is None or (ANY not in origins and origin.lower() not in origins):
        return
    resp.set_header("Access-Control-Allow-Origin", origin)
    resp.set_header("Access-Control-Expose-Headers", _EXPOSED)
    if is_preflight(req):
        resp.set_header("Access-Control-Allow-Methods", _METHODS)
        resp.set_header("Access-Control-Allow-Headers", _REQUEST_HEADERS)
        resp.set_header("Access-Control-Max-Age", str(MAX_AGE_S))
