"""The protocol of drf-chunked-upload 0.6: chunks in sequence by PUT, finished by POST.

`docs/compat.md` says where the answers differ from the original's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord, missing_of, refuse_unless_there
from ingest_server.protocols.compat import sequential
from ingest_server.protocols.compat.answers import (
    content_range,
    dashed,
    detail_shape,
    say_each,
    say_outcome,
)
from ingest_server.protocols.compat.dialect import ChunkSizeError, DialectAnswer, DialectUploads
from ingest_server.protocols.compat.finishing import (
    ChecksumMismatchError,
    ClientChecksum,
    UnknownAlgorithmError,
)
from ingest_server.protocols.compat.multipart import FilePart, Form
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.requests import device_of
from ingest_server.uploads.pending import Pending
from upload_protocol.messages import Receipt

PREFIX = "/compat/drf/upload"

UPLOADING, COMPLETE = 1, 2
NO_FILE = "No chunk file was submitted"


def add_routes(app: falcon.App[falcon.Request, falcon.Response], uploads: DialectUploads) -> None:
    all_of_them, one = _All(uploads), _One(uploads)
    app.add_route(PREFIX, all_of_them)
    app.add_route(PREFIX + "/{upload_id}", one)


def shape(method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    return detail_shape("ChunkedUpload", method, refused)


@dataclass(frozen=True, slots=True)
class _All:
    uploads: DialectUploads

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = self.uploads.listing(req)
        say_each(resp, (_document(self.uploads, req, record, in_list=True) for record in found))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        part = form.next_file()
        if part is None:
            _fail(NO_FILE)
        start, length, total = _where(self.uploads, req)
        if start:
            _fail("Offsets do not match", expected_offset=0, provided_offset=start)
        name = _name(form, is_read=False)
        record = self.uploads.begin(req, form, name or part.filename or "unnamed", total)
        _append(self.uploads, record, start, length, part)
        form.finish()
        record = _named(self.uploads, req, record, form, name)
        sequential.acknowledge(self.uploads, record, start, length)
        say(resp, _document(self.uploads, req, self.uploads.fresh(record)))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take a whole file in one request."""
        form = Form(req)
        part = form.next_file()
        if part is None:
            _fail(NO_FILE)
        name = _name(form, is_read=False)
        record = self.uploads.begin(req, form, name or part.filename or "unnamed")
        length = self.uploads.take_all(record, 0, part)
        form.finish()
        record = _named(self.uploads, req, record, form, name)
        try:
            outcome = _finish(self.uploads, self.uploads.fresh(record), length, form)
        except DialectAnswer:
            self.uploads.receiver.abort(None, record.id)  # its id was never told
            raise
        say_outcome(resp, _document(self.uploads, req, self.uploads.fresh(record)), outcome)


@dataclass(frozen=True, slots=True)
class _One:
    uploads: DialectUploads

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        say(resp, _document(self.uploads, req, self.uploads.find(req, upload_id)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        form = Form(req)
        part = form.next_file()
        if part is None:
            _fail(NO_FILE)
        start, length, total = _where(self.uploads, req)
        record = self.uploads.find(req, upload_id)
        refuse_unless_there(record)
        if record.state is not State.OPEN:
            _fail('Upload has already been marked as "complete"')
        if total != record.length:
            _fail("Error in request headers")
        if not sequential.may_start(self.uploads, record, start):
            expected = sequential.offset(self.uploads, record)
            _fail("Offsets do not match", expected_offset=expected, provided_offset=start)
        _append(self.uploads, record, start, length, part)
        form.finish()
        sequential.acknowledge(self.uploads, record, start, length)
        say(resp, _document(self.uploads, req, self.uploads.fresh(record)))

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        form = Form(req)
        form.finish()
        record = self.uploads.find(req, upload_id)
        outcome = _finish(self.uploads, record, record.length or 0, form)
        say_outcome(resp, _document(self.uploads, req, self.uploads.fresh(record)), outcome)


def _where(uploads: DialectUploads, req: falcon.Request) -> tuple[int, int, int]:
    """Return start, length and total."""
    found = content_range(req.get_header("Content-Range"))
    if found is None or found[1] < found[0]:
        _fail("Error in request headers")
    first, last, total = found
    if total > uploads.max_length:
        _fail(f"Size of file exceeds the limit ({uploads.max_length} bytes)")
    if last >= total:
        _fail(f"End of chunk exceeds reported total ({total} bytes)")
    return first, last - first + 1, total


def _append(
    uploads: DialectUploads, record: UploadRecord, start: int, length: int, part: FilePart
) -> None:
    try:
        uploads.take(record, start, part, length=length, total=record.length)
    except ChunkSizeError as error:
        _fail(
            "File size doesn't match headers: "
            f"file size is {error.found} but {error.announced} reported"
        )


def _name(form: Form, *, is_read: bool) -> str | None:
    """Return the file's name; None where it has not come, and the form is not read yet."""
    name = form.fields.get("filename")
    if name is None and is_read:
        _fail({"filename": ["This field is required."]})
    if name is not None and not name.strip():
        _fail({"filename": ["This field may not be blank."]})
    return name


def _named(
    uploads: DialectUploads, req: falcon.Request, record: UploadRecord, form: Form, name: str | None
) -> UploadRecord:
    """Return the upload under its name where that came behind the file."""
    if name is not None:
        return record
    try:
        name = _name(form, is_read=True)
    except DialectAnswer:
        uploads.receiver.abort(None, record.id)
        raise
    if name is None or name == record.name:
        return record
    target = uploads.begin(req, form, name, record.length)
    sequential.move(uploads, record, target, 0)
    return target


def _finish(
    uploads: DialectUploads, record: UploadRecord, length: int, form: Form
) -> Receipt | Pending:
    settings = uploads.settings
    checksum = None
    value = form.fields.get(settings.checksum)
    if value:
        checksum = ClientChecksum(settings.checksum, value)
    elif settings.require_checksum:
        _fail(f"Checksum of type '{settings.checksum}' is required")
    if record.state is State.OPEN:
        missing = missing_of(record, length)
        if missing:
            expected = sequential.offset(uploads, record)
            _fail(f"{missing.total} bytes have not arrived", expected_offset=expected)
    try:
        return uploads.finish(record, form, length, checksum)
    except (ChecksumMismatchError, UnknownAlgorithmError):
        _fail("checksum does not match")


def _document(
    uploads: DialectUploads, req: falcon.Request, record: UploadRecord, *, in_list: bool = False
) -> dict[str, object]:
    receipt = uploads.receipt(record, in_list=in_list)
    device = device_of(req)
    document = {
        "id": dashed(record.id),
        "url": uploads.url(req, f"{PREFIX}/{dashed(record.id)}"),
        "file": f"{record.id}.part" if receipt is None else receipt.published_as,
        "filename": record.name,
        "offset": sequential.offset(uploads, record),
        "created_at": record.created_at,
        "status": UPLOADING if receipt is None else COMPLETE,
        "completed_at": None if receipt is None else receipt.verified_at,
    }
    return document if device is None else document | {"user": device}


def _fail(detail: object, **more: object) -> NoReturn:
    raise DialectAnswer(400, {"detail": detail, **more})
