"""Uploads that nobody goes on with end here, so that their bytes do not fill the disk.

Time counts only while the server runs: a server that was off for a month must not throw away what
the devices could not send meanwhile, and a wrong wall clock must not either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import State, UploadRecord, refuse_unless_open
from ingest_server.storage.interface import Blobs, StateStore, Transaction
from ingest_server.storage.interface.keeping import STEP
from ingest_server.uploads.store import UploadStore, drop_part

KEEP_ENDED_S = 30 * 86400
"""How long an ended upload still answers 410 instead of 404."""

log = structlog.get_logger()


def in_steps(state: StateStore, forget: Callable[[Transaction], int]) -> int:
    """Forget until there is no more, a transaction for each step; returns how much."""
    count = 0
    while True:
        found = state.run(forget)
        count += found
        if found < STEP:
            return count


class Expiry:
    """Ends uploads that are idle, or given up."""

    def __init__(self, store: UploadStore) -> None:
        self._observer = store.observer
        self._state = store.state
        self._blobs = store.blobs
        self._live = store.live
        self._uptime = store.uptime

    def sweep(self, idle_s: float) -> int:
        """End what got no byte for *idle_s* of uptime; ``expired`` is durable before the bytes go.

        Returns:
            How many uploads ended now.
        """
        before_s = self._uptime.now_s() - idle_s
        idle = self._state.idle_open(before_s)
        ended = sum(self.end(upload_id, before_s) for upload_id in idle)
        forget_s = self._uptime.now_s() - KEEP_ENDED_S
        if forget_s > 0:
            in_steps(self._state, lambda rows: rows.forget_ended(forget_s))
            in_steps(self._state, lambda rows: rows.forget_events(forget_s))
        return ended

    def end(self, upload_id: str, before_s: float) -> bool:
        """End an open upload that got no byte since uptime *before_s*; returns whether it did.

        Not one that is being written to, however slowly.
        """
        now_s = self._uptime.now_s()

        def expire(transaction: Transaction) -> bool:
            record = transaction.find(upload_id)
            if record is None or record.state is not State.OPEN or record.touched_s >= before_s:
                return False
            transaction.save(replace(record, state=State.EXPIRED, touched_s=now_s))
            return True

        busy = Refused("server-busy", "the upload is being looked at", retry_after_s=1)
        with self._live.hold(upload_id) as live, live.deciding:
            if live.writers():  # slow, but there
                return False
            with live.closed(busy):
                if not self._state.run(expire):
                    return False
            drop_part(self._blobs, upload_id)
        self._observer.upload_expired()
        log.info("upload.expired", upload_id=upload_id)
        return True

    def soon(self, record: UploadRecord, idle_s: float) -> None:
        """Let an open upload look as if no byte came for *idle_s*, at least; durable on return."""
        touched_s = self._uptime.now_s() - idle_s

        def touch(transaction: Transaction) -> None:
            found = transaction.get_open(record.id)
            transaction.save(replace(found, touched_s=min(touched_s, found.touched_s)))

        self._state.run(touch)

    def abort(self, record: UploadRecord) -> UploadRecord:
        """End an upload that its client gave up; ``aborted`` is durable before the bytes go."""
        end = _aborting(record.id, self._uptime.now_s())
        with self._live.hold(record.id) as live, live.deciding:
            with live.closed(Refused("upload-aborted", "the upload was aborted")):
                kept, is_new = self._state.run(end)
            drop_part(self._blobs, record.id)
        if is_new:
            self._observer.upload_aborted()
        log.info("upload.aborted", upload_id=record.id, device_id=record.device)
        return kept


def abort_beside(state: StateStore, blobs: Blobs, upload_id: str) -> tuple[UploadRecord, bool]:
    """End an upload as an operator wants it, beside a server that may be at work on it.

    ``aborted`` is durable before the bytes go. A request that brings more is refused at its next seal, and
    what it wrote until then is in a file without a name.

    Returns:
        The upload, and whether it was ended now.

    Raises:
        Refused: there is no such upload, it has ended otherwise, or it is being published.
    """
    kept, is_new = state.run(_aborting(upload_id, state.uptime_s()))
    with disk_refusals():
        blobs.remove_part(upload_id)
    return kept, is_new


def _aborting(upload_id: str, now_s: float) -> Callable[[Transaction], tuple[UploadRecord, bool]]:
    def end(transaction: Transaction) -> tuple[UploadRecord, bool]:
        found = transaction.get(upload_id)
        if found.state is State.ABORTED:
            return found, False
        refuse_unless_open(found)
        kept = replace(found, state=State.ABORTED, touched_s=now_s)
        transaction.save(kept)
        return kept, True

    return end
