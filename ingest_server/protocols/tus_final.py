"""tus: a final upload is made of partial ones, whose bytes are here already.

They are copied in the background, once, whoever asks and how often: where the file system shares no
blocks, that takes longer than an answer may. Until it is done, HEAD tells no offset, as tus wants it.
What a stop breaks off goes on at the next start, or with the next who asks.
"""

from __future__ import annotations

from contextlib import suppress

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.protocols.requests import device_of, url_parts
from ingest_server.protocols.resumable import (
    PATH,
    DialectRefused,
    Resumable,
    content_of,
    set_created,
)
from ingest_server.protocols.tus_request import CONCAT, mismatched, to_create
from ingest_server.uploads.pending import Pending
from upload_protocol import headers
from upload_protocol.messages import UploadStatus

MAX_PARTS = 1000

_FINAL = "final;"


def is_named(concat: str) -> bool:
    """Return whether ``Upload-Concat`` asks for a final upload."""
    return concat.startswith(_FINAL)


def is_final(record: UploadRecord) -> bool:
    return is_named(record.metadata.get(CONCAT, ""))


def ends_by_itself(record: UploadRecord) -> bool:
    """Return whether the upload is complete with its last byte: all but parts of others are."""
    return record.metadata.get(CONCAT) != "partial"


def is_unfilled(record: UploadRecord) -> bool:
    """Return whether bytes of its parts are still to be copied into it."""
    is_whole = record.received.prefix == record.length
    return is_final(record) and record.state is State.OPEN and not is_whole


def create(resumable: Resumable, req: falcon.Request, resp: falcon.Response, concat: str) -> None:
    """Make a final upload, and begin to put it together.

    Raises:
        Refused: the request cannot be read, or the parts are copied too often.
        DialectRefused: a part is not there, or not whole.
    """
    for name in (headers.UPLOAD_LENGTH, "Upload-Defer-Length"):
        if req.get_header(name) is not None:
            raise Refused("malformed-request", f"a final upload has no {name}: it is the sum")
    if content_of(req).length != 0:
        raise Refused("malformed-request", "a final upload has no body")
    device = device_of(req)
    length = _length_of(resumable, device, concat)
    wanted = to_create(req, length, concat)
    resumable.refuse_undigested(wanted, "send it as the metadata sha256")
    status, is_new = resumable.create(req, wanted)
    record = resumable.receiver.records.find(device, status.id)
    if record.metadata.get(CONCAT) != concat:
        raise Refused("idempotency-key-reused", "the key was used with other parts")
    set_created(resp, resumable.url(req, status.id))
    if record.state is State.OPEN:
        try:
            put_together(resumable, record, resumable.receiver.settings.verify_wait_s)
        except Refused as refused:
            if is_new and refused.code == "too-large":
                resp.delete_header("Location")
            raise


def look_after(resumable: Resumable, device: str | None, record: UploadRecord) -> UploadStatus:
    """Return how far a final upload is, having it gone on with.

    Raises:
        Refused: it can come to no good; or the disk fails.
    """
    if is_unfilled(record):
        put_together(resumable, record, wait_s=0)
    return resumable.go_on(device, resumable.receiver.status(device, record.id))


def put_together(resumable: Resumable, record: UploadRecord, wait_s: float) -> Pending | None:
    """Copy the parts of a final upload into it, publish it, and need them no more.

    Returns:
        `Pending`: it takes longer than *wait_s*, and goes on. None: it is whole.

    Raises:
        Refused: why it cannot be; where nothing was copied for good, the upload has ended.
    """
    concat = record.metadata[CONCAT]
    receiver, device = resumable.receiver, record.device
    parts = [_id_in(url) for url in _urls_in(concat)]

    def work() -> None:
        try:
            if is_unfilled(receiver.records.find(None, record.id)):
                receiver.concatenation.fill(device, record.id, parts)
        except Refused as refused:
            if refused.code == "too-large" and not receiver.records.find(None, record.id).received:
                resumable.drop(device, record.id)
            raise
        resumable.finish(device, record.id, record.length or 0, mismatched)
        for part in parts:
            with suppress(Refused):
                receiver.expiry.soon(device, part, resumable.reuse_s)

    try:
        return receiver.long_work.join(device, record.id, concat, work, wait_s)
    except Refused as refused:
        if refused.code != "superseded":
            raise
        return Pending(retry_after_s=1.0)  # another replica of the server goes on


def _length_of(resumable: Resumable, device: str | None, concat: str) -> int:
    """Return how long the parts are together.

    Raises:
        Refused: they are no parts, or their number is none that is taken.
        DialectRefused: one is not there, or not whole.
    """
    urls = _urls_in(concat)
    if not 1 <= len(urls) <= MAX_PARTS:
        detail = f"a final upload is made of 1 to {MAX_PARTS} partial ones"
        raise Refused("malformed-request", detail)
    return sum(_length_in(resumable, device, url) for url in urls)


def _length_in(resumable: Resumable, device: str | None, url: str) -> int:
    folder, upload_id = url_parts(url)[1].rpartition("/")[0], _id_in(url)
    if folder != PATH and not folder.endswith(PATH):
        raise Refused("malformed-request", f"{url[:80]!r} is no upload of this server")
    try:
        status = resumable.receiver.status(device, upload_id)
        record = resumable.receiver.records.find(device, upload_id)
    except Refused as refused:
        if refused.problem.retryable:
            raise
        detail = f"the part {upload_id[:40]!r} is not there: {refused.detail}"
        raise DialectRefused(refused.code, detail, status="400 Bad Request") from refused
    if record.metadata.get(CONCAT) != "partial":
        raise Refused("malformed-request", f"{upload_id} is not a partial upload")
    if status.length is None or status.received.prefix != status.length:
        detail = f"the part {upload_id} is not whole yet"
        raise DialectRefused("ranges-missing", detail, status="400 Bad Request")
    return status.length


def _urls_in(concat: str) -> list[str]:
    return concat.removeprefix(_FINAL).split()


def _id_in(url: str) -> str:
    return url_parts(url)[1].rpartition("/")[2]
