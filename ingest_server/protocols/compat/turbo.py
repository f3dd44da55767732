"""The protocol of drf-turbo-uploader: numbered chunks in any order, their offsets unknown.

The first chunk that comes sets a stride, and each chunk goes to its number times that: right for
every client that cuts its file evenly, and then nothing is copied. What is larger than the stride
(the first to come was the short last one) goes to a second upload, and the finish puts the file
together in a third. `docs/compat.md` says where the answers differ from the original's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord, end_of, refuse_unless_there
from ingest_server.core.recorded import told_in
from ingest_server.protocols.compat import chunk_notes, finishing, sequential
from ingest_server.protocols.compat.answers import dashed, detail_shape, say_outcome
from ingest_server.protocols.compat.dialect import DialectAnswer, DialectUploads, StoredBody
from ingest_server.protocols.compat.finishing import ChecksumMismatchError, ClientChecksum
from ingest_server.protocols.compat.multipart import FilePart, Form
from ingest_server.protocols.json_answer import say
from ingest_server.uploads.pending import Pending
from upload_protocol.headers import ContentRange, whole_number
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange

PREFIX = "/compat/turbo/upload"

ORDER = "order:"
"""Notes ``order:NUMBER`` = ``[place, start, length]`` of each chunk."""
STRIDE = "stride"
ASIDE_END = "aside_end"
ASSEMBLED = "assembled"
"""The note of the upload that the file was put together in."""
MAIN, ASIDE = "main", "aside"


@dataclass(frozen=True, slots=True)
class _Chunk:
    place: str
    start: int
    length: int


MAX_ORDER = 10**9 - 1


def add_routes(app: falcon.App[falcon.Request, falcon.Response], uploads: DialectUploads) -> None:
    app.add_route(PREFIX, _All(uploads))
    app.add_route(PREFIX + "/{upload_id}", _One(uploads))
    app.add_route(PREFIX + "/complete/{upload_id}", _Complete(uploads))


def shape(method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    return detail_shape("FileModel", method, refused)


@dataclass(frozen=True, slots=True)
class _All:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = Form(req)
        form.finish()
        name = form.fields.get("filename")
        if name is None:
            raise DialectAnswer(400, {"filename": ["This field is required."]})
        if not name.strip():
            raise DialectAnswer(400, {"filename": ["This field may not be blank."]})
        say(resp, _document(self.uploads, self.uploads.begin(req, form, name)))


@dataclass(frozen=True, slots=True)
class _One:
    uploads: DialectUploads

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        form = Form(req)
        part = form.next_file()
        if part is None:
            _order(form)
            # The original's own spelling, which clients may look for, and the right one.
            text = "No chunk file was submitted"
            raise DialectAnswer(400, {"detial": text, "detail": text})
        record = self._open(req, upload_id)
        if "order" in form.fields:
            order = _order(form)
            where = self._place(record, order, part.likely_length)
            self._take(record, where, part)
            form.finish()
        else:
            held = self.uploads.begin(req, form, part.filename or "unnamed")
            length = self.uploads.take_all(held, 0, part)
            form.finish()
            try:
                order = _order(form)
                where = self._place(record, order, length)
            except (DialectAnswer, Refused):
                self.uploads.receiver.abort(None, held.id)
                raise
            sequential.move(self.uploads, held, self._upload(record, where.place), where.start)
        value = json.dumps([where.place, where.start, where.length])
        chunk_notes.write(self.uploads, record, f"{ORDER}{order}", value)
        say(resp, _document(self.uploads, self.uploads.fresh(record)))

    def _open(self, req: falcon.Request, upload_id: str) -> UploadRecord:
        record = self.uploads.find(req, upload_id)
        if self.uploads.receiver.records.note(record.id, ASSEMBLED) is None:
            refuse_unless_there(record)
            if record.state is State.OPEN:
                return record
        raise Refused("not-open", "the file is complete")

    def _place(self, record: UploadRecord, order: int, length: int) -> _Chunk:
        """Return where a chunk goes; no other chunk will ever be sent there."""
        records = self.uploads.receiver.records
        stride = int(
            records.change_note(record.id, STRIDE, lambda value: value or str(max(length, 1)))
        )
        if length <= stride:
            return _Chunk(MAIN, order * stride, length)
        end = records.change_note(record.id, ASIDE_END, lambda value: str(int(value or 0) + length))
        return _Chunk(ASIDE, int(end) - length, length)

    def _take(self, record: UploadRecord, where: _Chunk, part: FilePart) -> None:
        if not where.length:
            if part.skip():
                _fail("The form must end with its boundary")
            return
        target = self._upload(record, where.place)
        # Not a byte more than seemed to be there: the next chunk's writer must be left alone.
        found = self.uploads.take_all(target, where.start, part, limit=where.length)
        if found != where.length:
            _fail("The fields must come before the file, or all of them behind it")

    def _upload(self, record: UploadRecord, place: str) -> UploadRecord:
        return record if place == MAIN else self.uploads.beside(record, ASIDE)


@dataclass(frozen=True, slots=True)
class _Complete:
    uploads: DialectUploads

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        record = self.uploads.find(req, upload_id)
        records = self.uploads.receiver.records
        chunks = _chunks(records.notes(record.id))
        if records.note(record.id, ASSEMBLED) is None and record.state is not State.COMPLETE:
            refuse_unless_there(record)
            if not chunks:
                raise DialectAnswer(404, {"detail": "No chunks found for this file"})
            gaps = list(islice((order for order in range(max(chunks)) if order not in chunks), 20))
            if gaps:
                _fail(f"Chunks are missing, they count from 0: {gaps}")
        in_order = tuple(chunks[order] for order in sorted(chunks))
        outcome = self._finish(req, record, in_order)
        say_outcome(resp, _document(self.uploads, self.uploads.fresh(record)), outcome)

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Say whether there is such an upload: here GET completes it, which HEAD must not."""
        refuse_unless_there(self.uploads.find(req, upload_id))
        resp.content_type, resp.stream = "application/json", iter(())

    def _assembled(self, record: UploadRecord, chunks: Sequence[_Chunk]) -> UploadRecord:
        """Return the upload that holds the chunks one after the other."""
        length = sum(chunk.length for chunk in chunks)
        if _is_in_order(chunks) and end_of(self.uploads.fresh(record).received) == length:
            return record
        target = self.uploads.beside(record, ASSEMBLED, length)
        self.uploads.expect(target)
        at = 0
        for chunk in chunks:
            self._copy(record, chunk, target, at)
            at += chunk.length
        return target

    def _copy(self, record: UploadRecord, chunk: _Chunk, target: UploadRecord, at: int) -> None:
        if not chunk.length:
            return
        source = record if chunk.place == MAIN else self.uploads.beside(record, ASIDE)
        where = ContentRange(ByteRange(at, at + chunk.length), target.length)
        with self.uploads.receiver.records.reading(source.id) as stored:
            body = StoredBody(stored, chunk.start, chunk.length)
            self.uploads.receiver.receive(None, target.id, where, body)

    def _finish(
        self, req: falcon.Request, record: UploadRecord, chunks: tuple[_Chunk, ...]
    ) -> Receipt | Pending:
        """Publish; the protocol has no checksum, but whoever adds one to the query has it checked."""
        checksum = None
        algorithm = self.uploads.settings.checksum
        told = {key: value for key, value in req.params.items() if isinstance(value, str)}
        if algorithm in told:
            checksum = ClientChecksum(algorithm, told[algorithm])
        modified_at = told_in(told)
        try:
            return finishing.once(
                self.uploads.receiver,
                record,
                (chunks, checksum),
                lambda: self._put_together(record, chunks, checksum, modified_at),
            )
        except ChecksumMismatchError:
            _fail("checksum does not match")

    def _put_together(
        self,
        record: UploadRecord,
        chunks: tuple[_Chunk, ...],
        checksum: ClientChecksum | None,
        modified_at: str | None,
    ) -> Receipt:
        whole = self._ended(record)
        if whole is None:
            try:
                whole = self._assembled(self.uploads.fresh(record), chunks)
            except Refused:
                whole = self._ended(record)  # another server has, and took the pieces away
                if whole is None:
                    raise
        length = sum(chunk.length for chunk in chunks)
        receipt = finishing.finish_now(self.uploads.receiver, whole, length, checksum, modified_at)
        if whole.id != record.id:
            self._drop(record, whole)
        return receipt

    def _ended(self, record: UploadRecord) -> UploadRecord | None:
        """Return the upload that the file was published from, if it was."""
        assembled = self.uploads.receiver.records.note(record.id, ASSEMBLED)
        if assembled is not None:
            return self.uploads.receiver.records.find(None, assembled)
        found = self.uploads.fresh(record)
        return found if found.state is State.COMPLETE else None

    def _drop(self, record: UploadRecord, whole: UploadRecord) -> None:
        """Let go of the pieces: the file is published."""
        self.uploads.receiver.records.write_note(record.id, ASSEMBLED, whole.id)
        pieces = [record]
        if self.uploads.receiver.records.note(record.id, ASIDE_END) is not None:
            pieces.append(self.uploads.beside(record, ASIDE))
        for piece in pieces:
            if piece.state is State.OPEN:
                self.uploads.receiver.abort(None, piece.id)


def _is_in_order(chunks: Sequence[_Chunk]) -> bool:
    at = 0
    for chunk in chunks:
        if chunk.place != MAIN or (chunk.length and chunk.start != at):
            return False
        at += chunk.length
    return True


def _order(form: Form) -> int:
    order = form.fields.get("order")
    if not order:
        raise DialectAnswer(400, {"order": ["This field is required."]})
    found = whole_number(order)
    if found is None or found > MAX_ORDER:
        raise DialectAnswer(400, {"order": ["A valid integer is required."]})
    return found


def _chunks(notes: Mapping[str, str]) -> dict[int, _Chunk]:
    return {
        int(key.removeprefix(ORDER)): _Chunk(*json.loads(value))
        for key, value in notes.items()
        if key.startswith(ORDER)
    }


def _document(uploads: DialectUploads, record: UploadRecord) -> dict[str, object]:
    assembled = uploads.receiver.records.note(record.id, ASSEMBLED)
    whole = record if assembled is None else uploads.receiver.records.find(None, assembled)
    receipt = uploads.receiver.statuses.asked(whole).receipt
    return {
        "id": dashed(record.id),
        "chunks_count": chunk_notes.count(uploads, record, ORDER),
        "file": None if receipt is None else receipt.published_as,
        "filename": record.name,
        "created_at": record.created_at,
        "status": 1 if receipt is None else 2,
        "completed_at": None if receipt is None else receipt.verified_at,
        "url": None if receipt is None else f"/upload/complete/{dashed(record.id)}",
    }


def _fail(text: str) -> NoReturn:
    raise DialectAnswer(400, {"detail": text})
