"""What a start finds after a crash, or with a database restored from an older copy.

Part files and rows that do not fit, rows that say more than their file holds, and halves of
publishing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ingest_server.core.names import joined
from ingest_server.core.record import UNFINISHED, State, UploadRecord, end_of
from ingest_server.core.routes import place_of
from ingest_server.storage.interface import Blobs, StateStore, Transaction
from ingest_server.uploads.earlier import is_published_there
from ingest_server.uploads.store import drop_part
from upload_protocol.ranges import ByteRange, RangeSet

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `Housekeeper.recover` found and mended."""

    open_uploads: int = 0
    resumed: int = 0
    """Half verified or half published uploads that were taken up again."""
    strays: int = 0
    """Part files without an upload, moved to lost+found."""
    lost: int = 0
    """Uploads whose part file is gone; now failed."""
    shortened: int = 0
    """Uploads whose part file is shorter than what was recorded; the rest is asked for again."""

    def told(self) -> dict[str, int]:
        """Return it as the log tells it."""
        return {
            "open_uploads": self.open_uploads,
            "resumed": self.resumed,
            "strays": self.strays,
            "lost": self.lost,
            "shortened": self.shortened,
        }


def clear_parts(state: StateStore, blobs: Blobs) -> int:
    """Remove part files of uploads that have ended, set aside those that nobody knows.

    Returns:
        How many were set aside. Nothing that may be the only copy of something is deleted.
    """
    strays = 0
    for upload_id in blobs.part_ids():
        record = state.find(upload_id)
        if record is None and blobs.is_fresh(upload_id):
            continue
        if record is None or record.state is State.FAILED or _is_only_copy(record, blobs):
            blobs.set_aside(upload_id)
            log.warning("part.stray", upload_id=upload_id)
            strays += 1
        elif record.state not in UNFINISHED:
            _announce(record, blobs)
            drop_part(blobs, upload_id)
    return strays


def _announce(record: UploadRecord, blobs: Blobs) -> None:
    """Let watchers know of a file that this very upload published: its part goes after that only."""
    receipt = record.receipt
    if receipt is not None and receipt.upload_id == record.id and record.removed_at is None:
        blobs.announce(receipt.published_as, is_late=True)


def _is_only_copy(record: UploadRecord, blobs: Blobs) -> bool:
    """Whether nothing published has the bytes of a complete upload any more.

    The same inode has them in any case; what else stands there is read before it counts.
    """
    receipt = record.receipt
    return (
        record.state is State.COMPLETE
        and record.removed_at is None
        and receipt is not None
        and not blobs.is_published_as(record.id, receipt.published_as)
        and not is_published_there(blobs, receipt.published_as, receipt.length, receipt.digest)
    )


def settle_lost(store: StateStore, blobs: Blobs) -> int:
    """Settle uploads whose part file is gone; durable on return.

    Published under the name that it was about to have: complete. That is what a database from
    before the publishing finds. Otherwise: failed.

    Returns:
        How many have failed.
    """
    failed = 0
    for record, length in _looked_at(store, blobs):
        if length is not None:
            continue
        if _is_at_its_target(record, blobs):
            _save(store, record, state=State.COMPLETE)
            log.info("upload.completed", upload_id=record.id, path=record.target)
            continue
        if _save(store, record, state=State.FAILED):
            log.error("upload.failed", upload_id=record.id, error="its part file is gone")
            failed += 1
    return failed


def _is_at_its_target(record: UploadRecord, blobs: Blobs) -> bool:
    target, receipt = record.target, record.receipt
    if record.state is not State.PUBLISHING or target is None or receipt is None:
        return False
    return is_published_there(blobs, target, receipt.length, receipt.digest)


def shorten(store: StateStore, blobs: Blobs) -> tuple[int, int]:
    """Un-record what lies past the end of a part file; durable on return.

    No crash does that, only files restored from a copy that is older than the database.

    Returns:
        How many uploads lost ranges, and how many of them have failed.
    """
    shortened = failed = 0
    for record, length in _looked_at(store, blobs):
        if length is None or end_of(record.received) <= length:
            continue
        kept = record.received.within(ByteRange(0, length)) if length else RangeSet()
        # What was about to be published was verified at a length that is no more.
        after = State.FAILED if record.state is State.PUBLISHING else State.OPEN
        if not _save(store, record, state=after, received=kept):
            continue
        log.error(
            "upload.shortened",
            upload_id=record.id,
            length_bytes=length,
            error=f"its part file ends before {end_of(record.received)}, where its ranges end; "
            "what is missing is asked for again",
        )
        shortened += 1
        failed += after is State.FAILED
    return shortened, failed


def _looked_at(state: StateStore, blobs: Blobs) -> Iterator[tuple[UploadRecord, int | None]]:
    """Yield each unfinished upload with how far its bytes reach; not those whose own place is away.

    Where nothing is there, the place is asked whether it is the one that is known: of one that was emptied, or
    that is another, no upload has lost anything yet.
    """
    away: set[str] = set()
    for record in state.in_states(*UNFINISHED):
        place = place_of(record.route)
        if place in away:
            continue
        try:
            length = blobs.part_length(record.id)
            if length is None:
                blobs.check_identity(joined(place, record.id))
        except OSError as error:
            if not place:
                raise
            away.add(place)
            log.warning("route.away", place=place, error=str(error))
            continue
        yield record, length


def _save(store: StateStore, seen: UploadRecord, **changes: Any) -> bool:
    """Change an upload, unless another server has moved it since it was *seen*; return whether it was."""

    def save(transaction: Transaction) -> bool:
        record = transaction.find(seen.id)
        if record is None or (record.state, record.received) != (seen.state, seen.received):
            return False
        transaction.save(replace(record, **changes))
        return True

    return store.run(save)
