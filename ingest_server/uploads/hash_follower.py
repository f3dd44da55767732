"""The running hash brought up to what is recorded, where requests came out of order."""

from __future__ import annotations

from contextlib import closing, suppress

import structlog

from ingest_server.base.settings import MIB
from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.hashing import catch_up
from ingest_server.uploads.live import Live
from ingest_server.uploads.store import UploadStore

log = structlog.get_logger()

AT_ONCE = 256 * MIB
"""Read of one upload before those of other devices have their turn."""


class HashFollower:
    """Reads stored bytes beside the requests, one upload at a time."""

    def __init__(self, store: UploadStore) -> None:
        self._store = store
        self._thread = FairPool(1, 1, "hash")

    def stop(self) -> None:
        """Wait for the catch-up that runs; it looks for the stop itself."""
        self._thread.stop()

    def follow_later(self, record: UploadRecord, live: Live) -> None:
        """Let the running hash catch up in the background where requests came out of order."""
        begun = live.running.upto
        if record.received.prefix <= begun or live.is_followed:
            return
        live.is_followed = True

        def follow() -> None:
            with self._store.live.hold(record.id) as held:
                try:
                    with closing(self._store.blobs.open_part(record.id)) as part:
                        catch_up(held.running, part, recorded_upto, self._store.is_stopping)
                except (OSError, Refused) as error:
                    log.debug("hash.abandoned", upload_id=record.id, error=str(error))
                finally:
                    live.is_followed = False
                if begun < held.running.upto:  # there may be more, behind those of other devices
                    with suppress(Refused):
                        self.follow_later(self._store.find(None, record.id), held)

        def recorded_upto() -> int:
            return min(self._store.find(None, record.id).received.prefix, begun + AT_ONCE)

        with suppress(Refused):  # the server stops: completing reads it all the same
            self._thread.submit(record.device, follow)
