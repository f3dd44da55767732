"""Resumable Uploads for HTTP, the IETF draft, on the same uploads as everything else.

``104 (Upload Resumption Supported)``, with the upload's URL, goes out before the first byte of a creation
is read: on our own server only, since WSGI sends no interim answers. Elsewhere a client that must not
lose its first request creates with an empty one, or sends an Idempotency-Key and asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import NoReturn

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.core.recorded import as_rfc3339
from ingest_server.front.body import SocketBody
from ingest_server.front.interim import interim_answer
from ingest_server.protocols import digest_fields, disposition, interop
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.requests import device_of, known_id, media_type_of
from ingest_server.protocols.resumable import (
    DONE,
    IETF,
    MAX_MEDIA_TYPE,
    PROTOCOL,
    UNNAMED,
    Content,
    DialectRefused,
    Resumable,
    content_of,
    expires,
    offset_of,
    set_created,
)
from upload_protocol import headers
from upload_protocol.messages import CreateRequest, Receipt, UploadStatus

COMPLETE = "Upload-Complete"
CONTENT_TYPE = "application/partial-upload"
LAST = "ietf-last"
"""What an upload has among its metadata, or as a note, once its client has sent the last request:
all bytes of a known length are not the end of it in this protocol."""
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"


def options(resumable: Resumable, resp: falcon.Response) -> None:
    resp.set_header("Upload-Limit", _limit(resumable, None, interop.NEWEST))


def begin_creating(resp: falcon.Response) -> None:
    """Set what every answer to a creation has, whoever refuses it: the upload is not complete."""
    resp.set_header(COMPLETE, "?0")
    resp.set_header(interop.FIELD, str(interop.NEWEST))


def create(resumable: Resumable, req: falcon.Request, resp: falcon.Response) -> None:
    """Make an upload, and append what the request brings.

    Raises:
        Refused: the request cannot be read, or there is no room for the upload.
        DialectRefused: as the protocol words it.
    """
    version = _begin(req, resp)
    is_last = interop.boolean(req, COMPLETE)
    if is_last is None:
        detail = f"send {COMPLETE}: ?1 with the whole file, ?0 with a part of it or nothing"
        raise Refused("malformed-request", detail)
    content = content_of(req)
    length = _length(req, 0, content, is_last)
    wanted = _wanted(req, length, is_last)
    resumable.refuse_undigested(wanted, "send it as Repr-Digest")
    with _told_of_limits(resumable, resp):
        status, _ = resumable.create(req, wanted)
    set_created(resp, resumable.url(req, status.id))
    resp.set_header("Upload-Limit", _limit(resumable, status, version))
    _announce(req, resp, status, content)
    if status.state == State.OPEN:
        status = _append(resumable, req, resp, status, content, start=0)
    if is_last:
        _finish(resumable, req, resp, status)
    else:
        _tell(resp, status)


def _announce(
    req: falcon.Request, resp: falcon.Response, status: UploadStatus, content: Content
) -> None:
    """Let the client know the upload before it has sent all: then it can go on after a cut."""
    if isinstance(content.body, SocketBody) and interop.is_named(req):
        names = ("Location", "Upload-Limit", interop.FIELD)
        fields = {name: resp.get_header(name) or "" for name in names}
        fields[headers.UPLOAD_OFFSET] = str(offset_of(status))
        content.body.announce(interim_answer("104 Upload Resumption Supported", fields))


def head(resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
    version = _begin(req, resp)
    device = device_of(req)
    status = resumable.go_on(device, resumable.receiver.take_over(device, known_id(upload_id)))
    _tell(resp, status)
    resp.set_header("Upload-Limit", _limit(resumable, status, version))
    if status.length is not None:
        resp.set_header(headers.UPLOAD_LENGTH, str(status.length))
    if status.receipt is not None:
        resp.set_header("Repr-Digest", str(status.receipt.digest))
    resp.status = HTTPStatus.NO_CONTENT


def patch(resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
    """Append the request's body to the upload.

    Raises:
        Refused: the request cannot be read, or the upload takes no more.
        DialectRefused: as the protocol words it.
    """
    version = _begin(req, resp)
    device = device_of(req)
    if media_type_of(req) != CONTENT_TYPE:
        resp.set_header("Accept-Patch", CONTENT_TYPE)
        raise Refused("unsupported-media-type", f"send Content-Type: {CONTENT_TYPE}")
    is_last, start = interop.boolean(req, COMPLETE), interop.integer(req, headers.UPLOAD_OFFSET)
    if is_last is None or start is None:
        detail = f"send {COMPLETE} as ?0 or ?1, and {headers.UPLOAD_OFFSET} as a whole number"
        raise Refused("malformed-request", detail)
    status = resumable.go_on(device, resumable.receiver.status(device, known_id(upload_id)))
    _tell(resp, status)
    if start != offset_of(status):
        _refuse_offset(start, offset_of(status))
    content = content_of(req)
    if status.state in DONE:
        if not is_last or not content.is_empty():
            _refuse_completed(version)
        _answer_receipt(resp, status.receipt)
        return
    status = _with_length(resumable, req, status, _length(req, start, content, is_last))
    _refuse_overlong(resumable, req, status, start, content)
    if is_last and status.length is not None:
        resumable.receiver.records.write_note(upload_id, LAST, "?1")
    status = _append(resumable, req, resp, status, content, start=start)
    if is_last:
        resp.status = HTTPStatus.OK
        _finish(resumable, req, resp, status)
    else:
        _tell(resp, status)
        resp.status = HTTPStatus.NO_CONTENT


def delete(
    resumable: Resumable, req: falcon.Request, resp: falcon.Response, upload_id: str
) -> None:
    _begin(req, resp)
    resumable.terminate(device_of(req), known_id(upload_id))
    resp.status = HTTPStatus.NO_CONTENT


def was_to_end(record: UploadRecord, notes: Mapping[str, str]) -> bool:
    """Return whether the client has said that the last byte ends the upload."""
    return LAST in record.metadata or LAST in notes


def is_spoken_in(req: falcon.Request) -> bool:
    """Return whether the request says by its headers that it is of this protocol."""
    names = (COMPLETE, interop.FIELD, interop.INCOMPLETE)
    return any(req.get_header(name) is not None for name in names) or (
        media_type_of(req) == CONTENT_TYPE
    )


def _begin(req: falcon.Request, resp: falcon.Response) -> int:
    """Return the interop version to answer in."""
    resp.delete_header("Tus-Resumable")
    resp.set_header(interop.FIELD, str(interop.NEWEST))
    version = interop.asked(req)
    resp.set_header(interop.FIELD, str(version))
    return version


def _length(req: falcon.Request, start: int, content: Content, is_last: bool) -> int | None:
    """Return the whole length as this request tells it, by one way or the other."""
    told = _told_length(req)
    if not is_last or content.length is None:
        return told
    found = start + content.length
    if told not in {None, found}:
        _refuse_length(f"the request ends the upload at {found} bytes and says it has {told}")
    return found


def _told_length(req: falcon.Request) -> int | None:
    """Return the field's length; past what its form can write (15 digits), it is refused all the same."""
    told = interop.integer(req, headers.UPLOAD_LENGTH)
    text = (req.get_header(headers.UPLOAD_LENGTH) or "").strip()
    if told is None and headers.whole_number(text) is not None:
        detail = f"{headers.UPLOAD_LENGTH} is past the largest file that this protocol can tell of"
        raise Refused("too-large", detail)
    return told


def _with_length(
    resumable: Resumable, req: falcon.Request, status: UploadStatus, length: int | None
) -> UploadStatus:
    if length is None or length == status.length:
        return status
    if status.length is not None:
        _refuse_length(f"the request says {length} bytes, the upload has {status.length}")
    if length < status.received.prefix:
        _refuse_length(f"the request says {length} bytes, {status.received.prefix} have arrived")
    resumable.receiver.lengths.fix(device_of(req), status.id, length)
    return resumable.receiver.status(device_of(req), status.id)


def _refuse_overlong(
    resumable: Resumable, req: falcon.Request, status: UploadStatus, start: int, content: Content
) -> None:
    if status.length is None or content.length is None or start + content.length <= status.length:
        return
    # The draft: an upload that is sent more than it has is invalid from then on.
    resumable.drop(device_of(req), status.id)
    _refuse_length(
        f"the request reaches byte {start + content.length}, the upload has {status.length}"
    )


def _append(
    resumable: Resumable,
    req: falcon.Request,
    resp: falcon.Response,
    status: UploadStatus,
    content: Content,
    *,
    start: int,
) -> UploadStatus:
    device = device_of(req)
    try:
        with _told_of_limits(resumable, resp):
            return resumable.append(device, status, start, content, digest_fields.of_content(req))
    except Refused as refused:
        if refused.code == "too-large" and status.length is not None:
            resumable.drop(device, status.id)
            _refuse_length(f"the body goes on past {status.length} bytes, the upload's length")
        with suppress(Refused):
            _tell(resp, resumable.receiver.status(device, status.id))
        raise


def _finish(
    resumable: Resumable, req: falcon.Request, resp: falcon.Response, status: UploadStatus
) -> None:
    """Answer the request that ends the upload."""
    length = offset_of(status)
    if status.length not in {None, length}:
        _refuse_length(f"the upload ends at {length} bytes, it was to have {status.length}")
    # From here on, an answer is about the file and not about its transfer.
    resp.set_header(COMPLETE, "?1")
    resp.set_header(headers.UPLOAD_OFFSET, str(length))
    receipt = status.receipt or resumable.finish(device_of(req), status.id, length, _mismatched)
    _answer_receipt(resp, receipt)


def _answer_receipt(resp: falcon.Response, receipt: Receipt | None) -> None:
    resp.set_header(COMPLETE, "?1")
    if receipt is None:
        say(resp, {"state": "verifying"}, HTTPStatus.ACCEPTED)
    else:
        # No Repr-Digest: the content is this receipt, which has the file's digest.
        say(resp, receipt.to_json())


def _tell(resp: falcon.Response, status: UploadStatus) -> None:
    resp.set_header(headers.UPLOAD_OFFSET, str(offset_of(status)))
    resp.set_header(COMPLETE, "?1" if status.state in DONE else "?0")


def _limit(resumable: Resumable, status: UploadStatus | None, version: int) -> str:
    found = []
    max_length = resumable.receiver.settings.max_length
    if max_length is not None:
        found.append(f"max-size={max_length}")
    moment = None if status is None else expires(status)
    if moment is not None:
        left_s = (moment - resumable.receiver.clock.now_utc()).total_seconds()
        age = "expires" if version == 6 else "max-age"  # as it was called until the draft 06
        found.append(f"{age}={max(0, int(left_s))}")
    return ", ".join(found) or "min-size=0"


@contextmanager
def _told_of_limits(resumable: Resumable, resp: falcon.Response) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if refused.code == "too-large":
            resp.set_header("Upload-Limit", _limit(resumable, None, interop.NEWEST))
        raise


def _wanted(req: falcon.Request, length: int | None, is_last: bool) -> CreateRequest:
    digest, noted = digest_fields.whole_file(req)
    media_type = media_type_of(req)
    named = req.get_header("Content-Disposition")
    written_at = disposition.parameters_of(named).get("modification-date", "")  # RFC 2183
    return CreateRequest(
        name=disposition.file_name(named) or UNNAMED,
        length=length,
        digest=digest,
        modified_at=as_rfc3339(written_at),
        media_type=media_type[:MAX_MEDIA_TYPE] if media_type not in {"", CONTENT_TYPE} else None,
        metadata={PROTOCOL: IETF, **noted, **({LAST: "?1"} if is_last else {})},
    )


def _refuse_offset(provided: int, expected: int) -> NoReturn:
    raise DialectRefused(
        "invalid-range",
        f"the upload is at byte {expected}, the request begins at {provided}",
        status="409 Conflict",
        type_uri=PROBLEM_TYPES + "mismatching-upload-offset",
        members={"expected-offset": expected, "provided-offset": provided},
    )


def _refuse_length(detail: str) -> NoReturn:
    raise DialectRefused(
        "inconsistent-length", detail, type_uri=PROBLEM_TYPES + "inconsistent-upload-length"
    )


def _refuse_completed(version: int) -> NoReturn:
    detail = "the upload is complete; nothing can be appended"
    if version == 6:  # what it had a problem type of its own for
        type_uri = PROBLEM_TYPES + "completed-upload"
        raise DialectRefused("inconsistent-length", detail, type_uri=type_uri)
    _refuse_length(detail)


def _mismatched(detail: str) -> NoReturn:
    raise DialectRefused(
        "digest-mismatch",
        f"{detail}; the upload has ended, send the file again as a new one",
        status="422 Unprocessable Content",
    )
