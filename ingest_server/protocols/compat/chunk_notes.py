"""The chunks as a dialect's client counts them: a note for each, and how many there are.

What each request has to know is in a note of its own, so that no request reads them all.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.protocols.compat.dialect import DialectUploads
from ingest_server.uploads.records import Notes

COUNT = "chunks"
"""The note of how many chunks have a note."""
FREE_CHUNKS = 10_000
"""Of an upload, however short they are. A note takes some hundred bytes that no quota counts."""
LEAST_CHUNK_BYTES = 16 * 1024
"""On the average, of all chunks beyond those: notes are less than a hundredth of the file then."""


def write(
    uploads: DialectUploads,
    record: UploadRecord,
    key: str,
    value: str,
    also: Callable[[Notes], None] = lambda _: None,
) -> None:
    """Note a chunk, counted once under each *key*; durable on return.

    Args:
        also: what else is noted with it, all or nothing; it finds the older value still there.

    Raises:
        Refused: ``too-many-ranges``; the chunks are too many for the file.
    """
    prefix = key.partition(":")[0] + ":"

    def change(notes: Notes) -> None:
        counted = notes.get(COUNT)
        # An upload that an older version began has none.
        count = count_of(notes.all(), prefix) if counted is None else int(counted)
        if notes.get(key) is None:
            _refuse_too_many(record, count + 1)
            count += 1
        also(notes)
        notes.set(key, value)
        notes.set(COUNT, str(count))

    uploads.receiver.records.change_notes(record.id, change)


def count(uploads: DialectUploads, record: UploadRecord, prefix: str) -> int:
    """Return how many chunks of an upload are noted."""
    records = uploads.receiver.records
    counted = records.note(record.id, COUNT)
    return count_of(records.notes(record.id), prefix) if counted is None else int(counted)


def count_of(notes: dict[str, str], prefix: str) -> int:
    return sum(1 for key in notes if key.startswith(prefix))


def _refuse_too_many(record: UploadRecord, count: int) -> None:
    length = record.received.total if record.length is None else record.length
    most = max(FREE_CHUNKS, length // LEAST_CHUNK_BYTES)
    if count > most:
        raise Refused(
            "too-many-ranges",
            f"this file may be sent in at most {most} chunks: send larger ones",
        )
