"""tus 1.0.0 with all of its extensions but checksum-trailer: WSGI has no trailers.

A whole-file digest comes as the metadata ``sha256`` (hex, or the 32 bytes) or as ``Repr-Digest`` on
the creation; the answer to the PATCH with the last byte says what was stored, as ``Repr-Digest``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.protocols import tus_final
from ingest_server.protocols.requests import device_of, known_id
from ingest_server.protocols.resumable import (
    DONE,
    PROTOCOL,
    TUS,
    DialectRefused,
    Resumable,
    content_of,
    expires,
    http_date,
    offset_of,
    set_created,
)
from ingest_server.protocols.tus_request import (
    ALGORITHMS,
    CHECKSUM_MISMATCH,
    CONCAT,
    RAW_METADATA,
    VERSION,
    check_type,
    check_version,
    checksum_of,
    length_to_be,
    mismatched,
    number_of,
    to_create,
)
from upload_protocol import headers
from upload_protocol.messages import UploadStatus

EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
    "concatenation"
)


def options(resumable: Resumable, resp: falcon.Response) -> None:
    resp.set_header("Tus-Version", VERSION)
    resp.set_header("Tus-Extension", EXTENSIONS)
    resp.set_header("Tus-Checksum-Algorithm", ",".join(ALGORITHMS))
    max_length = resumable.receiver.settings.max_length
    if max_length is not None:
        resp.set_header("Tus-Max-Size", str(max_length))


def create(resumable: Resumable, req: falcon.Request, resp: falcon.Response) -> None:
    """Make an upload, and append what the request brings.

    Raises:
        Refused: the request cannot be read, or there is no room for the upload.
        DialectRefused: as the protocol words it.
    """
    check_version(req, resp)
    concat = req.get_header("Upload-Concat") or ""
    if tus_final.is_named(concat):
        tus_final.create(resumable, req, resp, concat)
        return
    if concat not in {"", "partial"}:
        raise Refused("malformed-request", "Upload-Concat is neither 'partial' nor 'final;URL ...'")
    content = content_of(req)
    if content.length != 0:
        check_type(req)
    checksum = checksum_of(req)
    wanted = to_create(req, length_to_be(req), concat)
    if not concat:
        resumable.refuse_undigested(wanted, "send it as the metadata sha256")
    status, is_new = resumable.create(req, wanted)
    set_created(resp, resumable.url(req, status.id))
    if content.length != 0 and status.state == State.OPEN:
        with _told(resumable, req, resp, status.id):
            try:
                status = resumable.append(device_of(req), status, 0, content, checksum)
            except Refused as refused:
                if is_new and refused.code in {"too-large", "content-digest-mismatch"}:
                    resumable.drop(device_of(req), status.id)  # its client never saw it
                raise
    status = _finish_if_whole(resumable, req, resp, status)
    if content.length != 0:
        resp.set_header(headers.UPLOAD_OFFSET, str(offset_of(status)))
    _set_expiry(resp, status)


def head(resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
    check_version(req, resp)
    device = device_of(req)
    record = resumable.receiver.records.find(device, known_id(upload_id))
    if tus_final.is_final(record):  # nobody sends its bytes
        status = tus_final.look_after(resumable, device, record)
    else:
        status = resumable.go_on(device, resumable.receiver.take_over(device, upload_id))
    if record.metadata.get(PROTOCOL) == TUS:
        # The request with the last byte may have died before it could finish.
        status = _finish_if_whole(resumable, req, resp, status)
    concat = record.metadata.get(CONCAT)
    if concat is not None:
        resp.set_header("Upload-Concat", concat)
    if not tus_final.is_final(record) or offset_of(status) == status.length:
        resp.set_header(headers.UPLOAD_OFFSET, str(offset_of(status)))
    if status.length is None:
        resp.set_header("Upload-Defer-Length", "1")
    else:
        resp.set_header(headers.UPLOAD_LENGTH, str(status.length))
    raw = record.metadata.get(RAW_METADATA)
    if raw is not None:
        resp.set_header("Upload-Metadata", raw)
    if status.receipt is not None:
        resp.set_header("Repr-Digest", str(status.receipt.digest))
    _set_expiry(resp, status)
    resp.status = HTTPStatus.OK


def patch(resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
    """Append the request's body to the upload.

    Raises:
        Refused: the request cannot be read, or the upload takes no more.
        DialectRefused: as the protocol words it.
    """
    check_version(req, resp)
    device = device_of(req)
    check_type(req)
    start = number_of(req, headers.UPLOAD_OFFSET)
    if start is None:
        raise Refused("malformed-request", "send Upload-Offset: where the body begins")
    checksum = checksum_of(req)
    record = resumable.receiver.records.find(device, known_id(upload_id))
    if tus_final.is_final(record):
        raise DialectRefused("forbidden", "a final upload takes no bytes", status="403 Forbidden")
    status = resumable.go_on(device, resumable.receiver.status(device, upload_id))
    offset = offset_of(status)
    if start != offset:
        resp.set_header(headers.UPLOAD_OFFSET, str(offset))
        detail = f"the upload is at byte {offset}, the request begins at {start}"
        raise DialectRefused("invalid-range", detail, status="409 Conflict")
    with _told(resumable, req, resp, upload_id):
        status = _with_length(resumable, req, status)
        content = content_of(req)
        if status.state in DONE:
            if not content.is_empty():
                raise Refused("too-large", f"the upload is whole with {offset} bytes")
        else:
            status = resumable.append(device, status, start, content, checksum)
    status = _finish_if_whole(resumable, req, resp, status)
    resp.set_header(headers.UPLOAD_OFFSET, str(offset_of(status)))
    _set_expiry(resp, status)
    resp.status = HTTPStatus.NO_CONTENT


def delete(
    resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str
) -> None:
    check_version(req, resp)
    resumable.terminate(device_of(req), known_id(upload_id))
    resp.status = HTTPStatus.NO_CONTENT


def _with_length(resumable: Resumable, req: falcon.Request, status: UploadStatus) -> UploadStatus:
    """Fix the length where the request is the first to tell it."""
    length = number_of(req, headers.UPLOAD_LENGTH)
    # Told once more, as by a client that repeats a broken request, it changes nothing.
    if length is None or length == status.length:
        return status
    if status.length is not None:
        detail = f"the upload has {status.length} bytes, which cannot change"
        raise Refused("inconsistent-length", detail)
    resumable.receiver.lengths.fix(device_of(req), status.id, length)
    return resumable.receiver.status(device_of(req), status.id)


def _finish_if_whole(
    resumable: Resumable, req: falcon.Request, resp: falcon.Response, status: UploadStatus
) -> UploadStatus:
    """Verify and publish once all bytes are there: tus has no request that says so."""
    device = device_of(req)
    if status.state != State.OPEN or status.received.prefix != status.length:
        return status
    if not tus_final.ends_by_itself(resumable.receiver.records.find(device, status.id)):
        return status
    receipt = resumable.finish(device, status.id, status.length, mismatched)
    # Of a 201 it would be the digest of its own content, which is empty (RFC 9530, 3).
    if receipt is not None and req.method != "POST":
        resp.set_header("Repr-Digest", str(receipt.digest))
    return resumable.receiver.status(device, status.id)


@contextmanager
def _told(
    resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str
) -> Iterator[None]:
    """Tell with a refusal how far the upload is, and use tus's status for a wrong checksum."""
    try:
        yield
    except Refused as refused:
        with suppress(Refused):
            status = resumable.receiver.status(device_of(req), upload_id)
            resp.set_header(headers.UPLOAD_OFFSET, str(offset_of(status)))
        if refused.code == "content-digest-mismatch":
            raise DialectRefused(
                refused.code, refused.detail, status=CHECKSUM_MISMATCH
            ) from refused
        raise


def _set_expiry(resp: falcon.Response, status: UploadStatus) -> None:
    moment = expires(status)
    if moment is not None:
        resp.set_header("Upload-Expires", http_date(moment))
