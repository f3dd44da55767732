"""What a request of tus says: its version, lengths, checksum and metadata.

Nothing here looks at an upload; each function reads headers, or refuses them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import NoReturn

import falcon

from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.record import REPR_SHA_512
from ingest_server.core.recorded import told_in
from ingest_server.protocols import digest_fields
from ingest_server.protocols.requests import media_type_of
from ingest_server.protocols.resumable import (
    MAX_MEDIA_TYPE,
    PROTOCOL,
    TUS,
    UNNAMED,
    DialectRefused,
)
from upload_protocol import headers
from upload_protocol.digests import Digest
from upload_protocol.messages import CreateRequest

VERSION = "1.0.0"
RESUMABLE = "Tus-Resumable"
ALGORITHMS = ("sha1", "sha256", "md5")
CONTENT_TYPE = "application/offset+octet-stream"

CHECKSUM_MISMATCH = "460 Checksum Mismatch"

RAW_METADATA = "tus-metadata"
CONCAT = "tus-concat"

_OURS = frozenset({PROTOCOL, RAW_METADATA, CONCAT, REPR_SHA_512})
"""What a client's own metadata cannot set."""

_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+\Z")
_HEX = re.compile(rb"[0-9A-Fa-f]{64}\Z")


def check_version(req: falcon.Request, resp: falcon.Response) -> None:
    """Refuse a client that speaks another version, and say which one is spoken here.

    Raises:
        DialectRefused: it names another version, or none.
    """
    found = req.get_header(RESUMABLE)
    if found != VERSION:
        resp.set_header("Tus-Version", VERSION)
        said = "no version" if found is None else f"version {found[:20]!r}"
        detail = f"this server speaks tus {VERSION}; the request names {said} in {RESUMABLE}"
        raise DialectRefused("unsupported-version", detail, status="412 Precondition Failed")


def check_type(req: falcon.Request) -> None:
    """Refuse a body that is not what tus calls its bytes.

    Raises:
        Refused: the media type is another.
    """
    if media_type_of(req) != CONTENT_TYPE:
        raise Refused("unsupported-media-type", f"send Content-Type: {CONTENT_TYPE}")


def number_of(req: falcon.Request, name: str) -> int | None:
    """Return the number in the header *name*; None: it is not there.

    Raises:
        Refused: it is no whole number of bytes.
    """
    text = req.get_header(name)
    if text is None:
        return None
    found = headers.whole_number(text)
    if found is None:
        raise Refused("malformed-request", f"{name} is not a whole number of bytes")
    return found


def length_to_be(req: falcon.Request) -> int | None:
    """Return the length of a new upload; None: it will be told later.

    Raises:
        Refused: the request tells neither a length nor that it comes later, or both.
    """
    length = number_of(req, headers.UPLOAD_LENGTH)
    deferred = req.get_header("Upload-Defer-Length")
    if deferred not in {None, "1"}:
        raise Refused("malformed-request", "Upload-Defer-Length may only be 1")
    if (length is None) == (deferred is None):
        detail = "send either Upload-Length or Upload-Defer-Length: 1"
        raise Refused("malformed-request", detail)
    return length


def checksum_of(req: falcon.Request) -> Checksum | None:
    """Return what the body is to have; None: the request does not say.

    Raises:
        Refused: ``Upload-Checksum`` is not of its form, or of an unknown algorithm.
    """
    text = req.get_header("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in ALGORITHMS:
        detail = f"the algorithm is {algorithm[:20]!r}; it is one of {', '.join(ALGORITHMS)}"
        raise Refused("malformed-request", detail)
    try:
        value = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value:
        raise Refused("malformed-request", "Upload-Checksum is not ALGORITHM BASE64")
    return Checksum(algorithm, value)


def mismatched(detail: str) -> NoReturn:
    """Tell the client of a whole file that it is not what its digest says.

    Raises:
        DialectRefused: always.
    """
    raise DialectRefused(
        "digest-mismatch",
        f"{detail}; the upload has ended, send the file again as a new one",
        status=CHECKSUM_MISMATCH,
    )


def parse_metadata(text: str) -> dict[str, bytes]:
    """Read ``Upload-Metadata``: pairs of a key and a base64 value, which may be missing.

    Raises:
        Refused: not of that form, or a key comes twice.
    """
    found: dict[str, bytes] = {}
    if not text.strip():
        return found
    for pair in text.split(","):
        key, _, encoded = pair.strip(" ").partition(" ")
        if not _KEY.match(key):
            raise Refused("malformed-request", f"Upload-Metadata has no key in {pair[:40]!r}")
        if key in found:
            raise Refused("malformed-request", f"Upload-Metadata has {key[:40]!r} twice")
        try:
            found[key] = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            detail = f"Upload-Metadata: the value of {key[:40]!r} is not base64"
            raise Refused("malformed-request", detail) from error
    return found


def to_create(req: falcon.Request, length: int | None, concat: str) -> CreateRequest:
    """Return the upload that a creation asks for.

    Args:
        length: None: it will be told later.
        concat: ``Upload-Concat``, which is kept; empty: an upload of its own.

    Raises:
        Refused: the metadata or a digest is not of its form, or two digests differ.
    """
    raw = req.get_header("Upload-Metadata") or ""
    pairs = parse_metadata(raw)
    # Bytes that are no UTF-8 come out percent-escaped, as names do.
    texts = {key: value.decode("utf-8", "surrogateescape") for key, value in pairs.items()}
    kept = {key: value for key, value in texts.items() if value.isprintable() and key not in _OURS}
    digest, noted = _digest(req, pairs)
    kept |= {PROTOCOL: TUS, RAW_METADATA: raw, **noted}
    if concat:
        kept[CONCAT] = concat
    media_type = texts.get("filetype") or texts.get("type") or None
    return CreateRequest(
        name=texts.get("filename") or texts.get("name") or UNNAMED,
        folder=_folder(texts),
        length=length,
        digest=digest,
        modified_at=told_in(texts),
        media_type=None if media_type is None else media_type[:MAX_MEDIA_TYPE],
        metadata=kept,
    )


def _folder(texts: Mapping[str, str]) -> str:
    path = texts.get("relativePath", "")
    if path == "null":  # what Uppy sends for a file outside of any folder
        return ""
    return path.rpartition("/")[0].strip("/")


def _digest(
    req: falcon.Request, pairs: Mapping[str, bytes]
) -> tuple[Digest | None, dict[str, str]]:
    """Return what the whole file is to have; see `digest_fields.whole_file`."""
    in_header, noted = digest_fields.whole_file(req)
    value = pairs.get("sha256")
    if value is None:
        return in_header, noted
    if _HEX.match(value):
        value = bytes.fromhex(value.decode("ascii"))
    if len(value) != 32:
        detail = "the metadata sha256 is neither 64 hexadecimal digits nor 32 bytes"
        raise Refused("malformed-request", detail)
    found = Digest(value)
    if in_header not in {None, found}:
        raise Refused("malformed-request", "Repr-Digest and the metadata sha256 differ")
    return found, noted
