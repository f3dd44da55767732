"""The digest fields of a request (RFC 9530), as the protocols of ``/files/`` read them.

Members of other algorithms are ignored. Of the whole file, both that are known here are checked; of one
request's content, the stronger of them.
"""

from __future__ import annotations

from http import HTTPStatus

import falcon

from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.record import REPR_SHA_512
from ingest_server.protocols.resumable import PATH
from upload_protocol import headers
from upload_protocol.digests import SHA_256, SHA_512, Digest, DigestError, find_digests

REPR_DIGEST = "Repr-Digest"
_HASHLIB = {SHA_256: "sha256", SHA_512: "sha512"}
_WANTED = {PATH: "sha-256=10, sha-512=5", headers.PROBE_PATH: "sha-256=10"}
"""By the beginning of the path. Other protocols do not look at digest fields."""
_FIELDS = (headers.CONTENT_DIGEST, REPR_DIGEST)


def whole_file(req: falcon.Request) -> tuple[Digest | None, dict[str, str]]:
    """Return what the whole file is to have: its SHA-256, and what the upload's metadata notes.

    Raises:
        Refused: the field cannot be read, or names no algorithm that is known here.
    """
    found = _read(req, REPR_DIGEST)
    sha256, sha512 = found.get(SHA_256), found.get(SHA_512)
    noted = {} if sha512 is None else {REPR_SHA_512: sha512.hex()}
    return None if sha256 is None else Digest(sha256), noted


def of_content(req: falcon.Request) -> Checksum | None:
    """Return what the request's body is to have.

    Raises:
        Refused: as `whole_file`.
    """
    found = _read(req, headers.CONTENT_DIGEST)
    for name in (SHA_512, SHA_256):
        if name in found:
            return Checksum(_HASHLIB[name], found[name])
    return None


def tell_wanted(req: falcon.Request, resp: falcon.Response) -> None:
    """Say with a 400 to a request that sent digests which of them are wanted (RFC 9530, 4)."""
    if resp.status_code != HTTPStatus.BAD_REQUEST:
        return
    for start, wanted in _WANTED.items():
        for name in _FIELDS:
            if req.path.startswith(start) and req.get_header(name) is not None:
                resp.set_header(f"Want-{name}", wanted)


def _read(req: falcon.Request, name: str) -> dict[str, bytes]:
    field = req.get_header(name)
    if field is None:
        return {}
    try:
        return find_digests(field, tuple(_HASHLIB))
    except DigestError as error:
        raise Refused("malformed-request", f"{name}: {error}") from error
