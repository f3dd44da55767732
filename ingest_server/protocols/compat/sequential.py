"""Chunks one after the other, as both chunked-upload protocols of Django have them.

A chunk may start where the stored bytes end, or where an acknowledged chunk started or ended: so a
client that lost an answer, or whose request was cut, sends its chunk again and goes on, and other
bytes in it replace the first.
"""

from __future__ import annotations

from ingest_server.core.record import State, UploadRecord
from ingest_server.protocols.compat import chunk_notes
from ingest_server.protocols.compat.dialect import DialectUploads, StoredBody
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange

CHUNK = "chunk:"
"""Notes ``chunk:START`` = length of each acknowledged chunk."""
ACKNOWLEDGED = "acknowledged"
"""The note of where the newest acknowledged chunk ends."""


def offset(uploads: DialectUploads, record: UploadRecord) -> int:
    """Return where a client may go on: all before it is durable."""
    if record.state is State.OPEN:
        return uploads.receiver.status(None, record.id).received.prefix
    return record.length or record.received.prefix


def may_start(uploads: DialectUploads, record: UploadRecord, start: int) -> bool:
    """Return whether a chunk from *start* on continues the upload or repeats a part of it."""
    if start == offset(uploads, record):
        return True
    records = uploads.receiver.records
    return records.note(record.id, f"{CHUNK}{start}") is not None or records.note(
        record.id, ACKNOWLEDGED
    ) == str(start)


def acknowledge(uploads: DialectUploads, record: UploadRecord, start: int, length: int) -> None:
    """Note a chunk whose bytes are recorded; durable on return."""
    end = str(start + length)
    chunk_notes.write(
        uploads,
        record,
        f"{CHUNK}{start}",
        str(length),
        lambda notes: notes.set(ACKNOWLEDGED, end),
    )


def move(uploads: DialectUploads, held: UploadRecord, target: UploadRecord, start: int) -> int:
    """Copy what *held* took into *target* from *start* on, and end *held*; return its length.

    For forms that say where their file belongs only behind it: its bytes were durable at once, in
    an upload of their own.
    """
    length = uploads.fresh(held).received.prefix
    if length:
        with uploads.receiver.records.reading(held.id) as stored:
            where = ContentRange(ByteRange(start, start + length), None)
            uploads.receiver.receive(None, target.id, where, StoredBody(stored, 0, length))
    uploads.receiver.abort(None, held.id)
    return length
