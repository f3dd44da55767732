"""How far requests may write into uploads whose length nobody told, and what of that the quota counts.

A length that is told is reserved in the upload's row before a byte comes. Without one the row holds only what is
recorded, and what a request has written and has not recorded lies on the disk all the same: until its next seal,
or for good, where its digest did not fit. So each request is told before it writes how far it may, and that counts
against its device's quota until it is recorded, or the upload has a length, or ends. The seal's own transaction
asks once more: a server beside this one knows nothing of this.

Kept in memory. What a server left unrecorded when it died is not counted by the next, once for each run.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord, end_of
from ingest_server.storage.interface import Queries
from ingest_server.uploads.limits import refuse_over_quota

MOST_KEPT = 4096
"""Uploads that are remembered before those are dropped that count no more: about 1 MB."""


@dataclass(slots=True)
class _Reach:
    device: str
    running: dict[object, int] = field(default_factory=dict)
    """Up to where each running request may write."""
    written: int = 0
    """Up to where those have written that have ended."""

    @property
    def stop(self) -> int:
        return max(self.written, *self.running.values(), 0)


class Reaches:
    """What is allowed at this moment, and what was left unrecorded."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = threading.Lock()
        self._by_upload: dict[str, _Reach] = {}

    def allow(
        self, holder: object, record: UploadRecord, stop: int, quota: int, *, least: int
    ) -> int:
        """Let *holder* write up to *stop*, or to where the quota ends; return which.

        Args:
            holder: a request that writes to *record*; its place counts until it leaves.
            record: an upload without a length.
            stop: an offset.
            quota: of the upload's device, in bytes.
            least: up to here it must be allowed to write.

        Raises:
            Refused: ``quota-exceeded``: not even that; what it was allowed before stands. Or the database failed.
        """
        with self._lock:
            own = self._by_upload.setdefault(record.id, _Reach(record.device))
            floor = max(own.stop, end_of(record.received))
            # Before what is recorded: else a seal is missed.
            beside = self._unrecorded_beside(record)
            refuse_over_quota(
                self._queries,
                record.device,
                record.id,
                max(floor, least),
                quota,
                unrecorded=beside,
            )
            reserved = self._queries.reserved_bytes(record.device, besides=record.id)
            allowed = max(least, min(stop, quota - reserved - beside))
            own.running[holder] = allowed
            return allowed

    def leave(self, holder: object, upload_id: str, written: int) -> None:
        """Note that *holder* writes no more, or was not allowed to, and up to where it has written."""
        with self._lock:
            own = self._by_upload.get(upload_id)
            if own is None:
                return
            own.running.pop(holder, None)
            own.written = max(own.written, written)
            is_full = len(self._by_upload) > MOST_KEPT
            # Where the database fails, all count on: whoever begins next looks again.
            with suppress(Refused):
                self._drop(dict(self._by_upload) if is_full else {upload_id: own})

    def unrecorded_beside(self, record: UploadRecord) -> int:
        """Return the bytes of the device's other uploads that are, or may be, on the disk only.

        Raises:
            Refused: the database failed.
        """
        with self._lock:
            return self._unrecorded_beside(record)

    def _unrecorded_beside(self, record: UploadRecord) -> int:
        others = {
            upload_id: reach
            for upload_id, reach in self._by_upload.items()
            if reach.device == record.device and upload_id != record.id
        }
        return self._drop(others)

    def _drop(self, reaches: dict[str, _Reach]) -> int:
        """Drop those of *reaches* that count no more; return how much the others do.

        Raises:
            Refused: the database failed.
        """
        total = 0
        for upload_id, reach in reaches.items():
            unrecorded = self._unrecorded(upload_id, reach)
            if not unrecorded and not reach.running:
                del self._by_upload[upload_id]
            total += unrecorded
        return total

    def _unrecorded(self, upload_id: str, reach: _Reach) -> int:
        record = self._queries.find(upload_id)
        if record is None or record.state is not State.OPEN:
            return 0
        counted = end_of(record.received) if record.length is None else record.length
        return max(0, reach.stop - counted)
