"""The protocol of frago 0.1: chunks in any order, in parallel, each with a Content-Range.

POST starts, PUT sends a chunk, POST with the id finishes, GET tells what has arrived. Where the
original answers 500, keeps a bad chunk for ever or loses the answer to a finish, this one does not:
`docs/compat.md` has the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord, missing_of
from ingest_server.protocols.compat import chunk_notes
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
from ingest_server.storage.interface import Part
from ingest_server.uploads.pending import Pending
from upload_protocol.headers import whole_number
from upload_protocol.ranges import ByteRange

PREFIX = "/compat/frago/upload"
CHUNK = "chunk:"
"""Notes ``chunk:START`` = length: the chunks as the client counts them."""


def add_routes(app: falcon.App[falcon.Request, falcon.Response], uploads: DialectUploads) -> None:
    all_of_them, one = _All(uploads), _One(uploads)
    app.add_route(PREFIX, all_of_them)
    app.add_route(PREFIX + "/{upload_id}", one)


def shape(method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    """Return a refusal in frago's words: ``error`` for a chunk, ``message`` else."""
    status, document = detail_shape("ChunkUpload", method, refused)
    code = refused.code
    if status in {401, 403, 405} or code in {"not-found", "upload-not-found"}:
        return status, document
    if status == 410:
        return status, {"status": False, "error": "Upload expired"}
    key = "error" if method == "PUT" else "message"
    return status, {"status": False, key: document["detail"], "code": code}


@dataclass(frozen=True, slots=True)
class _All:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        form.finish()
        name, size = form.fields.get("filename"), form.fields.get("total_size")
        if not name or not size:
            _fail("filename and total_size required")
        length = whole_number(size)
        if length is None:
            _fail("total_size must be a whole number from 0")
        record = self.uploads.begin(req, form, name, length)
        document = {
            "status": True,
            "message": f"Upload started for {record.name}",
            "upload_id": dashed(record.id),
        }
        say(resp, document, 201)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        # Without a token nobody has a list: knowing an id is what lets one reach an upload.
        found = self.uploads.listing(req)
        say_each(resp, (_document(self.uploads, record, in_list=True) for record in found))


@dataclass(frozen=True, slots=True)
class _One:
    uploads: DialectUploads

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        say(resp, _document(self.uploads, self.uploads.find(req, upload_id)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        record = self.uploads.find(req, upload_id)
        form = Form(req)
        start, length = _where(req, record)
        if record.state is not State.OPEN and record.state is not State.EXPIRED:
            _error("Upload already finished")
        part = form.next_file()
        if part is None:
            _error("No chunk provided")
        is_repeat = self._take(record, start, length, part)
        form.finish()
        chunk_notes.write(self.uploads, record, f"{CHUNK}{start}", str(length))
        document: dict[str, object] = {
            "status": True,
            "message": "Duplicate chunk already uploaded; skipped"
            if is_repeat
            else "Chunk uploaded",
            "start": start,
            "end": start + length - 1,
            "size": length,
        }
        say(resp, document | ({"duplicate": True} if is_repeat else {}))

    def _take(self, record: UploadRecord, start: int, length: int, part: FilePart) -> bool:
        """Receive a chunk; return whether these very bytes had been there as a chunk before."""
        records = self.uploads.receiver.records
        noted = records.note(record.id, f"{CHUNK}{start}")
        is_there = record.received.covers(ByteRange(start, start + length))
        try:
            if noted != str(length) or not is_there:
                self.uploads.take(record, start, part, length=length, total=record.length)
                return False
            with records.reading(record.id) as stored:
                body = _Comparing(part, stored, start)
                self.uploads.take(
                    record, start, part, length=length, total=record.length, body=body
                )
                return body.is_same
        except ChunkSizeError as error:
            _error(f"Chunk size mismatch (expected {error.announced}, got {error.found})")

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        record = self.uploads.find(req, upload_id)
        form = Form(req)
        form.finish()
        if record.state is State.OPEN and missing_of(record):
            _fail("Not all chunks uploaded")
        settings = self.uploads.settings
        checksum = None
        if settings.require_checksum or form.fields.get("checksum"):
            value = form.fields.get("checksum")
            if not value:
                _fail("Checksum required")
            checksum = ClientChecksum(form.fields.get("checksum_algo") or settings.checksum, value)
        try:
            outcome = self.uploads.finish(record, form, record.length or 0, checksum)
        except ChecksumMismatchError:
            _fail("Checksum mismatch")
        except UnknownAlgorithmError as error:
            _fail(f"Checksum algorithm not available: {str(error)[:40]}")
        if isinstance(outcome, Pending):
            later = {"status": False, "message": "Being verified; ask again"}
            say_outcome(resp, later, outcome)
            return
        document = {
            "status": True,
            "message": f"Upload completed for {record.name}",
            "upload_id": dashed(record.id),
        }
        say(resp, document, 201)


class _Comparing:
    """A part that is compared with what is stored, while the receiver takes it."""

    def __init__(self, part: FilePart, stored: Part, start: int) -> None:
        self.is_same = True
        self._part = part
        self._stored = stored
        self._at = start

    def readinto(self, buffer: memoryview) -> int:
        count = self._part.readinto(buffer)
        # Before the receiver sees these bytes, so what is stored is still what was there.
        if self.is_same and self._stored.pread(count, self._at) != buffer[:count]:
            self.is_same = False
        self._at += count
        return count

    def interrupt(self) -> None:
        self._part.interrupt()


def _where(req: falcon.Request, record: UploadRecord) -> tuple[int, int]:
    value = req.get_header("Content-Range")
    if not value:
        _error("Missing Content-Range header")
    found = content_range(value)
    if found is None or found[1] < found[0]:
        _error("Invalid Content-Range header")
    first, last, total = found
    if total != record.length:
        _error("Total size mismatch")
    if last >= total:
        _error("Chunk ends after the total size")
    return first, last - first + 1


def _document(
    uploads: DialectUploads, record: UploadRecord, *, in_list: bool = False
) -> dict[str, object]:
    receipt = uploads.receipt(record, in_list=in_list)
    ended = "expired" if record.state is State.EXPIRED else "in_progress"
    return {
        "upload_id": dashed(record.id),
        "filename": record.name,
        "total_size": record.length,
        "status": ended if receipt is None else "complete",
        "created_at": record.created_at,
        "completed_at": None if receipt is None else receipt.verified_at,
        "chunks": _chunks(uploads, record) if receipt is None else [],
    }


def _chunks(uploads: DialectUploads, record: UploadRecord) -> list[dict[str, int]]:
    """Return the chunks that are there in full; a replaced one only once it is whole again."""
    found = []
    for key, value in uploads.receiver.records.notes(record.id).items():
        if key.startswith(CHUNK):
            start, size = int(key.removeprefix(CHUNK)), int(value)
            if record.received.covers(ByteRange(start, start + size)):
                found.append({"start": start, "end": start + size - 1, "size": size})
    return sorted(found, key=lambda chunk: chunk["start"])


def _error(text: str) -> NoReturn:
    raise DialectAnswer(400, {"status": False, "error": text})


def _fail(text: str) -> NoReturn:
    raise DialectAnswer(400, {"status": False, "message": text})
