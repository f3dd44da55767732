"""Uploads that nobody goes on with end here, so that their bytes do not fill the disk.

Time counts only while the server runs: a server that was off for a month must not throw away what
the devices could not send meanwhile, and a wrong wall clock must not either.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from ingest_server.base.clock import Clock
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.queries import Transaction
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.uploads.writers import LiveUploads

KEEP_ENDED_S = 30 * 86400
"""How long an ended upload still answers 410 instead of 404."""

log = structlog.get_logger()


class Uptime:
    """Seconds that the server has run, over all its runs."""

    def __init__(self, clock: Clock, before_s: float) -> None:
        self._clock = clock
        self._before_s = before_s
        self._started_s = clock.now_s()

    def now_s(self) -> float:
        return self._before_s + self._clock.now_s() - self._started_s


class Expiry:
    """Ends idle uploads."""

    def __init__(
        self,
        state: SqliteState,
        blobs: FileBlobs,
        committer: Committer,
        live: LiveUploads,
        uptime: Uptime,
        *,
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._state = state
        self._blobs = blobs
        self._committer = committer
        self._live = live
        self._uptime = uptime

    def keep_uptime(self) -> None:
        """Store the uptime; durable on return. What a crash loses of it only delays an expiry."""
        seconds = self._uptime.now_s()
        self._committer.run(lambda transaction: transaction.set_uptime(seconds))

    def sweep(self, idle_s: float) -> int:
        """End what got no byte for *idle_s* of uptime; ``expired`` is durable before the bytes go.

        Returns:
            How many uploads ended now.
        """
        before_s = self._uptime.now_s() - idle_s
        with self._state.reading() as queries:
            idle = queries.idle_open(before_s)
        ended = sum(self._end(upload_id, before_s) for upload_id in idle)
        forget_s = self._uptime.now_s() - KEEP_ENDED_S
        if forget_s > 0:
            self._committer.run(lambda transaction: transaction.forget_ended(forget_s))
            self._committer.run(lambda transaction: transaction.forget_events(forget_s))
        return ended

    def _end(self, upload_id: str, before_s: float) -> bool:
        now_s = self._uptime.now_s()

        def expire(transaction: Transaction) -> bool:
            record = transaction.get(upload_id)
            if record is None or record.state is not State.OPEN or record.touched_s >= before_s:
                return False
            transaction.save(replace(record, state=State.EXPIRED, touched_s=now_s))
            return True

        busy = Refused("server-busy", "the upload is being looked at", retry_after_s=1)
        with self._live.hold(upload_id) as live, live.deciding:
            if live.writers():  # slow, but there
                return False
            with live.closed(busy):
                if not self._committer.run(expire):
                    return False
            self._blobs.remove_part(upload_id)
        self._observer.upload_expired()
        log.info("upload.expired", upload_id=upload_id)
        return True
