"""The protocol of the django-chunked-upload with ``unique_id`` and a hash for each chunk.

An init request says how large the file is and learns how large chunks may be; each chunk carries
its own hash, the last one the hash of the chain of them all. `docs/compat.md` says where the
answers differ from the original's.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import falcon

from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.record import FINISHING, UNFINISHED, State, UploadRecord
from ingest_server.core.recorded import told_in
from ingest_server.protocols.compat import chunk_chain, chunk_notes, sequential
from ingest_server.protocols.compat.answers import dashed, detail_shape, say_outcome
from ingest_server.protocols.compat.dialect import DialectAnswer, DialectUploads
from ingest_server.protocols.compat.django_init_end import (
    ALGORITHMS,
    FAILED,
    HASH_FUNCTION,
    algorithm_of,
    fail_for_good,
    finish_if_whole,
)
from ingest_server.protocols.compat.multipart import FilePart, Form
from ingest_server.protocols.json_answer import say
from upload_protocol.headers import MAX_OFFSET, whole_number

PREFIX = "/compat/django-init/upload"
INIT_PATH = PREFIX + "/init"

RETRIES = "retries"
CORRUPTED = "Sent chunk is corrupted. Please retry uploading the chunk."
REQUIRED = ["This field is required."]


def add_routes(app: falcon.App[falcon.Request, falcon.Response], uploads: DialectUploads) -> None:
    app.add_route(INIT_PATH, _Init(uploads))
    app.add_route(PREFIX, _Chunks(uploads))


def shape(method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    return detail_shape("File", method, refused)


@dataclass(frozen=True, slots=True)
class _Init:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        form.finish()
        fields = form.fields
        unique_id = fields.get("unique_id")
        if unique_id:
            _check_id(unique_id)
            try:
                record = self.uploads.find(req, unique_id)
            except Refused as refused:
                if refused.problem.retryable:
                    raise  # nobody knows whether there is one
                raise DialectAnswer(400, ["File does not exist"]) from refused
        else:
            record = self._begin(req, form)
        say(resp, _document(self.uploads, record))

    def _begin(self, req: falcon.Request, form: Form) -> UploadRecord:
        errors: dict[str, list[str]] = {}
        fields = form.fields
        size, name = fields.get("file_size"), fields.get("file_name")
        length: int | None = None
        if not size:
            errors["file_size"] = ["This field is required"]
        elif (length := whole_number(size)) is None:
            errors["file_size"] = ["A valid integer is required."]
        if not name:
            errors["file_name"] = ["This field is required"]
        elif "." not in name:
            errors["file_name"] = ["Invalid file name. File name must have an extension"]
        function = fields.get(HASH_FUNCTION) or self.uploads.settings.checksum.upper()
        if function not in ALGORITHMS:
            errors[HASH_FUNCTION] = ["Invalid hash function"]
        if errors or length is None or not name:
            raise DialectAnswer(400, errors)
        if length > self.uploads.max_length:
            text = "File size is greater than the maximum allowed file size"
            raise DialectAnswer(400, [f"{text}, {_readable(self.uploads.max_length)}."])
        return self.uploads.begin(req, form, name, length, **{HASH_FUNCTION: function})


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What a chunk's form says of it."""

    unique_id: str
    offset: int
    chunk_hash: str


@dataclass(frozen=True, slots=True)
class _Chunks:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        part = form.next_file()
        if part is None:
            _read_chunk(form)
            raise DialectAnswer(400, ["File is required"])
        if {"unique_id", "offset", "chunk_hash"} <= form.fields.keys():
            chunk = _read_chunk(form)
            record = self._open(req, chunk)
            if record.state is State.OPEN:
                record = self._take(req, record, chunk, part)
            form.finish()
        else:
            # The fields follow the file: it is held in an upload of its own until they are known.
            held = self.uploads.begin(req, form, part.filename or "unnamed")
            self.uploads.take_all(held, 0, part)
            form.finish()
            chunk, record = self._place(req, held, form)
        outcome = None
        if record.state in UNFINISHED:
            told = told_in(form.fields)
            outcome = finish_if_whole(self.uploads, record, form.fields.get("final_hash"), told)
        say_outcome(resp, _document(self.uploads, self.uploads.fresh(record)), outcome)

    def _open(self, req: falcon.Request, chunk: _Chunk) -> UploadRecord:
        """Return the upload that the chunk goes on with, or has gone on with before."""
        try:
            record = self.uploads.find(req, chunk.unique_id)
        except Refused as refused:
            if refused.problem.retryable:
                raise
            raise _no_such_file() from refused
        records = self.uploads.receiver.records
        seen = records.note(record.id, f"{chunk_chain.CHUNK}{chunk.offset}")
        is_whole = record.state in FINISHING or record.state is State.COMPLETE
        if is_whole and seen and json.loads(seen)[1] == chunk.chunk_hash:
            return record  # the answer to the last chunk was lost
        if record.state is not State.OPEN or records.note(record.id, FAILED) is not None:
            raise _no_such_file()
        end = chunk_chain.so_far(self.uploads, record, algorithm_of(record)).end
        if chunk.offset > end or (seen is None and chunk.offset < end):
            raise DialectAnswer(400, {"non_field_errors": ["Offset does not match"]})
        return record

    def _take(
        self, req: falcon.Request, record: UploadRecord, chunk: _Chunk, part: FilePart
    ) -> UploadRecord:
        """Receive a chunk; return its upload, which another request may just have ended by the same chunk."""
        algorithm = algorithm_of(record)
        limit = min(self.uploads.settings.chunk_bytes, (record.length or 0) - chunk.offset)
        try:
            checksum = Checksum(algorithm, bytes.fromhex(chunk.chunk_hash))
        except ValueError:
            self._retry_or_fail(record)
        try:
            length = self.uploads.take_all(
                record, chunk.offset, part, limit=limit, checksum=checksum
            )
        except Refused as refused:
            if refused.code == "content-digest-mismatch":
                self._retry_or_fail(record)
            if refused.code == "too-large":
                text = f"A chunk from {chunk.offset} on has at most {limit} bytes"
                raise DialectAnswer(400, {"message": text}) from refused
            if refused.code == "not-open":
                found = self._open(req, chunk)
                if found.state is State.OPEN:  # again: this chunk is not in it
                    busy = "the upload was being finished, and is open again"
                    raise Refused("server-busy", busy, retry_after_s=1) from refused
                return found
            raise
        if length == 0 and not checksum.fits(b""):
            self._retry_or_fail(record)
        self._note(record, chunk, length)
        return record

    def _place(
        self, req: falcon.Request, held: UploadRecord, form: Form
    ) -> tuple[_Chunk, UploadRecord]:
        """Check what was held against the fields, and copy it to where it belongs."""
        try:
            chunk = _read_chunk(form)
            record = self._open(req, chunk)
            if record.state is not State.OPEN:
                self.uploads.receiver.abort(None, held.id)
                return chunk, record
            length = self.uploads.fresh(held).received.prefix
            if length > min(self.uploads.settings.chunk_bytes, (record.length or 0) - chunk.offset):
                raise DialectAnswer(400, {"message": f"The chunk of {length} bytes is too long"})
            hasher = hashlib.new(algorithm_of(record), usedforsecurity=False)
            self.uploads.receiver.records.sum_up(held.id, [(0, length)], hasher)
            if hasher.hexdigest() != chunk.chunk_hash:
                self._retry_or_fail(record)
        except (DialectAnswer, Refused):
            self.uploads.receiver.abort(None, held.id)
            raise
        sequential.move(self.uploads, held, record, chunk.offset)
        self._note(record, chunk, length)
        return chunk, record

    def _note(self, record: UploadRecord, chunk: _Chunk, length: int) -> None:
        verified = chunk_chain.Verified(chunk.offset, length, chunk.chunk_hash)
        retries = str(self.uploads.settings.retries)
        chunk_chain.go_on(
            self.uploads,
            record,
            verified,
            algorithm_of(record),
            lambda notes: notes.set(RETRIES, retries),
        )

    def _retry_or_fail(self, record: UploadRecord) -> NoReturn:
        """Count a bad chunk; the last one that is allowed ends the upload."""
        retries = self.uploads.settings.retries
        left = self.uploads.receiver.records.change_note(
            record.id, RETRIES, lambda value: str((retries if value is None else int(value)) - 1)
        )
        if int(left) >= 0:
            raise DialectAnswer(400, {"message": CORRUPTED, "left_retries": left})
        fail_for_good(self.uploads, record, CORRUPTED)


def _read_chunk(form: Form) -> _Chunk:
    fields = form.fields
    errors: dict[str, list[str]] = {
        name: REQUIRED for name in ("unique_id", "offset", "chunk_hash") if not fields.get(name)
    }
    if errors:
        raise DialectAnswer(400, errors)
    _check_id(fields["unique_id"])
    offset = _number(fields["offset"])
    if offset is None:
        raise DialectAnswer(400, {"offset": ["A valid integer is required."]})
    chunk_hash = fields["chunk_hash"].strip().lower()
    if len(chunk_hash) > 256:
        raise DialectAnswer(
            400, {"chunk_hash": ["Ensure this field has no more than 256 characters."]}
        )
    return _Chunk(fields["unique_id"], offset, chunk_hash)


def _number(text: str) -> int | None:
    found = whole_number(text)
    return None if found is None or found > MAX_OFFSET else found


def _check_id(text: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError:
        raise DialectAnswer(400, {"unique_id": ["Must be a valid UUID."]}) from None


def _no_such_file() -> DialectAnswer:
    text = "File does not exist or not in a valid state"
    return DialectAnswer(400, {"non_field_errors": [text]})


def _document(uploads: DialectUploads, record: UploadRecord) -> dict[str, object]:
    records, so_far, size = (
        uploads.receiver.records,
        chunk_chain.so_far(uploads, record, algorithm_of(record)),
        record.length or 0,
    )
    if uploads.receiver.statuses.asked(record).receipt is not None:
        status = "SUCCESSFUL"
    elif (
        record.state in {State.ABORTED, State.EXPIRED, State.FAILED}
        or records.note(record.id, FAILED) is not None
    ):
        status = "FAILED"
    else:
        status = "UPLOADING" if chunk_notes.count(uploads, record, chunk_chain.CHUNK) else "INITIAL"
    left = records.note(record.id, RETRIES)
    return {
        "unique_id": dashed(record.id),
        "offset": so_far.end,
        "chunk_size": uploads.settings.chunk_bytes,
        "status": status,
        "original_file_size": size,
        "current_file_size": so_far.end,
        "hr_current_file_size": _readable(so_far.end),
        "hr_original_file_size": _readable(size),
        "last_calculated_hash": so_far.chain,
        "retry_threshold": max(0, int(uploads.settings.retries if left is None else left)),
    }


def _readable(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB", "PB", "EB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} ZB"
