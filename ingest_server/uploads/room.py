"""How many bytes still fit on the disk, beside what running requests may still write.

Each running request counts with what it may write until its next seal, never with the length that
it has declared: else one slow request would hold the whole disk, and several fast ones together
more than there is. What it has written is no longer free, the disk itself says so.
"""

from __future__ import annotations

import threading

import structlog

from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import UploadRecord, missing_of
from ingest_server.storage.interface import Blobs

log = structlog.get_logger()


class Room:
    """What is free on one disk, and who may use it up."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._granted: dict[object, int] = {}
        """Bytes that each running request may write until it is looked at again."""
        self._told: set[str] = set()
        """What was said to be full, and nothing of it was taken since."""

    def check(self, needed: int, reserve: int) -> None:
        """Refuse *needed* bytes if the disk would be left with less than *reserve*.

        Raises:
            Refused: ``storage-full``.
        """
        with self._lock:
            self._check(self, needed, reserve, None)

    def check_files(self) -> None:
        """Refuse one more file where the store has hardly a place for it, whatever its bytes.

        Raises:
            Refused: ``storage-full``.
        """
        with disk_refusals():
            level = self._blobs.files()
        if level is not None and level.is_used_up:
            raise self._full(
                "files",
                f"the disk has no place for one more file: {level.used} of its inodes are used, at "
                f"{level.bound} no more are given away, however many bytes are free",
                None,
            )
        self._told.discard("files")

    def grant(
        self,
        holder: object,
        allowed: int,
        reserve: int,
        *,
        needed: int,
        record: UploadRecord | None = None,
    ) -> None:
        """Let *holder* write *allowed* bytes, in place of what it was granted before.

        Args:
            needed: bytes that must fit, *allowed* or more: what it is known to bring in the end.
            reserve: bytes that stay free.
            record: the upload; what it misses is told with the refusal.

        Raises:
            Refused: ``storage-full``; the grant before stands until `give_back`.
        """
        with self._lock:
            self._check(holder, needed, reserve, record)
            self._granted[holder] = allowed

    def give_back(self, holder: object) -> None:
        """Note that *holder* writes no more. Repeatable."""
        with self._lock:
            self._granted.pop(holder, None)

    def _check(
        self, holder: object, needed: int, reserve: int, record: UploadRecord | None
    ) -> None:
        with disk_refusals():
            free = self._blobs.free_bytes()
        others = sum(self._granted.values()) - self._granted.get(holder, 0)
        if free - others - needed < reserve:
            beside = f", and running requests may write {others}" if others else ""
            raise self._full(
                "bytes",
                f"{needed} bytes do not fit: {free} are free, {reserve} of them reserved{beside}",
                record,
            )
        self._told.discard("bytes")

    def _full(self, kind: str, detail: str, record: UploadRecord | None) -> Refused:
        """Return the refusal; the first after something was taken is a line for the operator."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning("storage.full", error=f"uploads are refused: {detail}")
        missing = None if record is None else missing_of(record)
        return Refused("storage-full", detail, missing=missing, retry_after_s=60)
