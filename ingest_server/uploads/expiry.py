"""Uploads that nobody goes on with end here, so that their bytes do not fill the disk.

Time counts only while the server runs: a server that was off for a month must not throw away what
the devices could not send meanwhile, and a wrong wall clock must not either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.storage.interface import StateStore, Transaction
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
    """Ends uploads that are idle."""

    def __init__(self, store: UploadStore, settings: Callable[[], ReceiverSettings]) -> None:
        """Join the parts; *settings* returns those of now."""
        self._store = store
        self._settings = settings
        self._observer = store.observer
        self._state = store.state
        self._blobs = store.blobs
        self._live = store.live
        self._uptime = store.uptime

    def sweep(self, *, early_s: float = 0.0) -> int:
        """End what got no byte for the idle time; ``expired`` is durable before the bytes go.

        Args:
            early_s: how much sooner than that, in seconds.

        Returns:
            How many uploads ended now.
        """
        before_s = self._uptime.now_s() - (self._settings().idle_expiry_s - early_s)
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

    def soon(self, device: str | None, upload_id: str, within_s: float) -> None:
        """Let an open upload, no longer needed, end after *within_s* seconds, not the idle time; durable on return.

        Raises:
            Refused: it is unknown, or not open.
        """
        self._store.refuse_unless_of(device, upload_id)
        touched_s = self._uptime.now_s() - (self._settings().idle_expiry_s - within_s)

        def touch(transaction: Transaction) -> None:
            found = transaction.get_open(upload_id)
            transaction.save(replace(found, touched_s=min(touched_s, found.touched_s)))

        self._state.run(touch)
