"""What a start finds after a crash: part files and rows that do not fit, and halves of publishing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from ingest_server.blobs.files import FileBlobs
from ingest_server.committer import Committer
from ingest_server.state.queries import Transaction
from ingest_server.state.sqlite import SqliteState
from ingest_server.upload import State

log = structlog.get_logger()

_UNFINISHED = (State.OPEN, State.VERIFYING, State.PUBLISHING)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `Receiver.start` found and mended."""

    open_uploads: int = 0
    resumed: int = 0
    """Half verified or half published uploads that were taken up again."""
    strays: int = 0
    """Part files without an upload, moved to lost+found."""
    lost: int = 0
    """Uploads whose part file is gone; now failed."""


def clear_parts(state: SqliteState, blobs: FileBlobs) -> int:
    """Remove part files of uploads that have ended, set aside those that nobody knows.

    Returns:
        How many were set aside. Nothing that may be the only copy of something is deleted.
    """
    strays = 0
    with state.reading() as queries:
        for upload_id in blobs.part_ids():
            record = queries.get(upload_id)
            if record is None or record.state is State.FAILED:
                blobs.set_aside(upload_id)
                log.warning("part.stray", upload_id=upload_id)
                strays += 1
            elif record.state not in _UNFINISHED:
                blobs.remove_part(upload_id)
    return strays


def fail_lost(state: SqliteState, blobs: FileBlobs, committer: Committer) -> int:
    """Mark uploads whose part file is gone as failed; durable on return."""
    with state.reading() as queries:
        lost = [
            record.id
            for found in _UNFINISHED
            for record in queries.in_state(found)
            if not blobs.has_part(record.id)
        ]
    for upload_id in lost:

        def fail(transaction: Transaction, upload_id: str = upload_id) -> None:
            record = transaction.get(upload_id)
            if record is not None:
                transaction.save(replace(record, state=State.FAILED))

        committer.run(fail)
        log.error("upload.failed", upload_id=upload_id, error="its part file is gone")
    return len(lost)
