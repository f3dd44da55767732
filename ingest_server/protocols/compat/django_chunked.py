"""The protocol of django-chunked-upload 2.0, which jQuery File Upload speaks.

All by POST: chunks to one address, which answers with an ``upload_id``, the finish to another.
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
from ingest_server.protocols.compat.answers import content_range, detail_shape, say_outcome
from ingest_server.protocols.compat.dialect import ChunkSizeError, DialectAnswer, DialectUploads
from ingest_server.protocols.compat.finishing import ChecksumMismatchError, ClientChecksum
from ingest_server.protocols.compat.multipart import FilePart, Form
from ingest_server.protocols.json_answer import say
from ingest_server.uploads.pending import Pending

PREFIX = "/compat/django/upload"
COMPLETE_PATH = "/compat/django/upload_complete"


def add_routes(app: falcon.App[falcon.Request, falcon.Response], uploads: DialectUploads) -> None:
    app.add_route(PREFIX, _Chunks(uploads))
    app.add_route(COMPLETE_PATH, _Complete(uploads))


def shape(method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    return detail_shape("ChunkedUpload", method, refused)


@dataclass(frozen=True, slots=True)
class _Chunks:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        part = form.next_file()
        if part is None:
            _fail("No chunk file was submitted")
        where = _where(self.uploads, req)
        upload_id = form.fields.get("upload_id")
        if upload_id:
            record = self._open(req, upload_id)
            start, length = self._take(record, where, part)
            form.finish()
        else:
            # Where the upload_id follows the file, this holds the bytes until it is known.
            total = None if where is None else where[2]
            held = self.uploads.begin(req, form, part.filename or "unnamed", total)
            start, length = self._hold(held, where, part)
            form.finish()
            record = self._place(req, held, form.fields.get("upload_id"), start)
        if where is None:
            self.uploads.receiver.lengths.fix(None, record.id, length)
        sequential.acknowledge(self.uploads, record, start, length)
        document = {
            "upload_id": record.id,
            "offset": sequential.offset(self.uploads, record),
            "expires": self.uploads.receiver.status(None, record.id).expires_at,
        }
        say(resp, document)

    def _open(self, req: falcon.Request, upload_id: str) -> UploadRecord:
        record = self.uploads.find(req, upload_id)
        refuse_unless_there(record)
        if record.state is not State.OPEN:
            _fail('Upload has already been marked as "complete"')
        return record

    def _take(
        self, record: UploadRecord, where: tuple[int, int, int] | None, part: FilePart
    ) -> tuple[int, int]:
        """Receive a chunk; return where it starts and how long it is."""
        start = 0 if where is None else where[0]
        if not sequential.may_start(self.uploads, record, start):
            _fail("Offsets do not match", offset=sequential.offset(self.uploads, record))
        if where is None:
            return 0, self.uploads.take_all(record, 0, part)
        if record.length not in {None, where[2]}:
            _fail("Error in request headers")
        try:
            self.uploads.take(record, start, part, length=where[1], total=where[2])
        except ChunkSizeError:
            _fail("File size doesn't match headers")
        return start, where[1]

    def _hold(
        self, held: UploadRecord, where: tuple[int, int, int] | None, part: FilePart
    ) -> tuple[int, int]:
        if where is None or where[0] == 0:
            return self._take(held, where, part)
        length = self.uploads.take_all(held, 0, part, limit=where[1])
        if length != where[1]:
            self.uploads.receiver.abort(None, held.id)
            _fail("File size doesn't match headers")
        return where[0], length

    def _place(
        self, req: falcon.Request, held: UploadRecord, upload_id: str | None, start: int
    ) -> UploadRecord:
        """Return the upload that what was held belongs to, with its bytes in it."""
        if not upload_id and not start:
            return held
        try:
            if not upload_id:
                _fail("Offsets do not match", offset=0)
            target = self._open(req, upload_id)
            if not sequential.may_start(self.uploads, target, start):
                _fail("Offsets do not match", offset=sequential.offset(self.uploads, target))
        except (DialectAnswer, Refused):
            self.uploads.receiver.abort(None, held.id)
            raise
        sequential.move(self.uploads, held, target, start)
        return target


@dataclass(frozen=True, slots=True)
class _Complete:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        form.finish()
        upload_id, value = form.fields.get("upload_id"), form.fields.get("md5")
        if self.uploads.settings.require_checksum and not (upload_id and value):
            _fail("Both 'upload_id' and 'md5' are required")
        if not upload_id:
            _fail("'upload_id' is required")
        record = self.uploads.find(req, upload_id)
        length = sequential.offset(self.uploads, record) if record.length is None else record.length
        if record.state is State.OPEN and (missing := missing_of(record, length)):
            offset = sequential.offset(self.uploads, record)
            _fail(f"{missing.total} bytes have not arrived", offset=offset)
        try:
            checksum = ClientChecksum("md5", value) if value else None
            outcome = self.uploads.finish(record, form, length, checksum)
        except ChecksumMismatchError:
            _fail("md5 checksum does not match")
        is_later = isinstance(outcome, Pending)
        say_outcome(resp, {"detail": "Being verified; ask again"} if is_later else {}, outcome)


def _where(uploads: DialectUploads, req: falcon.Request) -> tuple[int, int, int] | None:
    """Return start, length and total; None where the request is the whole file."""
    value = req.get_header("Content-Range")
    if not value:
        return None
    found = content_range(value)
    if found is not None and found[2] > uploads.max_length:
        _fail(f"Size of file exceeds the limit ({uploads.max_length} bytes)")
    if found is None or not found[0] <= found[1] < found[2]:
        _fail("Error in request headers")
    return found[0], found[1] - found[0] + 1, found[2]


def _fail(detail: str, **more: object) -> NoReturn:
    raise DialectAnswer(400, {"detail": detail, **more})
